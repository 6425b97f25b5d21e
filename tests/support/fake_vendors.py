"""Fakes of Anthropic, Gemini, OpenAI's Responses API and Ollama over one real socket, each in its true wire format.

    vendors.says("tell", Spoken(words=50, thoughts=4))       # one script for all four: whoever asks with this prompt
    vendors.asked("anthropic", "tell")                       # the requests' bodies

Each lists its models, Anthropic and Gemini on pages of two, however many are asked for.

Scripts are those of `tests/support/fake_upstream.py`, with thoughts before the text. Words, thoughts and pieces of
arguments are counted together by `hold_after` and by a fault's `after`. What a vendor refuses is refused here too,
with its own words: signatures that are missing, changed or another's, thoughts without an answer, a prefill that it
does not take.

Sources: those of the adapters (`activities/providers/`), whose own tests have every event and field.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

from tests.support.fake_upstream import Fault, Script, let_go

Json = dict[str, Any]
SKIP_SIGNATURE = "skip_thought_signature_validator"
# What the adapter says where the conversation ends with an answer, which Anthropic takes from no model from 4.6 on.
GO_ON = "Continue."
VENDORS = ("anthropic", "gemini", "openai", "ollama")

_ERROR_TYPES = {429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}
_GOOGLE_STATUS = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}
# The second reading of a background answer is cut into pieces of so many characters.
_RECUT = 3


@dataclass(frozen=True)
class VendorFault(Fault):
    """`wait` are seconds, told in the vendor's own form; `error` breaks off in the middle with the vendor's own event
    for that status; `ends` closes the connection properly, without the last event."""

    wait: float | None = None
    error: int | None = None
    ends: bool = False


@dataclass
class Spoken(Script):
    """A script with words of thought before the text. `seal` is what the vendor wants back with them.

    `rereadings` counts the requests that read an answer again, which suffer `reread_faults`; `cancellations`, those
    that end it.
    """

    thoughts: int = 0
    seal: str = ""
    rereadings: int = 0
    cancellations: int = 0
    cancel_status: int = 200
    reread_faults: list[Fault | None] = field(default_factory=list)
    built_in: list[Json] = field(default_factory=list)
    """OpenAI's events of the tools that it runs before it answers, without the numbers that the stream gives them."""
    reported: Json = field(default_factory=dict)
    """Members of OpenAI's last response."""

    @property
    def thought(self) -> str:
        return "".join(f"t{i} " for i in range(self.thoughts))


def call(name: str = "get_weather", **arguments: Any) -> Json:
    """A call for `Script.tool_calls`, its arguments in pieces of four characters. `says` gives it an id."""
    text = json.dumps(arguments)
    return {"name": name, "arguments": [text[i : i + 4] for i in range(0, len(text), 4)]}


class Piece(NamedTuple):
    """`call` is the index of the call whose arguments it is of."""

    kind: Literal["thought", "text", "call", "built_in"]
    text: str
    call: int = 0


@dataclass(frozen=True)
class Asked:
    """What a request wants: the last prompt, how many turns with calls stand behind it, and the answer so far:
    unfinished (`prefix`), or a message of its own (`said`), behind which only calls are missing."""

    prompt: str
    turns: int
    prefix: str = ""
    said: str = ""
    thinks: bool = False


class Refused(Exception):
    """A request that the vendor would not take."""


class Encoder(Protocol):
    """One answer, in a vendor's events."""

    def begin(self) -> bytes: ...

    def piece(self, piece: Piece) -> bytes: ...

    def end(self) -> bytes: ...

    def error(self, status: int) -> bytes: ...


@dataclass
class Generation:
    """A background answer: it goes on whoever listens."""

    id: str
    vendor: OpenAI
    body: Json
    script: Spoken
    pieces: list[Piece] = field(default_factory=list)
    is_over: bool = False
    error: int | None = None
    grown: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, live: AsyncGenerator[Piece, None], fault: Fault | None) -> None:
        async for piece in live:
            if self.is_over:
                return
            if isinstance(fault, VendorFault) and fault.error and len(self.pieces) >= fault.after:
                self.error = fault.error
                break
            self.pieces.append(piece)
            async with self.grown:
                self.grown.notify_all()
        await self.end()

    async def end(self) -> None:
        self.is_over = True
        async with self.grown:
            self.grown.notify_all()

    def _has_more(self, at: int) -> bool:
        return len(self.pieces) > at or self.is_over

    async def follow(self, recut: bool) -> AsyncGenerator[Piece, None]:
        at = 0
        while True:
            async with self.grown:
                await self.grown.wait_for(partial(self._has_more, at))
            for piece in self.pieces[at:]:
                at += 1
                step = _RECUT if recut and piece.kind != "built_in" else len(piece.text)
                for start in range(0, len(piece.text), step):
                    yield piece._replace(text=piece.text[start : start + step])
            if self.is_over and at == len(self.pieces):
                return


