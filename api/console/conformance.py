"""`/console/conformance`: the specification's clauses, and their run against this server with the caller's key.

They are those of `open_responses conformance`. Each request of a clause goes through the application as a client's
does: it is authenticated, limited, counted and logged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import Field, ValidationError
from starlette.types import ASGIApp, Message, Scope

from api.body import read_object
from api.dependencies import AuthenticatedCaller, State
from open_responses.conformance.clauses import CLAUSES, Answer, Ask, NoAnswer, Probe
from open_responses.errors import RateLimited
from open_responses.schema.validation import RequestObject, complaint_of

router = APIRouter(include_in_schema=False, prefix="/console/conformance")

_MOST_BYTES = 10_000
# A small model on a laptop writes so much in seconds, and no clause needs more.
_MAX_OUTPUT_TOKENS = 256
_PATIENCE_SECONDS = 60.0
# Each run asks for a dozen responses, one after the other.
_RUNS_AT_ONCE = 4
_AGAIN_SECONDS = 10.0
_RUNS = asyncio.Semaphore(_RUNS_AT_ONCE)


class _Asked(RequestObject):
    model: str = Field(min_length=1, max_length=300)


@router.get("")
async def list_clauses(state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """The clauses, in the order in which they are tried."""
    return JSONResponse({"object": "list", "data": [{"id": one.id, "says": one.says} for one in CLAUSES]})


@router.post("")
async def try_clauses(request: Request, state: State, caller: AuthenticatedCaller) -> StreamingResponse:
    """One line of JSON for each clause, as it has been tried: `problem` (null if it is met) and `took`, in seconds."""
    body, _ = await read_object(request, _MOST_BYTES)
    try:
        model = _Asked.model_validate(body).model
    except ValidationError as error:
        raise complaint_of(error) from None
    if _RUNS.locked():
        raise RateLimited(
            f"{_RUNS_AT_ONCE} runs of the clauses are going on, the most at a time.", retry_after=_AGAIN_SECONDS
        )
    probe = Probe(_asks(request), model, _MAX_OUTPUT_TOKENS)
    return StreamingResponse(_tried(probe), media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})


async def _tried(probe: Probe) -> AsyncIterator[bytes]:
    async with _RUNS:
        for clause in CLAUSES:
            began = time.perf_counter()
            problem = await clause.problem(probe)
            yield orjson.dumps({"id": clause.id, "problem": problem, "took": time.perf_counter() - began}) + b"\n"


def _asks(request: Request) -> Ask:
    """Requests by the same caller, to the same application, without a connection."""
    app: ASGIApp = request.app
    passed = [(name, value) for name, value in request.headers.raw if name in (b"authorization", b"host")]
    shared = {name: request.scope.get(name) for name in ("client", "server", "scheme", "http_version", "asgi")}

    async def ask(method: str, path: str, body: object) -> Answer:
        scope: Scope = {
            **shared,
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [*passed, (b"content-type", b"application/json")],
        }
        exchange = _Exchange(b"" if body is None else orjson.dumps(body))
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            raise NoAnswer(f"{method} {path} had no answer after {_PATIENCE_SECONDS:g} seconds") from None
        return exchange.answer

    return ask


class _Exchange:
    """The messages of one request and its answer."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 0
        self._media = ""
        self._parts: list[bytes] = []

    async def receive(self) -> Message:
        if self._body is None:
            # The client stays connected.
            await asyncio.Event().wait()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = {name.lower(): value for name, value in message["headers"]}
            self._media = headers.get(b"content-type", b"").decode("latin-1")
        elif message["type"] == "http.response.body":
            self._parts.append(message.get("body", b""))

    @property
    def answer(self) -> Answer:
        return Answer(self._status, self._media, b"".join(self._parts).decode())
