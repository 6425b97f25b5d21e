"""A fake model server: the wire format of `/v1/chat/completions` and `/v1/models` over a real socket.

In a test's own event loop:

    async with FakeProvider() as fake:
        fake.enqueue(Script(pieces=20, faults=(Fault(drop_after=5), Fault(status=429, retry_after=1))))
        ... ask fake.base_url ...

As a process of its own, for benchmarks: `python -m tests.fake_provider --port 9000`.

**Which script answers.** A conversation is a model and its messages without a trailing assistant message. The first
request of a conversation takes, in this order: a JSON object inside the model's name, a JSON object inside the last
user message (both of `Script`'s fields, e.g. `{"pieces": 200, "gap_ms": 20, "ttft_ms": 100, "faults":
[{"drop_after": 5}, null]}`), the next of the queue, the default. Later requests of the same conversation are
further attempts at the same script: attempt i meets `faults[i]`, and none once these are used up. Once it was
answered to its end, asking the same again without a prefill is a new conversation. Parallel requests that must not
share a script need different messages.

**Prefill.** When the last message is the assistant's, its text is taken as the beginning of the script's text: if
it fits, only the rest is streamed, cut at the character. An answer that was resumed can so be compared byte by byte
with the full text.

**Other processes** have `GET /fake/stats` and `POST /fake/release`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from http import HTTPStatus
from typing import Any

PATIENCE_SECONDS = 10.0  # how long the wait_* methods wait: a test that hangs should say where
CREATED = 1_700_000_000


@dataclass(frozen=True)
class Fault:
    """What befalls one attempt. The `*_after` count the pieces that this attempt has sent before it happens.

    `hold_after` waits there for `FakeProvider.release()` and then goes on, into another fault at the same place if
    there is one. `drop_after` closes the socket in the middle of the body (`reset`: by RST), `end_after` ends the
    body in good order but without a finish reason, `stall_after` sends nothing more and keeps the socket open,
    `malformed_after` sends a chunk that is not JSON, `error_after` sends `error` as a chunk. `status` answers with
    that status instead of a stream, `hang_up` closes the socket instead of any answer.
    """

    status: int | None = None
    hang_up: bool = False
    retry_after: float | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None
    drop_after: int | None = None
    reset: bool = False
    end_after: int | None = None
    stall_after: int | None = None
    malformed_after: int | None = None
    error_after: int | None = None
    error: Mapping[str, Any] = field(default_factory=lambda: {"message": "engine failed", "type": "server_error"})
    hold_after: int | None = None


@dataclass(frozen=True)
class ToolCall:
    name: str
    arguments: str = "{}"
    id: str | None = "call_0"


@dataclass(frozen=True)
class Script:
    """One answer. Without a `text` it is `pieces` numbered words, one a chunk: "w0 w1 w2 …".

    A given `text` is cut into chunks of `piece_chars` characters. `raw` replaces the whole body by these writes;
    `chunks` replaces only what is generated between the HTTP headers and [DONE]. `split_bytes` breaks each frame
    into writes of so many bytes, wherever that may cut. `ignore_stream` answers with one JSON document although a
    stream was asked for.
    """

    pieces: int = 10
    text: str | None = None
    piece_chars: int = 8
    ttft_ms: float = 0
    gap_ms: float = 0
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: str | None = None
    usage: bool = True
    usage_in_finish: bool = False
    done: bool = True
    cached_tokens: int = 0
    crlf: bool = False
    split_bytes: int | None = None
    content_type: str = "text/event-stream; charset=utf-8"
    ignore_stream: bool = False
    stall_after_finish: bool = False
    chunks: Sequence[Mapping[str, Any]] | None = None
    raw: Sequence[bytes] | None = None
    faults: Sequence[Fault | None] = ()

    @property
    def full_text(self) -> str:
        return "".join(self.text_pieces)

    @property
    def text_pieces(self) -> tuple[str, ...]:
        if self.refusal is not None or (self.tool_calls and self.text is None):
            return ()
        return _numbered(self.pieces) if self.text is None else _cut(self.text, self.piece_chars)

    @property
    def ending(self) -> str:
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")


@lru_cache(maxsize=256)
def _numbered(pieces: int) -> tuple[str, ...]:
    return tuple(f"w{number} " for number in range(pieces))


def _cut(text: str, size: int) -> tuple[str, ...]:
    return tuple(text[start : start + size] for start in range(0, len(text), size))


@dataclass(frozen=True)
class Request:
    """What came in. `attempt` counts from 0 within its conversation; `prefix` is the text that was continued."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    attempt: int = 0
    prefix: str | None = None


