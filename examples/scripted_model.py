"""A stand-in for a model that can use tools, for examples without an account: Chat Completions over HTTP.

It plays a researcher: looks for the documents, reads each, notes what it is about, and reports from its notes. It
decides from the conversation alone, so any process may ask it for the next step.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

_PAUSE_SECONDS = 0.03


async def complete(request: Request) -> StreamingResponse:
    """The next step, as a stream of chunks."""
    messages = (await request.json())["messages"]
    return StreamingResponse(_stream(_next_step(messages), _started(messages)), media_type="text/event-stream")


def _next_step(messages: list[dict[str, Any]]) -> tuple[str, dict[str, Any]] | str:
    """A call as name and arguments, or the text of the report."""
    results = [json.loads(m["content"]) for m in messages if m["role"] == "tool"]
    if not results:
        return "list_documents", {}
    names: list[str] = results[0]
    read = [result for result in results[1:] if "text" in result]
    noted = [result for result in results[1:] if "noted" in result]
    if len(read) > len(noted):
        document = read[-1]
        return "take_note", {"document": document["name"], "note": _gist(document["text"])}
    if len(read) < len(names):
        return "read_document", {"name": names[len(read)]}
    return "\n".join([f"I read {len(names)} documents.", *(f"- {note['noted']}" for note in noted)])


def _gist(text: str) -> str:
    """The first heading, and the first sentence below it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    heading = lines[0].lstrip("# ") if lines else "(empty)"
    sentence = next((line for line in lines[1:] if line[0].isalpha()), "")
    return f"{heading}: {sentence.partition('. ')[0]}"


def _started(messages: list[dict[str, Any]]) -> str:
    """The beginning of an answer that broke off: it goes on from there."""
    return messages[-1]["content"] or "" if messages[-1]["role"] == "assistant" else ""


async def _stream(step: tuple[str, dict[str, Any]] | str, started: str) -> AsyncIterator[str]:
    if isinstance(step, str):
        rest = step.removeprefix(started)
        for word in rest.replace("\n", "\n ").split(" "):
            yield _chunk({"content": word if word.endswith("\n") else word + " "})
            await asyncio.sleep(_PAUSE_SECONDS)
        finish = "stop"
    else:
        await asyncio.sleep(5 * _PAUSE_SECONDS)
        function = {"name": step[0], "arguments": json.dumps(step[1])}
        yield _chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
        finish = "tool_calls"
    yield _chunk({}, finish)
    yield "data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({'object': 'chat.completion.chunk', 'model': 'scripted', 'choices': [choice]})}\n\n"


app = Starlette(routes=[Route("/v1/chat/completions", complete, methods=["POST"])])

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m examples.scripted_model", description=__doc__)
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port, log_level="warning")