class Vendors:
    """`async with Vendors() as vendors`. The base URL of each: `http://127.0.0.1:{port}/{name}`."""

    def __init__(self) -> None:
        self.scripts: dict[str, Spoken] = {}
        self.requests: dict[tuple[str, str], list[Json]] = defaultdict(list)
        self.refusals: list[str] = []
        self.port = 0
        self._vendors: dict[str, Vendor] = {
            "anthropic": Anthropic(),
            "gemini": Gemini(),
            "openai": OpenAI(),
            "ollama": Ollama(),
        }
        self._generations: dict[str, Generation] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def forget_scripts(self) -> None:
        """Let go of the answers that are held, and answer each prompt as one that was never scripted."""
        let_go(self.scripts.values())
        self.scripts.clear()

    def says(self, prompt: str, script: Spoken, *turns: Spoken) -> Spoken:
        """What the conversation that ends in this prompt gets; `turns` once tools were called."""
        for number, turn in enumerate((script, *turns)):
            name = hashlib.sha256(f"{prompt}/{number}".encode()).hexdigest()[:12]
            turn.seal = f"seal-{name}"
            for index, wanted in enumerate(turn.tool_calls or []):
                wanted["id"] = f"call_{name}_{index}"
        script.turns = list(turns)
        self.scripts[prompt] = script
        return script

    def asked(self, vendor: str, prompt: str) -> list[Json]:
        return self.requests[vendor, prompt]

    def seal_of(self, vendor: str, script: Spoken) -> str:
        """As this vendor writes it: what another may never see."""
        return f"{vendor}-{script.seal}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, path, _ = head[0].split(" ", 2)
            fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in head[1:] if line)}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            _, name, rest = path.split("/", 2)
            if method == "GET" and urlsplit(rest).path == self._vendors[name].models_path:
                await _reply(writer, 200, self._vendors[name].models(dict(parse_qsl(urlsplit(rest).query))))
            elif method == "GET":
                await self._reread(self._generations.get(rest.removeprefix("responses/").split("?")[0]), reader, writer)
            elif rest.endswith("/cancel"):
                generation = self._generations.get(rest.removeprefix("responses/").removesuffix("/cancel"))
                await self._cancel(generation, writer)
            else:
                await self._answer(self._vendors[name], rest, json.loads(body), reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(
        self, vendor: Vendor, path: str, body: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert re.fullmatch(vendor.path, path), path
        asked = vendor.read(body)
        self.requests[vendor.name, asked.prompt].append(body)
        first = self.scripts.get(asked.prompt) or self.says(asked.prompt, Spoken())
        script = first if not asked.turns or not first.turns else first.turns[min(asked.turns, len(first.turns)) - 1]
        assert isinstance(script, Spoken)
        try:
            vendor.check(body, path)
        except Refused as refused:
            self.refusals.append(f"{vendor.name}: {refused}")
            await _reply(writer, 400, vendor.refusal(400, str(refused), None))
            return
        fault = script.faults[script.attempts] if script.attempts < len(script.faults) else None
        script.attempts += 1
        if fault is not None and fault.status is not None:
            wait = fault.wait if isinstance(fault, VendorFault) else None
            error = vendor.refusal(fault.status, f"fault {fault.status}", wait)
            await _reply(writer, fault.status, error, {**vendor.wait_headers(wait), **fault.headers})
            return
        if not script.text.startswith(asked.prefix):
            self.refusals.append(f"{vendor.name}: an answer goes on from where it was: {asked.prefix[-30:]!r}")
        pieces = _live(script, asked)
        encoder = vendor.encoder(body, script)
        if body.get("background"):
            assert isinstance(vendor, OpenAI)
            assert isinstance(encoder, _OpenAIEvents)
            generation = Generation(encoder.id, vendor, body, script)
            self._generations[encoder.id] = generation
            task = asyncio.create_task(generation.run(pieces, fault))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await self._follow(generation, encoder, fault, reader, writer, recut=False)
            return
        await _stream(vendor.content_type, encoder, pieces, fault, script, reader, writer)

    async def _cancel(self, generation: Generation | None, writer: asyncio.StreamWriter) -> None:
        if generation is None:
            await _reply(writer, 404, OpenAI().refusal(404, "no such response", None))
            return
        script = generation.script
        script.cancellations += 1
        if script.cancel_status != 200:
            await _reply(writer, script.cancel_status, OpenAI().refusal(script.cancel_status, "fault", None))
            return
        await generation.end()
        await _reply(writer, 200, {"id": generation.id, "object": "response", "status": "cancelled"})

    async def _reread(
        self, generation: Generation | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        fault = None
        if generation is not None:
            script = generation.script
            if script.rereadings < len(script.reread_faults):
                fault = script.reread_faults[script.rereadings]
            script.rereadings += 1
        if generation is None or (fault is not None and fault.status is not None):
            status = fault.status if fault is not None and fault.status is not None else 404
            await _reply(writer, status, OpenAI().refusal(status, f"fault {status}", None))
            return
        encoder = _OpenAIEvents(generation.body, generation.script, generation.id)
        await self._follow(generation, encoder, fault, reader, writer, recut=True)

    async def _follow(
        self,
        generation: Generation,
        encoder: Encoder,
        fault: Fault | None,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        recut: bool,
    ) -> None:
        pieces, script = generation.follow(recut), generation.script
        said = None if isinstance(fault, VendorFault) and fault.error else fault
        content_type = generation.vendor.content_type
        await _stream(content_type, encoder, pieces, said, script, reader, writer, lambda: generation.error)


def _live(script: Spoken, asked: Asked) -> AsyncGenerator[Piece, None]:
    thoughts = [Piece("thought", word) for word in _words(script.thought)] if asked.thinks else []
    ran = [Piece("built_in", json.dumps(event)) for event in script.built_in]
    whole = [*thoughts, *ran, *(Piece("text", word) for word in _words(script.text))]
    rest = [Piece("text", word) for word in _words(script.text[len(asked.prefix) :])]
    calls = [
        Piece("call", piece, index)
        for index, wanted in enumerate(script.tool_calls or [])
        for piece in wanted["arguments"]
    ]
    left = [] if asked.said == script.text != "" else rest if asked.prefix else whole
    return _told(script, [*left, *calls], len(whole) - len(left))


async def _told(script: Spoken, pieces: list[Piece], done: int) -> AsyncGenerator[Piece, None]:
    await asyncio.sleep(script.delay)
    for index, piece in enumerate(pieces, done):
        await _hold(script, index)
        yield piece
        if script.gap:
            await asyncio.sleep(script.gap)
    await _hold(script, done + len(pieces))


async def _hold(script: Spoken, index: int) -> None:
    if script.hold_after is not None and index >= script.hold_after:
        script.held.set()
        await script.released.wait()


def _words(text: str) -> list[str]:
    return re.findall(r"\S*\s+|\S+", text)


async def _stream(
    content_type: str,
    encoder: Encoder,
    pieces: AsyncGenerator[Piece, None],
    fault: Fault | None,
    script: Spoken,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    failed: Any = lambda: None,
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    watching = asyncio.create_task(_watch(reader, script))
    try:
        _send(writer, encoder.begin())
        await writer.drain()
        index = 0
        async with aclosing(pieces):
            async for piece in pieces:
                if fault is not None and index >= fault.after and await _suffer(writer, encoder, fault):
                    return
                _send(writer, encoder.piece(piece))
                await writer.drain()
                index += 1
        _send(writer, encoder.error(failed()) if failed() else encoder.end())
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    finally:
        watching.cancel()


async def _suffer(writer: asyncio.StreamWriter, encoder: Encoder, fault: Fault) -> bool:
    """Whether the attempt ends here."""
    if fault.drop:
        writer.transport.abort()
        return True
    if fault.stall:
        await asyncio.sleep(60)
    told = fault if isinstance(fault, VendorFault) else VendorFault(**vars(fault))
    if told.error:
        _send(writer, encoder.error(told.error))
    elif fault.garbage:
        # Is a line of NDJSON, too.
        _send(writer, b'data: {"not json\n\n')
    elif not told.ends:
        return False
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if data:
        writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def _reply(writer: asyncio.StreamWriter, status: int, body: Json, headers: dict[str, str] | None = None) -> None:
    data = json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(data)), "Connection": "close"}
    told = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **(headers or {})}.items())
    writer.write(f"HTTP/1.1 {status} X\r\n{told}\r\n".encode() + data)
    await writer.drain()


