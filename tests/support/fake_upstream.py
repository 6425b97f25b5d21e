"""A fake provider over a real socket, in the wire format of `/v1/chat/completions`, and of `/v1/models`.

What it does is looked up by the last user message: `upstream.says("tell", Script(words=50))`. Attempt i of a
conversation suffers `faults[i]`. A trailing assistant message is continued at the character where it ends, so that
an answer which was broken off and resumed can be compared byte by byte.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Self

# A long run sends its whole conversation again on each turn.
_REMEMBERED = 300


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one attempt. `after` counts words."""

    after: int = 0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    stall: bool = False
    garbage: bool = False


@dataclass
class Script:
    """An answer of numbered words, so that a gap or a repeat shows."""

    words: int = 20
    literal: str | None = None
    """This text instead of numbered words."""
    tag: str | None = None
    """Words `{tag}.{draw}.{i}`, where each answer that begins anew is another draw, as a model's would be."""
    draws: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    """What the newest request had."""
    tools: list[dict[str, Any]] = field(default_factory=list)
    gap: float = 0.0
    delay: float = 0.0
    finish: str = "stop"
    tokens: int | None = None
    """This count of output tokens instead of that of the words."""
    unknown: dict[str, Any] | None = None
    """The members of a delta that come before the words."""
    ends: Literal["whole", "reason alone", "done alone"] = "whole"
    """How much of the stream's end is sent before the connection closes."""
    tool_calls: list[dict[str, Any]] | None = None
    turns: list[Script] = field(default_factory=list)
    """The same conversation's later turns: the n-th answers once n outputs of tools, or more, were sent."""
    hold_after: int | None = None
    hold_call_after: int | None = None
    """Wait within a call, after so many pieces of its arguments."""
    hold_end: bool = False
    """Wait behind the last word, before the stream's end."""
    faults: list[Fault | None] = field(default_factory=list)
    attempts: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        if self.literal is not None:
            return self.literal
        return "".join(f"w{i} " for i in range(self.words))

    def text_after(self, prefix: str) -> str:
        """The answer that begins so."""
        if self.tag is None:
            return self.text
        if not prefix:
            self.draws += 1
        draw = prefix.split(".")[1] if prefix.count(".") > 1 else str(self.draws)
        return "".join(f"{self.tag}.{draw}.{i} " for i in range(self.words))


def let_go(scripts: Iterable[Script]) -> None:
    for script in scripts:
        for turn in (script, *script.turns):
            turn.released.set()


