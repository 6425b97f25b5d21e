"""Hosted tools for the tests. They leave traces in files, so that a test sees how often each ran."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path

import httpx

from open_responses.contracts import Halt, Middleware, ToolContext, ToolError, ToolNext, ToolOutput
from open_responses.errors import ServerError


def folder() -> Path:
    return Path(os.environ["HOSTED_TOOLS_DIR"])


def _note(name: str, line: str) -> None:
    with (folder() / name).open("a") as file:
        file.write(line + "\n")


async def get_weather(city: str, context: ToolContext, unit: str = "C") -> dict[str, str]:
    """The weather of a city.

    Args:
        city: Its name in English.
    """
    return {"city": city, "weather": f"12 {unit}", "tenant": context.tenant}


async def calls_out(url: str, context: ToolContext) -> str:
    """Asks a server of its own, and continues the trace there."""
    headers = {} if context.traceparent is None else {"traceparent": context.traceparent}
    async with httpx.AsyncClient(trust_env=False) as http:
        return str((await http.get(url, headers=headers)).status_code)


async def slow(seconds: float, context: ToolContext) -> str:
    """Takes its time."""
    _note(f"{context.response_id}.slow", f"{context.call_id} {context.attempt} {context.idempotency_key}")
    context.progress("half way")
    await asyncio.sleep(seconds)
    _note(f"{context.response_id}.slow", f"{context.call_id} done")
    return f"slept {seconds:g}"


async def flaky(context: ToolContext) -> str:
    """Fails twice."""
    if context.attempt < 3:
        raise RuntimeError(f"try {context.attempt} failed")
    return f"worked at attempt {context.attempt}"


async def stumbles(context: ToolContext) -> str:
    """Fails twice, then hangs."""
    _note(f"{context.response_id}.stumbles", str(context.attempt))
    if context.attempt < 3:
        raise RuntimeError(f"try {context.attempt} failed")
    await asyncio.sleep(600)
    return "never"


async def fails(final: bool = True) -> str:
    """Fails."""
    raise ToolError("the moon is in the way") if final else ValueError("no such thing")


async def hangs() -> str:
    """Never ends."""
    await asyncio.sleep(600)
    return "never"


async def append_line(text: str, context: ToolContext) -> str:
    """Writes a line, once per key."""
    _note("lines", f"{context.idempotency_key} {text}")
    return "written"


async def delete_all(what: str, context: ToolContext) -> str:
    """Deletes."""
    _note("deleted", f"{context.idempotency_key} {what}")
    return f"deleted {what}"


async def big(megabytes: int) -> str:
    """Says a lot, and nothing that compresses to little."""
    return random.Random(1).randbytes(megabytes * 512 * 1024).hex()


async def talks(context: ToolContext) -> str:
    """Says how far it is."""
    for step in range(3):
        context.progress(f"step {step}")
        await asyncio.sleep(1.1)
    return "done"


def talks_in_a_thread(context: ToolContext) -> str:
    """Says how far it is, as a plain function."""
    context.progress("from a thread")
    context.heartbeat("alive")
    time.sleep(0.5)
    return "said"


PARTS: dict[str, object] = {
    "image": {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="},
    "ultra": {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "ultra"},
    "nothing": {"type": "input_image"},
    "file": {"type": "input_file", "filename": "a.txt", "file_data": "aGk="},
    "file_url": {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    "half": "half a pair: \ud83d",
}


async def returns_parts(which: str) -> object:
    """Returns a content part."""
    part = PARTS[which]
    return part if isinstance(part, str) else [part]


async def ends(how: str, context: ToolContext) -> str:
    """Ends more than its call."""
    _note("ends", f"{how} {context.attempt}")
    if how == "exit":
        sys.exit("bye")
    raise asyncio.CancelledError


class Interfering(Middleware):
    """Halts calls that ask for it by their arguments."""

    async def around_tool(self, context: ToolContext, call_next: ToolNext) -> ToolOutput:
        match context.arguments.get("city"):
            case "Atlantis":
                raise Halt("It has sunk.")
            case "Mordor":
                raise Halt(error=ServerError("One does not simply ask.", code="not_simply"))
        return await call_next(context)