async def _watch(reader: asyncio.StreamReader, script: Script) -> None:
    await reader.read()
    script.gone.set()


# --- the vendors


class Vendor(Protocol):
    """One API: what its requests mean, what it refuses, and how it speaks."""

    name: ClassVar[str]
    path: ClassVar[str]
    content_type: ClassVar[str]
    models_path: ClassVar[str]

    def models(self, query: dict[str, str]) -> Json:
        """A page of its list."""
        ...

    def read(self, body: Json) -> Asked: ...

    def check(self, body: Json, path: str) -> None:
        """Raises Refused."""
        ...

    def encoder(self, body: Json, script: Spoken) -> Encoder: ...

    def refusal(self, status: int, message: str, wait: float | None) -> Json: ...

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        """Where the vendor says in a header of its own how long to wait."""
        ...


LISTED = {
    "anthropic": ("claude-sonnet-4-6", "anthropic-lists-1", "anthropic-lists-2", "claude-haiku-4-5", "claude-opus-4-6"),
    "gemini": ("gemini-3-flash-preview", "gemini-lists-1", "gemini-lists-2"),
    "openai": ("gpt-5", "openai-lists-1", "openai-lists-2", "whisper-1"),
    "ollama": ("qwen3:latest", "ollama-lists-1:8b", "ollama-lists-2:latest"),
}
"""What each vendor has; to `{vendor}-lists-*` there is a route."""
LISTED_AT = 1_754_425_777
_LISTED_MOMENT = "2025-08-05T20:29:37Z"
_PAGE = 2


