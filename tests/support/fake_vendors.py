"""Fakes of Anthropic, Gemini, OpenAI's Responses API and Ollama over one real socket, each in its true wire format.

    vendors.says("tell", Spoken(words=50, thoughts=4))       # one script for all four, by the request's prompt
    vendors.asked("anthropic", "tell")                       # the requests' bodies

Each lists its models, Anthropic and Gemini on pages of two, whatever the page's size in the request.
`tests/support/vendor_openai.py` and its neighbours have one vendor each.

Scripts (`tests/support/vendor_scripts.py`) are those of `tests/support/fake_upstream.py`, with thoughts before the
text. Words, thoughts and pieces of arguments are counted together by `hold_after` and by a fault's `after`. What a
vendor refuses is refused here too, with its own words: signatures that are missing, changed or another's, thoughts
without an answer, a prefill that it does not take.

Sources: those of the adapters (`activities/providers/`), whose own tests have every event and field.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.support.fake_upstream import Fault, Script, let_go
from tests.support.vendor_anthropic import Anthropic
from tests.support.vendor_gemini import Gemini
from tests.support.vendor_ollama import Ollama
from tests.support.vendor_openai import OpenAI, OpenAIEvents
from tests.support.vendor_scripts import Asked, Encoder, Json, Piece, Refused, Spoken, Vendor, VendorFault

# The second reading of a background answer is cut into pieces of so many characters.
_RECUT = 3


@dataclass
class Generation:
    """A background answer: it goes on without a reader."""

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
            assert isinstance(encoder, OpenAIEvents)
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
        encoder = OpenAIEvents(generation.body, generation.script, generation.id)
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