@dataclass
class _Conversation:
    script: Script
    attempts: int = 0
    finished: bool = False


def sse(*chunks: Mapping[str, Any] | str, done: bool = True) -> bytes:
    """An event stream's bytes, of JSON objects or of `data` that is sent as it stands."""
    texts = [chunk if isinstance(chunk, str) else json.dumps(chunk) for chunk in chunks]
    return "".join(f"data: {text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


def chunk( delta: Mapping[str, Any] | None = None, *, finish: str | None = None, model: str = "fake", **more: Any )
-> dict[str, Any]: """One `chat.completion.chunk`; with no delta and no finish its `choices` are empty.""" choices =
[] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}] head =
{"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": CREATED, "model": model} return {**head,
"choices": choices, **more}


class FakeProvider:
    """The server. `requests` has everything that was asked, `disconnects` counts clients that left in mid-answer."""

    def __init__(self, *, port: int = 0, default: Script | None = None, record: bool = True) -> None:
        self.default = default or Script()
        self.requests: list[Request] = []
        self.connections = 0
        self.disconnects = 0
        self.open_streams = 0
        self.held = 0
        self.port = port
        self._record = record
        self._served = 0
        self._queue: deque[Script] = deque()
        self._conversations: dict[str, _Conversation] = {}
        self._gate = asyncio.Event()
        self._changed = asyncio.Event()
        self._live: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> FakeProvider:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self._live):
            connection.stop()
        await self._server.wait_closed()

    def enqueue(self, *scripts: Script) -> None:
        self._queue.extend(scripts)

    def reset(self) -> None:
        """Forget scripts, conversations and records, and let go of who is held: for a fake that tests share."""
        self._queue.clear()
        self._conversations.clear()
        self.requests.clear()
        self.disconnects = 0
        self.release()

    def release(self) -> None:
        """Let those go on that are held now; a later `hold_after` waits for a later release."""
        self._gate.set()
        self._gate = asyncio.Event()

    async def wait_held(self, count: int = 1) -> None:
        await self._until(lambda: self.held >= count, f"{count} held streams")

    async def wait_disconnected(self, count: int = 1) -> None:
        await self._until(lambda: self.disconnects >= count, f"{count} disconnects")

    async def wait_requests(self, count: int = 1) -> None:
        await self._until(lambda: self._served >= count, f"{count} requests")

    async def wait_idle(self) -> None:
        await self._until(lambda: not self.open_streams, "no open stream")

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited {PATIENCE_SECONDS:g} s for {what}; the fake has {self.stats()}") from None

    def stats(self) -> dict[str, int]:
        return {
            "requests": self._served,
            "connections": self.connections,
            "open_streams": self.open_streams,
            "held": self.held,
            "disconnects": self.disconnects,
        }

    # What a connection calls.

    def change(self, counter: str, by: int = 1) -> None:
        setattr(self, counter, getattr(self, counter) + by)
        self._changed.set()
        self._changed = asyncio.Event()

    async def hold(self) -> None:
        gate = self._gate
        self.change("held")
        try:
            await gate.wait()
        finally:
            self.change("held", -1)

    def begin(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> tuple[str, Script, int, str |
    None]: """The conversation's key, its script, which attempt this is, and the prefix to continue.""" messages =
    list(body.get("messages") or ()) prefix = _prefix(messages) if prefix is not None: messages.pop() key =
    json.dumps([body.get("model"), messages]) conversation = self._conversations.get(key) if conversation is None or
    (conversation.finished and prefix is None): conversation = self._conversations[key] =
    _Conversation(self._choose(str(body.get("model")), messages)) attempt = conversation.attempts
    conversation.attempts += 1 if self._record: self.requests.append(Request(path, headers, body, attempt, prefix))
    self.change("_served") return key, conversation.script, attempt, prefix

    def finish(self, key: str) -> None:
        if conversation := self._conversations.get(key):
            conversation.finished = True

    def _choose(self, model: str, messages: Sequence[Mapping[str, Any]]) -> Script:
        asked = next((_text(message) for message in reversed(messages) if message.get("role") == "user"), "")
        inline = _inline(model) or _inline(asked)
        if inline is not None:
            return inline
        return self._queue.popleft() if self._queue else self.default


def _prefix(messages: Sequence[Mapping[str, Any]]) -> str | None:
    last = messages[-1] if messages else {}
    return _text(last) if last.get("role") == "assistant" and not last.get("tool_calls") else None


def _text(message: Mapping[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(str(part.get("text", "")) for part in content)


def _inline(text: str) -> Script | None:
    """The script in the text's outermost braces, if they hold JSON and nothing but `Script`'s fields."""
    start, end = text.find("{"), text.rfind("}")
    if start < 0 or end < start:
        return None
    try:
        given = json.loads(text[start : end + 1])
    except ValueError:
        return None
    if not isinstance(given, dict) or not given or not given.keys() <= {known.name for known in fields(Script)}:
        return None
    if "faults" in given:
        given["faults"] = tuple(Fault(**fault) if fault else None for fault in given["faults"])
    if "tool_calls" in given:
        given["tool_calls"] = tuple(ToolCall(**call) for call in given["tool_calls"])
    return Script(**given)


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, kept alive between requests. By hand, since the faults are about bytes."""

    transport: asyncio.Transport

    def __init__(self, fake: FakeProvider) -> None:
        self.fake = fake
        self.task: asyncio.Task[None] | None = None
        self.buffer = bytearray()
        self.broken_by_us = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.fake._live.add(self)
        self.fake.change("connections")

    def connection_lost(self, exc: Exception | None) -> None:
        self.fake._live.discard(self)
        if self.task is not None:
            self.task.cancel()
            if not self.broken_by_us:
                self.fake.change("disconnects")

    def stop(self) -> None:
        self.broken_by_us = True
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.task is None:
            self._next_request()

    def _next_request(self) -> None:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        request_line, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(self.buffer) < end + 4 + length:
            return
        body = bytes(self.buffer[end + 4 : end + 4 + length])
        del self.buffer[: end + 4 + length]
        method, path, _ = request_line.split(" ")
        self.task = asyncio.get_running_loop().create_task(self._answer(method, path, headers, body))

    async def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None: with
    contextlib.suppress(asyncio.CancelledError): match method, path: case "POST", "/v1/chat/completions": await
    self._complete(path, headers, json.loads(body)) case "GET", "/v1/models": self._json(200, {"object": "list",
    "data": [{"id": "fake", "object": "model", "created": CREATED}]}) case "GET", "/fake/stats": self._json(200,
    self.fake.stats()) case "POST", "/fake/release": self.fake.release() self._json(200, {}) case _: self._json(404,
    {"error": {"message": f"no {method} {path} here", "code": "not_found"}}) self.task = None if not
    self.transport.is_closing(): self._next_request()

    async def _complete(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        fake = self.fake
        key, script, attempt, prefix = fake.begin(path, headers, body)
        fault = (script.faults[attempt] if attempt < len(script.faults) else None) or Fault()
        if fault.status is not None or fault.hang_up:
            await self._refuse(fault)
            return
        answer = _Answer(script, body, prefix)
        if script.ignore_stream or not body.get("stream"):
            self._json(200, answer.whole())
            fake.finish(key)
            return
        fake.change("open_streams")
        try:
            if await self._stream(script, fault, answer):
                fake.finish(key)
        finally:
            fake.change("open_streams", -1)

    async def _refuse(self, fault: Fault) -> None:
        if fault.hold_after is not None:
            await self.fake.hold()
        if fault.status is None:
            self.broken_by_us = True
            self.transport.close()
            return
        headers = dict(fault.headers)
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        body = fault.body
        if body is None:
            body = json.dumps({"error": {"message": f"the fake says {fault.status}", "type": "error", "code": None}})
        self._document(fault.status, body.encode(), headers)

    async def _stream(self, script: Script, fault: Fault, answer: _Answer) -> bool:
        """True when it went through to its end."""
        self._head(200, {"Content-Type": script.content_type, "Transfer-Encoding": "chunked"})
        if script.raw is not None:
            for part in script.raw:
                await self._send(part, script)
                await asyncio.sleep(0)
            self.transport.write(b"0\r\n\r\n")
            return True
        loop = asyncio.get_running_loop()
        start = loop.time() + script.ttft_ms / 1000
        pieces = answer.pieces()
        if not script.gap_ms and not script.ttft_ms and fault == Fault() and not script.split_bytes:
            await self._send(b"".join([answer.opening(), *pieces]), script)
        else:
            for number, frame in enumerate(pieces):
                if await self._befalls(fault, number):
                    return False
                delay = start + number * script.gap_ms / 1000 - loop.time()
                if delay > 0:
                    await asyncio.sleep(delay)
                await self._send(frame if number else answer.opening() + frame, script)
            if await self._befalls(fault, len(pieces)):
                return False
        await self._send(answer.ending(), script)
        if script.stall_after_finish:
            await asyncio.get_running_loop().create_future()
        self.transport.write(b"0\r\n\r\n")
        return True

    async def _befalls(self, fault: Fault, number: int) -> bool:
        """Do what is due before the piece of this number; True when nothing is to follow."""
        if fault.hold_after == number:
            await self.fake.hold()
        if fault.malformed_after == number:
            self._chunk(b'data: {"choices": [{"del\n\n')
        if fault.error_after == number:
            self._chunk(sse({"error": fault.error}, done=False))
        if fault.stall_after == number:
            await asyncio.get_running_loop().create_future()
        if fault.drop_after == number:
            self.broken_by_us = True
            if fault.reset:
                linger = struct.pack("ii", 1, 0)
                self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.close()
            return True
        if fault.end_after == number:
            self.transport.write(b"0\r\n\r\n")
            return True
        return False

    async def _send(self, frame: bytes, script: Script) -> None:
        if script.crlf:
            frame = frame.replace(b"\n", b"\r\n")
        if script.split_bytes is None:
            self._chunk(frame)
            return
        for start in range(0, len(frame), script.split_bytes):
            self._chunk(frame[start : start + script.split_bytes])
            await asyncio.sleep(0)

    def _chunk(self, data: bytes) -> None:
        if data:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {_reason(status)}", *(f"{name}: {value}" for name, value in headers.items())]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def _json(self, status: int, document: Mapping[str, Any]) -> None:
        self._document(status, json.dumps(document).encode(), {})

    def _document(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers})
        self.transport.write(body)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


class _Answer:
    """The frames of one script for one request."""

    def __init__(self, script: Script, body: Mapping[str, Any], prefix: str | None) -> None:
        self.script = script
        self.model = str(body.get("model"))
        self.asked_for_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self.prompt_tokens = sum(len(_text(message).split()) for message in body.get("messages") or ())
        self.text = _after(script.text_pieces, prefix)

    def pieces(self) -> Sequence[bytes]:
        script = self.script
        if script.chunks is not None:
            return [sse(given, done=False) for given in script.chunks]
        if not (script.reasoning or script.refusal or script.tool_calls):
            return _text_frames(self.model, self.text)
        deltas: list[dict[str, Any]] = []
        deltas += [{"reasoning_content": piece} for piece in _cut(script.reasoning or "", script.piece_chars)]
        deltas += [{"content": piece} for piece in self.text]
        deltas += [{"refusal": piece} for piece in _cut(script.refusal or "", script.piece_chars)]
        for index, call in enumerate(script.tool_calls):
            deltas += [{"tool_calls": [piece]} for piece in _call_pieces(index, call, script.piece_chars)]
        return [sse(chunk(delta, model=self.model), done=False) for delta in deltas]

    def opening(self) -> bytes:
        """What comes with the first piece: most servers name the role in a chunk of its own."""
        return b"" if self.script.chunks is not None else _opening(self.model)

    def ending(self) -> bytes:
        script, parts = self.script, []
        wanted = script.usage and self.asked_for_usage
        if script.chunks is None:
            usage = {"usage": self.usage()} if wanted and script.usage_in_finish else {}
            parts.append(chunk(finish=script.ending, model=self.model, **usage))
            if wanted and not script.usage_in_finish:
                parts.append(chunk(model=self.model, usage=self.usage()))
        return sse(*parts, done=script.done)

    def usage(self) -> dict[str, Any]:
        script = self.script
        reasoning = len(_cut(script.reasoning or "", script.piece_chars))
        completion = len(self.text) + reasoning + len(script.tool_calls)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
            "prompt_tokens_details": {"cached_tokens": script.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": reasoning},
        }

    def whole(self) -> dict[str, Any]:
        script = self.script
        message: dict[str, Any] = {"role": "assistant", "content": "".join(self.text) or None}
        if script.reasoning:
            message["reasoning_content"] = script.reasoning
        if script.refusal:
            message["refusal"] = script.refusal
        if script.tool_calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in script.tool_calls
            ]
        choice = {"index": 0, "message": message, "finish_reason": script.ending}
        head = {"id": "chatcmpl-fake", "object": "chat.completion", "created": CREATED, "model": self.model}
        return {**head, "choices": [choice], **({"usage": self.usage()} if script.usage else {})}


def _after(pieces: Sequence[str], prefix: str | None) -> tuple[str, ...]:
    """What is left of the pieces behind the prefix; all of them when the prefix is not how they begin."""
    if not prefix or not "".join(pieces).startswith(prefix):
        return tuple(pieces)
    left, rest = len(prefix), []
    for piece in pieces:
        if left < len(piece):
            rest.append(piece[left:])
        left = max(0, left - len(piece))
    return tuple(rest)


@lru_cache(maxsize=64)
def _text_frames(model: str, pieces: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(sse(chunk({"content": piece}, model=model), done=False) for piece in pieces)


@lru_cache(maxsize=64)
def _opening(model: str) -> bytes:
    return sse(chunk({"role": "assistant", "content": ""}, model=model), done=False)


def _call_pieces(index: int, call: ToolCall, size: int) -> list[dict[str, Any]]:
    first = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    rest = [{"index": index, "function": {"arguments": piece}} for piece in _cut(call.arguments, size)]
    return [first, *rest]


async def _serve(port: int) -> None:
    async with FakeProvider(port=port, record=False) as fake:
        print(fake.base_url, flush=True)
        await asyncio.get_running_loop().create_future()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake /v1/chat/completions server; prints its base URL.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    port = parser.parse_args().port
    try:
        import uvloop
    except ImportError:
        runner = asyncio.run
    else:
        runner = uvloop.run
    with contextlib.suppress(KeyboardInterrupt):
        runner(_serve(port))


if __name__ == "__main__":
    main()