def _event(event: Json, *, named: bool = True) -> bytes:
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


class Anthropic:
    """`POST /v1/messages`. A trailing assistant message is continued at the character where it ends."""

    name: ClassVar[str] = "anthropic"
    path: ClassVar[str] = "v1/messages"
    models_path: ClassVar[str] = "v1/models"
    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def __init__(self) -> None:
        self._thoughts: dict[str, str] = {}

    def models(self, query: dict[str, str]) -> Json:
        names = LISTED[self.name]
        begin = names.index(query["after_id"]) + 1 if "after_id" in query else 0
        page = names[begin : begin + min(_PAGE, int(query.get("limit", 20)))]
        data = [
            {"type": "model", "id": name, "display_name": name.title(), "created_at": _LISTED_MOMENT} for name in page
        ]
        return {"data": data, "has_more": page[-1] != names[-1], "first_id": page[0], "last_id": page[-1]}

    def read(self, body: Json) -> Asked:
        messages = body["messages"]
        asking = [
            i
            for i, m in enumerate(messages)
            if m["role"] == "user" and any(block["type"] != "tool_result" for block in m["content"])
        ]
        said = ""
        if messages[asking[-1]]["content"][-1].get("text") == GO_ON:
            said = messages[asking.pop() - 1]["content"][-1].get("text", "")
        last = messages[-1]
        prefix = last["content"][-1].get("text", "") if last["role"] == "assistant" else ""
        turns = [m for m in messages[asking[-1] :] if any(b["type"] == "tool_use" for b in m["content"])]
        prompt = [block["text"] for block in messages[asking[-1]]["content"] if block["type"] == "text"][-1]
        return Asked(prompt, len(turns), prefix, said, self._thinks(body))

    def check(self, body: Json, path: str) -> None:
        messages = body["messages"]
        roles = [m["role"] for m in messages]
        if roles[0] != "user" or any(a == b for a, b in itertools.pairwise(roles)):
            raise Refused(f"messages: roles must alternate: {roles}")
        if roles[-1] == "assistant":
            self._check_prefill(body, messages[-1]["content"])
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                self._check_answer(f"messages.{number}", message["content"], messages[number + 1 :])

    def _check_prefill(self, body: Json, content: list[Json]) -> None:
        model = re.search(r"-(\d)-(\d)", body["model"])
        if model and (int(model[1]), int(model[2])) >= (4, 6):
            raise Refused(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        if self._thinks(body):
            raise Refused("When thinking is enabled, the final message must not be an assistant message with a prefill")
        if content[-1].get("text", "x")[-1:].isspace():
            raise Refused("messages: final assistant content cannot end with trailing whitespace")

    def _check_answer(self, place: str, content: list[Json], after: list[Json]) -> None:
        for number, block in enumerate(content):
            if block["type"] != "thinking":
                continue
            if self._thoughts.get(block["signature"]) != block["thinking"]:
                raise Refused(f"{place}.content.{number}: Invalid `signature` in `thinking` block")
            if number + 1 < len(content) and content[number + 1]["type"] == "thinking":
                raise Refused(
                    f"{place}.content.{number}: `thinking` blocks cannot be modified: they must remain as they were in "
                    "the original response"
                )
        if content[-1]["type"] == "thinking":
            raise Refused(f"{place}: The final block in an assistant message cannot be `thinking`.")
        wanted = [block["id"] for block in content if block["type"] == "tool_use"]
        given = [b.get("tool_use_id") for b in after[0]["content"] if b["type"] == "tool_result"] if after else []
        if set(wanted) - set(given):
            raise Refused(f"{place}: `tool_use` ids were found without `tool_result` blocks immediately after")

    def _thinks(self, body: Json) -> bool:
        return body.get("thinking", {}).get("type") in ("enabled", "adaptive")

    def encoder(self, body: Json, script: Spoken) -> Encoder:
        seal = f"{self.name}-{script.seal}"
        self._thoughts[seal] = script.thought
        return _AnthropicEvents(body["model"], script, seal)

    def refusal(self, status: int, message: str, wait: float | None) -> Json:
        kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        if wait is None:
            return {}
        limit = "anthropic-ratelimit-requests"
        return {f"{limit}-remaining": "0", f"{limit}-reset": _moment(wait)}


def _moment(wait: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=wait)).isoformat().replace("+00:00", "Z")