class Upstream:
    """`async with Upstream() as upstream`; requests are kept in `requests`."""

    def __init__(self) -> None:
        self.requests: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
        self.heads: deque[str] = deque(maxlen=_REMEMBERED)
        self.scripts: dict[str, Script] = {}
        self.models: list[dict[str, Any]] = [
            {"id": name, "object": "model", "created": created, "owned_by": "system"}
            for name, created in (("vendor/model-with/slashes", 1754425777), ("vendor/second", 0), ("whisper-1", 1))
        ]
        self.port = 0
        self._server: asyncio.Server | None = None

    def says(self, prompt: str, script: Script) -> Script:
        self.scripts[prompt] = script
        return script

    def forget_scripts(self) -> None:
        """Let go of the answers that are held, and answer each prompt as one that was never scripted."""
        let_go(self.scripts.values())
        self.scripts.clear()

    def script_of(self, prompt: str) -> Script:
        """By the whole prompt, or by its last paragraph: a message that was joined to the one before it."""
        found = self.scripts.get(prompt) or self.scripts.get(prompt.rpartition("\n\n")[2])
        return found or self.says(prompt, Script())

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /v1/models "):
                await _reply(writer, {"object": "list", "data": self.models})
                return
            if head.startswith(b"GET /called-by-a-tool "):
                self.heads.append(head.decode())
                await _reply(writer, {})
                return
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line)
            length = {name.lower(): value for name, value in fields.items()}.get("content-length", "0")
            body = json.loads(await reader.readexactly(int(length)))
            if all(isinstance(message, dict) for message in body["messages"]):
                # A test of another file may send what no client sends.
                self.requests.append(body)
                self.heads.append(head.decode())
            await self._answer(body, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        messages = body["messages"]
        if not messages:
            await _refuse(writer, Fault(status=400))
            return
        said = [said for m in messages if m["role"] == "user" and (said := _prompt(m["content"])) is not None] or [""]
        asked_again = len(said) > 1 and str(said[-1]).startswith("That does not have the form")
        prompt = said[-2] if asked_again else said[-1]
        script = self.script_of(prompt)
        script = script.turns[0] if asked_again else _turn(script, messages)
        prefix = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        fault = script.faults[script.attempts] if script.attempts < len(script.faults) else None
        script.attempts += 1
        script.messages = messages
        script.tools = body.get("tools", [])
        if fault is not None and fault.status is not None:
            await _refuse(writer, fault)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        watching = asyncio.create_task(_watch(reader, script))
        try:
            await self._stream(writer, script, prefix, fault)
        finally:
            watching.cancel()

    async def _stream(self, writer: asyncio.StreamWriter, script: Script, prefix: str, fault: Fault | None) -> None:
        await asyncio.sleep(script.delay)
        text = script.text_after(prefix)
        assert text.startswith(prefix), f"a resumed answer must go on from where it was: {prefix[-20:]!r}"
        words = re.findall(r"\S*\s+|\S+", text[len(prefix) :])
        done = len(re.findall(r"\S*\s+|\S+", text)) - len(words)
        if script.unknown is not None:
            _send(writer, script.unknown)
        for index, word in enumerate(words, done):
            if fault is not None and index >= fault.after and await _suffer(writer, fault):
                return
            if script.hold_after is not None and index >= script.hold_after:
                script.held.set()
                await script.released.wait()
            _send(writer, {"content": word})
            await writer.drain()
            if script.gap:
                await asyncio.sleep(script.gap)
        for index, call in enumerate(script.tool_calls or []):
            _send(writer, {"tool_calls": [{"index": index, "id": call["id"], "function": {"name": call["name"]}}]})
            for number, piece in enumerate(call["arguments"]):
                if number == script.hold_call_after:
                    await writer.drain()
                    script.held.set()
                    await script.released.wait()
                _send(writer, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            await writer.drain()
        if script.hold_end:
            script.held.set()
            await script.released.wait()
        completion = len(words) if script.tokens is None else script.tokens
        usage = {"prompt_tokens": 10 + done, "completion_tokens": completion}
        finish = "tool_calls" if script.tool_calls and script.finish == "stop" else script.finish
        end = {"model": "fake", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        last = {"model": "fake", "choices": [], "usage": usage}
        events = [json.dumps(end), json.dumps(last), "[DONE]"]
        shown = {"whole": events, "reason alone": events[:1], "done alone": events[-1:]}[script.ends]
        writer.write("".join(f"data: {event}\n\n" for event in shown).encode())
        await writer.drain()


async def _reply(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    await writer.drain()


def _prompt(content: Any) -> str | None:
    """What the user said. None for a message that only has the pictures of a tool's output."""
    if isinstance(content, str):
        return content
    texts = [part["text"] for part in content if "text" in part]
    own = [text for text in texts if not text.startswith("From the output of ")]
    return own[0] if own else None if texts else ""


async def _refuse(writer: asyncio.StreamWriter, fault: Fault) -> None:
    error = json.dumps({"error": {"message": f"fault {fault.status}"}}).encode()
    extra = "".join(f"{name}: {value}\r\n" for name, value in fault.headers.items())
    writer.write(f"HTTP/1.1 {fault.status} Fault\r\n{extra}Content-Length: {len(error)}\r\n\r\n".encode() + error)
    await writer.drain()


def _turn(script: Script, messages: list[dict[str, Any]]) -> Script:
    """The turn that follows the answers of the model since the last user message; the last one after a compaction."""
    if any("was replaced by these notes" in str(message["content"]) for message in messages):
        return script.turns[-1] if script.turns else script
    by_user = (i for i, m in enumerate(messages) if m["role"] == "user" and _prompt(m["content"]) is not None)
    last_user = max(by_user, default=0)
    done = sum(1 for m in messages[last_user:] if m["role"] == "assistant" and m.get("tool_calls"))
    return script if done == 0 or not script.turns else script.turns[min(done, len(script.turns)) - 1]


def calls(*wanted: tuple[str, str, Any], **settings: Any) -> Script:
    """A turn that calls functions: `calls(("call_1", "get_time", {"zone": "UTC"}))`. Arguments may be broken text."""
    return Script(
        words=0,
        tool_calls=[
            {"id": call_id, "name": name, "arguments": [given if isinstance(given, str) else json.dumps(given)]}
            for call_id, name, given in wanted
        ],
        **settings,
    )


def _send(writer: asyncio.StreamWriter, delta: dict[str, Any]) -> None:
    chunk = {"model": "fake", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    writer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


async def _suffer(writer: asyncio.StreamWriter, fault: Fault) -> bool:
    """Whether the attempt ends here."""
    if fault.drop:
        writer.transport.abort()
        return True
    if fault.garbage:
        writer.write(b"data: {not json\n\n")
        await writer.drain()
        return True
    if fault.stall:
        await asyncio.sleep(60)
    return False


async def _watch(reader: asyncio.StreamReader, script: Script) -> None:
    await reader.read()
    script.gone.set()