class _AnthropicEvents:
    def __init__(self, model: str, script: Spoken, seal: str) -> None:
        self._model = model
        self._script = script
        self._seal = seal
        self._open: tuple[str, int] | None = None
        self._index = -1
        self._count = 0

    def begin(self) -> bytes:
        usage = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
        message = {"id": "msg_01", "type": "message", "role": "assistant", "content": [], "model": self._model}
        return _event(
            {
                "type": "message_start",
                "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage},
            }
        )

    def piece(self, piece: Piece) -> bytes:
        self._count += 1
        opening = b"" if self._open == (piece.kind, piece.call) else self._close() + self._begin(piece)
        delta: Json = {"type": "text_delta", "text": piece.text}
        if piece.kind == "thought":
            delta = {"type": "thinking_delta", "thinking": piece.text}
        elif piece.kind == "call":
            delta = {"type": "input_json_delta", "partial_json": piece.text}
        return opening + self._delta(delta)

    def _begin(self, piece: Piece) -> bytes:
        self._open = (piece.kind, piece.call)
        self._index += 1
        block: Json = {"type": "text", "text": ""}
        if piece.kind == "thought":
            block = {"type": "thinking", "thinking": "", "signature": ""}
        elif piece.kind == "call":
            wanted = (self._script.tool_calls or [])[piece.call]
            block = {"type": "tool_use", "id": wanted["id"], "name": wanted["name"], "input": {}}
        started = _event({"type": "content_block_start", "index": self._index, "content_block": block})
        return started + (_event({"type": "ping"}) if self._index == 0 else b"")

    def _delta(self, delta: Json) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> bytes:
        opened, self._open = self._open, None
        if opened is None:
            return b""
        signed = opened[0] == "thought"
        signature = self._delta({"type": "signature_delta", "signature": self._seal}) if signed else b""
        return signature + _event({"type": "content_block_stop", "index": self._index})

    def end(self) -> bytes:
        reason = "tool_use" if self._script.tool_calls else "end_turn"
        delta = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}}
        last = {**delta, "usage": {"output_tokens": self._count}}
        return self._close() + _event(last) + _event({"type": "message_stop"})

    def error(self, status: int) -> bytes:
        return _event(Anthropic().refusal(status, "Overloaded", None))


class Gemini:
    """`POST /v1beta/models/{model}:streamGenerateContent`. Calls come whole, without an id."""

    name: ClassVar[str] = "gemini"
    path: ClassVar[str] = r"v1beta/models/[\w.-]+:streamGenerateContent\?alt=sse"
    models_path: ClassVar[str] = "v1beta/models"
    content_type: ClassVar[str] = "text/event-stream"

    def __init__(self) -> None:
        self._seals: set[str] = {SKIP_SIGNATURE}

    def models(self, query: dict[str, str]) -> Json:
        about = [(name, ["generateContent", "countTokens"]) for name in LISTED[self.name]]
        about.insert(1, ("gemini-lists-embedding", ["embedContent"]))
        begin = int(query.get("pageToken", "at=0").removeprefix("at="))
        models = [
            {"name": f"models/{name}", "version": "1", "displayName": name, "supportedGenerationMethods": methods}
            for name, methods in about[begin : begin + _PAGE]
        ]
        following = begin + _PAGE
        return {"models": models, **({"nextPageToken": f"at={following}"} if following < len(about) else {})}

    def read(self, body: Json) -> Asked:
        contents = body["contents"]
        asking = [i for i, c in enumerate(contents) if c["role"] == "user" and any("text" in p for p in c["parts"])][-1]
        turns = [c for c in contents[asking:] if c["role"] == "model" and any("functionCall" in p for p in c["parts"])]
        prefix = "".join(p.get("text", "") for p in contents[-1]["parts"]) if contents[-1]["role"] == "model" else ""
        thinks = body.get("generationConfig", {}).get("thinkingConfig", {}).get("includeThoughts", False)
        prompt = [part["text"] for part in contents[asking]["parts"] if "text" in part][-1]
        return Asked(prompt, len(turns), prefix, thinks=thinks)

    def check(self, body: Json, path: str) -> None:
        contents = body["contents"]
        roles = [content["role"] for content in contents]
        if roles[-1] != "user" or any(a == b for a, b in itertools.pairwise(roles)):
            raise Refused(f"Please ensure that multiturn requests alternate between user and model: {roles}")
        for number, content in enumerate(contents):
            calls = [part for part in content["parts"] if "functionCall" in part]
            answers = [part for part in contents[(number + 1) % len(roles)]["parts"] if "functionResponse" in part]
            if calls and len(calls) != len(answers):
                raise Refused(
                    "Please ensure that the number of function response parts is equal to the number of function call "
                    "parts of the function call turn."
                )
            if calls and "thoughtSignature" not in calls[0]:
                raise Refused(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                    "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                    f"data, function call `default_api:{calls[0]['functionCall']['name']}` , position {number + 1}."
                )
            for part in content["parts"]:
                if part.get("thoughtSignature", SKIP_SIGNATURE) not in self._seals:
                    raise Refused("Thought signature is not valid.")

    def encoder(self, body: Json, script: Spoken) -> Encoder:
        seal = f"{self.name}-{script.seal}"
        self._seals.add(seal)
        return _GeminiChunks(script, seal)

    def refusal(self, status: int, message: str, wait: float | None) -> Json:
        error: Json = {"code": status, "message": message, "status": _GOOGLE_STATUS.get(status, "UNKNOWN")}
        if wait is not None:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind, "retryDelay": f"{wait:g}s"}]
        return {"error": error}

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        return {}


class _GeminiChunks:
    def __init__(self, script: Spoken, seal: str) -> None:
        self._script = script
        self._seal = seal
        self._arguments: dict[int, str] = defaultdict(str)
        self._count = 0

    def begin(self) -> bytes:
        return b""

    def piece(self, piece: Piece) -> bytes:
        self._count += 1
        if piece.kind == "thought":
            return self._chunk({"text": piece.text, "thought": True})
        if piece.kind == "text":
            return self._chunk({"text": piece.text})
        self._arguments[piece.call] += piece.text
        wanted = (self._script.tool_calls or [])[piece.call]
        if self._arguments[piece.call] != "".join(wanted["arguments"]):
            return b""
        called = {"functionCall": {"name": wanted["name"], "args": json.loads(self._arguments[piece.call])}}
        return self._chunk(called | ({} if piece.call else {"thoughtSignature": self._seal}))

    def _chunk(self, *parts: Json, finish: str | None = None) -> bytes:
        candidate: Json = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
        if finish is not None:
            candidate["finishReason"] = finish
        usage = {"promptTokenCount": 10, "candidatesTokenCount": self._count, "totalTokenCount": 10 + self._count}
        chunk = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3", "responseId": "r1"}
        return f"data: {json.dumps(chunk)}\r\n\r\n".encode()

    def end(self) -> bytes:
        signature = {} if self._script.tool_calls else {"thoughtSignature": self._seal}
        return self._chunk({"text": "", **signature}, finish="STOP")

    def error(self, status: int) -> bytes:
        return json.dumps(Gemini().refusal(status, "The model is overloaded.", None), indent=2).encode()


class OpenAI:
    """`POST /responses`, and `GET /responses/{id}?stream=true` of those that were made in the background.

    A call that came with reasoning is wanted back with it.
    """

    name: ClassVar[str] = "openai"
    path: ClassVar[str] = "responses"
    models_path: ClassVar[str] = "models"
    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def __init__(self) -> None:
        self._seals: set[str] = set()
        self._reasoned_calls: dict[str, str] = {}

    def models(self, query: dict[str, str]) -> Json:
        about = {"object": "model", "created": LISTED_AT, "owned_by": "system"}
        return {"object": "list", "data": [{"id": name, **about} for name in LISTED[self.name]]}

    def read(self, body: Json) -> Asked:
        items = body["input"]
        asking = [i for i, item in enumerate(items) if item.get("role") == "user"][-1]
        content = items[asking]["content"]
        prompt = content if isinstance(content, str) else content[-1]["text"]
        kinds = [item["type"] for item in items[asking:]]
        turns = sum(a == "function_call" != b for a, b in itertools.pairwise(kinds))
        said = str(items[-1]["content"]) if items[-1].get("role") == "assistant" else ""
        return Asked(prompt, turns, said=said, thinks=bool(body.get("reasoning")))

    def check(self, body: Json, path: str) -> None:
        items = body["input"]
        for number, item in enumerate(items):
            after = items[number + 1]["type"] if number + 1 < len(items) else ""
            if item["type"] == "reasoning":
                if item["encrypted_content"] not in self._seals:
                    raise Refused("The encrypted content could not be verified.")
                if after not in ("message", "function_call") or items[number + 1].get("role") == "user":
                    raise Refused("Item of type 'reasoning' was provided without its required following item.")
            if item["type"] == "function_call":
                seal = self._reasoned_calls.get(item["call_id"])
                known = [other.get("encrypted_content") for other in items[:number]]
                if seal is not None and seal not in known:
                    raise Refused("Item of type 'function_call' was provided without its required 'reasoning' item.")
                outputs = [other.get("call_id") for other in items if other["type"] == "function_call_output"]
                if item["call_id"] not in outputs:
                    raise Refused(f"No tool output found for function call {item['call_id']}.")

    def encoder(self, body: Json, script: Spoken) -> Encoder:
        seal = f"{self.name}-{script.seal}"
        if body.get("reasoning"):
            self._seals.add(seal)
            self._reasoned_calls |= {wanted["id"]: seal for wanted in script.tool_calls or [] if script.thoughts}
        return _OpenAIEvents(
            body, script, f"resp_{hashlib.sha256(f'{script.seal}{script.attempts}'.encode()).hexdigest()}"
        )

    def refusal(self, status: int, message: str, wait: float | None) -> Json:
        code = "rate_limit_exceeded" if status == 429 else None
        told = message if wait is None else f"Rate limit reached. Please try again in {wait:g}s. Visit the settings."
        kind = "invalid_request_error" if status < 429 else "server_error"
        return {"error": {"message": told, "type": kind, "param": None, "code": code}}

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        return {}


class _OpenAIEvents:
    def __init__(self, body: Json, script: Spoken, response_id: str) -> None:
        self.id = response_id
        self._body = body
        self._script = script
        self._seal = f"openai-{script.seal}"
        self._sequence = -1
        self._output: list[Json] = []
        self._open: tuple[str, int] | None = None
        self._text = ""
        self._count = 0

    def _response(self, status: str, **members: Any) -> Json:
        given = {"id": self.id, "object": "response", "created_at": 1, "status": status, "model": self._body["model"]}
        empty = {"error": None, "incomplete_details": None, "usage": None, "output": self._output}
        return {**given, **empty, **members}

    def _told(self, kind: str, **members: Any) -> bytes:
        self._sequence += 1
        return _event({"type": kind, "sequence_number": self._sequence, **members})

    def begin(self) -> bytes:
        kinds = ["created", "queued"] if self._body.get("background") else ["created"]
        status = "queued" if self._body.get("background") else "in_progress"
        told = b"".join(self._told(f"response.{kind}", response=self._response(status)) for kind in kinds)
        return told + self._told("response.in_progress", response=self._response("in_progress"))

    def piece(self, piece: Piece) -> bytes:
        if piece.kind == "built_in":
            return self._close() + self._built_in(json.loads(piece.text))
        self._count += 1
        opening = b"" if self._open == (piece.kind, piece.call) else self._close() + self._begin(piece)
        self._text += piece.text
        kinds = {
            "thought": "reasoning_summary_text",
            "text": "output_text",
            "call": "function_call_arguments",
        }
        more: Json = {"logprobs": []} if piece.kind == "text" else {}
        return opening + self._told(
            f"response.{kinds[piece.kind]}.delta", **self._at(piece.kind), delta=piece.text, **more
        )

    def _built_in(self, event: Json) -> bytes:
        members = {name: value for name, value in event.items() if name != "type"}
        told = self._told(event["type"], output_index=len(self._output), **members)
        if event["type"] == "response.output_item.done":
            self._output.append(event["item"])
        return told

    def _at(self, kind: str) -> Json:
        index = len(self._output)
        place = {"thought": {"summary_index": 0}, "text": {"content_index": 0}, "call": {}}[kind]
        return {"item_id": f"item_{index}", "output_index": index, **place}

    def _item(self, kind: str, call_index: int, text: str, status: str) -> Json:
        item_id = f"item_{len(self._output)}"
        if kind == "thought":
            summary = [{"type": "summary_text", "text": text}] if text else []
            seal = self._seal if status == "completed" else "not-all-of-it"
            return {"id": item_id, "type": "reasoning", "encrypted_content": seal, "summary": summary}
        if kind == "text":
            content = [self._part(kind, text)] if text else []
            message = {"id": item_id, "type": "message", "role": "assistant", "status": status}
            return {**message, "phase": "final_answer", "content": content}
        wanted = (self._script.tool_calls or [])[call_index]
        called = {"call_id": wanted["id"], "name": wanted["name"], "arguments": text}
        return {"id": item_id, "type": "function_call", "status": status, **called}

    def _part(self, kind: str, text: str) -> Json:
        if kind == "thought":
            return {"type": "summary_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _begin(self, piece: Piece) -> bytes:
        self._open, self._text = (piece.kind, piece.call), ""
        item = self._item(piece.kind, piece.call, "", "in_progress")
        told = self._told("response.output_item.added", output_index=len(self._output), item=item)
        if piece.kind == "call":
            return told
        added = "reasoning_summary_part" if piece.kind == "thought" else "content_part"
        return told + self._told(f"response.{added}.added", **self._at(piece.kind), part=self._part(piece.kind, ""))

    def _close(self) -> bytes:
        opened, self._open = self._open, None
        if opened is None:
            return b""
        kind, text, at = opened[0], self._text, self._at(opened[0])
        if kind == "call":
            told = self._told("response.function_call_arguments.done", **at, arguments=text)
        else:
            name, part = (
                ("reasoning_summary_text", "reasoning_summary_part")
                if kind == "thought"
                else ("output_text", "content_part")
            )
            told = self._told(f"response.{name}.done", **at, text=text)
            told += self._told(f"response.{part}.done", **at, part=self._part(kind, text))
        item = self._item(kind, opened[1], text, "completed")
        told += self._told("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        return told

    def end(self) -> bytes:
        usage = {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self._count,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 10 + self._count,
        }
        return self._close() + self._told(
            "response.completed", response=self._response("completed", usage=usage, **self._script.reported)
        )

    def error(self, status: int) -> bytes:
        said = {"code": "server_error", "message": "The server had an error while processing your request. Sorry!"}
        if status == 429:
            said = {
                "code": "rate_limit_exceeded",
                "message": "Rate limit reached. Please try again in 2s. Visit the site.",
            }
        return self._told("response.failed", response=self._response("failed", error=said))


class Ollama:
    """`POST /api/chat`. Calls come whole; a trailing assistant message is continued where it ends."""

    name: ClassVar[str] = "ollama"
    path: ClassVar[str] = "api/chat"
    models_path: ClassVar[str] = "api/tags"
    content_type: ClassVar[str] = "application/x-ndjson"

    def models(self, query: dict[str, str]) -> Json:
        moment = "2025-08-05T13:29:37.409490317-07:00"
        about = {"modified_at": moment, "size": 3338801804, "digest": "a2af6cc3", "details": {"format": "gguf"}}
        return {"models": [{"name": name, "model": name, **about} for name in LISTED[self.name]]}

    def read(self, body: Json) -> Asked:
        messages = body["messages"]
        asking = [i for i, m in enumerate(messages) if m["role"] == "user"][-1]
        turns = [m for m in messages[asking:] if m.get("tool_calls")]
        prefix = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        return Asked(messages[asking]["content"], len(turns), prefix, thinks=bool(body.get("think")))

    def check(self, body: Json, path: str) -> None:
        for message in body["messages"]:
            if not isinstance(message["content"], str):
                raise Refused("json: cannot unmarshal into Go struct field ChatRequest.messages.content of type string")

    def encoder(self, body: Json, script: Spoken) -> Encoder:
        return _OllamaLines(body["model"], script)

    def refusal(self, status: int, message: str, wait: float | None) -> Json:
        return {"error": message}

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        return {} if wait is None else {"Retry-After": f"{wait:g}"}


class _OllamaLines:
    def __init__(self, model: str, script: Spoken) -> None:
        self._model = model
        self._script = script
        self._arguments: dict[int, str] = defaultdict(str)
        self._count = 0

    def _line(self, message: Json, **members: Any) -> bytes:
        line = {"model": self._model, "created_at": "2026-11-25T12:00:00.1Z"}
        said = {"role": "assistant", "content": "", **message}
        return json.dumps({**line, "message": said, "done": False, **members}).encode() + b"\n"

    def begin(self) -> bytes:
        return b""

    def piece(self, piece: Piece) -> bytes:
        self._count += 1
        if piece.kind == "thought":
            return self._line({"thinking": piece.text})
        if piece.kind == "text":
            return self._line({"content": piece.text})
        self._arguments[piece.call] += piece.text
        wanted = (self._script.tool_calls or [])[piece.call]
        if self._arguments[piece.call] != "".join(wanted["arguments"]):
            return b""
        function = {"index": piece.call, "name": wanted["name"], "arguments": json.loads(self._arguments[piece.call])}
        return self._line({"tool_calls": [{"id": wanted["id"], "function": function}]})

    def end(self) -> bytes:
        counts = {"prompt_eval_count": 10, "eval_count": self._count, "total_duration": 1}
        return self._line({}, done=True, done_reason="stop", **counts)

    def error(self, status: int) -> bytes:
        return b'{"error":"an error was encountered while running the model: unexpected EOF"}\n'


# --- the configuration

_MODELS = {
    # model: (vendor, upstream model, settings of the provider)
    "anthropic": ("anthropic", "claude-sonnet-4-6", ""),
    "anthropic-prefill": ("anthropic", "claude-haiku-4-5", ""),
    "gemini": ("gemini", "gemini-3-flash-preview", ""),
    "openai": ("openai", "gpt-5", ""),
    "openai-background": ("openai", "gpt-5", 'resume = "background"'),
    "ollama": ("ollama", "qwen3", ""),
}


def _tables(port: int) -> Iterator[str]:
    for model, (vendor, upstream_model, settings) in _MODELS.items():
        url = f"http://127.0.0.1:{port}/{vendor}"
        for name, patience in ((f"{model}-fake", "60"), (f"{model}-hasty", "0.5")):
            yield (
                f'[[providers]]\nname = "{name}"\nadapter = "{vendor}"\nbase_url = "{url}"\n'
                f"timeout_seconds = {patience}\n{settings}\n"
            )
        for route, name in ((f"{model}-fake", f"{model}-fake"), (f"{model}-hasty", f"{model}-hasty")):
            yield f'[[routes]]\nmodel = "{route}"\nprovider = "{name}"\nupstream_model = "{upstream_model}"\n'


def configuration(port: int, llama: int) -> str:
    """Providers and routes `{model}-fake` and, patient for half a second only, `{model}-hasty`; routes to what each
    lists, `{vendor}-lists-*`; and adapters that the real model is asked by: `smollm2-anthropic`, `smollm2-openai`."""
    real = "".join(f'[[routes]]\nmodel = "{name}-lists-*"\nprovider = "{name}-fake"\n' for name in VENDORS)
    for adapter, path, settings in (("anthropic", "", 'resume = "prefill"'), ("openai", "/v1", "")):
        name = f"smollm2-{adapter}"
        real += (
            f'[[providers]]\nname = "{name}"\nadapter = "{adapter}"\nbase_url = "http://127.0.0.1:{llama}{path}"\n'
            f'{settings}\n[[routes]]\nmodel = "{name}"\nprovider = "{name}"\nupstream_model = "smollm2"\n'
        )
    return "\n".join(_tables(port)) + real
