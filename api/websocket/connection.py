"""The Responses API over a WebSocket, at the path of the HTTP one: requests in, the same events out (WS-1 to WS-9).

What this prevents: a conversation that depends on a connection. Each request begins a durable response like any other;
a socket brings the request and follows the response, one after the other. If a socket breaks, the server loses only the
responses that it kept for this socket and stores nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

import orjson
import structlog
from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.admission.received_bytes import Received
from api.app_state import AppState, latest_state_of, state_of
from api.auth import Caller, caller_of, tenant_of, valid_key
from api.body_sends import body_send
from api.connections.uvicorn_protocols import receive_of
from api.connections.websocket import count_messages
from api.errors import as_told, log_refusal, refusal
from api.forms import forms_for
from api.openai_forms import speaks_openai
from api.responses.authorize import authorize
from api.responses.follow import subscribed
from api.responses.held import HeldResponse, held_after
from api.responses.parse import ParsedRequest
from api.responses.prepare import Prepared, prepare
from api.responses.routing import take_provider_key
from api.responses.start import start_response
from api.streaming.obfuscation import obfuscated
from api.websocket.messages import envelope, names_openais_protocol, read_message, read_request, take_generate
from api.websocket.steering import steer_message
from api.websocket.steers import Steers, Waiting
from open_responses.errors import InvalidRequest, OpenResponsesError, PermissionDenied, RateLimited, RequestTooLarge
from open_responses.events.lifecycle import opening_events, terminal_events
from open_responses.io.background import end_tasks
from open_responses.io.log.encoding import encode
from open_responses.io.log.reader import peek
from open_responses.io.settings import Settings
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.finish import final_resource
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.mcp_items import McpApprovalResponse
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import CreateResponse, validate_create_response

log = structlog.get_logger(__name__)
router = APIRouter()

# As many as OpenAI lets run on one connection.
_MAX_WAITING = 16
_FAILED = b"response.failed"
_NORMAL_CLOSURE, _ABNORMAL_CLOSURE = 1000, 1006
# In the log lines of refusals, where a request over HTTP has its route.
_PATH = "websocket"


@router.websocket("/v1/responses")
async def responses_socket(websocket: WebSocket) -> None:
    """Requests over one socket, one after the other. A handshake without a valid key gets 401, and one above the key's
    limit of sockets 429."""
    state = state_of(websocket)
    try:
        caller = caller_of(websocket)
        _check_origin(websocket, state.settings)
        state.open_streams.take(websocket, caller.key)
    except OpenResponsesError as error:
        answer = refusal(error, _PATH, tenant_of(websocket), state.refusals)
        await websocket.send_denial_response(answer)
        return
    count_messages(receive_of(websocket), state.received.of(caller.key))
    await websocket.accept()
    await Connection(websocket, state, caller).serve()


def _check_origin(websocket: WebSocket, settings: Settings) -> None:
    """Browsers let every page open a socket to every server, this machine's own included, and read from it. They name
    the page; other clients name none."""
    origin = websocket.headers.get("origin")
    if origin is None or urlsplit(origin).netloc == websocket.headers.get("host"):
        return
    if origin not in settings.origins and "*" not in settings.origins:
        raise PermissionDenied(
            f"Pages of {origin[:80]!r} may not use this server. If you operate it and trust the page, add this "
            "origin to OPEN_RESPONSES_CORS_ORIGINS.",
            code="origin_not_allowed",
        )


class Connection:
    """One client's socket: a queue of messages, the response in flight, and the newest one that is stored nowhere."""

    def __init__(self, websocket: WebSocket, state: AppState, caller: Caller) -> None:
        self._websocket = websocket
        self._send_message = body_send(websocket.scope, websocket.send)
        self._state = state
        self._caller = caller
        self._waiting: asyncio.Queue[tuple[bytes | OpenResponsesError, Received]] = asyncio.Queue(_MAX_WAITING)
        self._waiting_bytes = 0
        self._held: HeldResponse | None = None
        self._steers = Steers(websocket, self._send, self._current)
        self._has_begun = False
        self._received: Received | None = None
        self._is_openais = speaks_openai(websocket) or names_openais_protocol(websocket.headers)

    async def serve(self) -> None:
        """Until the client leaves, or its time is up (WS-8), or the server shuts down."""
        tasks = [
            asyncio.create_task(self._read()),
            asyncio.create_task(self._run()),
            asyncio.create_task(self._steers.run()),
        ]
        try:
            lifetime = self._state.settings.socket_seconds
            done, _ = await asyncio.wait(tasks, timeout=lifetime, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            if not done:
                await self._say_goodbye()
        finally:
            results = await end_tasks(tasks)
            self._steers.release()
            while not self._waiting.empty():
                self._waiting.get_nowait()[1].release()
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, WebSocketDisconnect):
                log.error("socket_broke", exc_info=result)

    # --- messages in

    async def _read(self) -> None:
        """Queue messages, and reply to them in their order, so that a client can match a reply to its request."""
        limit = self._state.settings.max_body_bytes
        while True:
            received = await self._websocket.receive()
            if received["type"] == "websocket.disconnect":
                return
            text = received.get("text")
            message = read_message(received["bytes"] if text is None else text, limit)
            size = len(message) if isinstance(message, bytes) else 0
            if isinstance(message, bytes) and (steer := await off_loop(size, steer_message, message)) is not None:
                await self._take_steer(steer, size)
                continue
            if self._waiting.full() or (self._waiting_bytes and self._waiting_bytes + size > limit):
                await self._refuse(_too_many())
                continue
            received_bytes = self._state.received.of(self._caller.key)
            try:
                received_bytes.add(size)
            except OpenResponsesError as error:
                await self._refuse(error)
                continue
            self._waiting_bytes += size
            self._waiting.put_nowait((message, received_bytes))

    async def _take_steer(self, steer: JsonObject, size: int) -> None:
        """Pass on a message for the response that runs, which does not wait behind it."""
        received_bytes = self._state.received.of(self._caller.key)
        try:
            received_bytes.add(size)
        except OpenResponsesError as error:
            await self._refuse(error)
        else:
            await self._steers.take(Waiting(steer, size, received_bytes))

    async def _run(self) -> None:
        """Run one request after the other (WS-3)."""
        while True:
            message, received = await self._waiting.get()
            self._received = received
            self._caller, self._has_begun = replace(self._caller, headers={}), False
            try:
                if isinstance(message, OpenResponsesError):
                    raise message
                self._waiting_bytes -= len(message)
                self._renew()
                if self._caller.key is not None:
                    self._state.reads.check_refused(self._caller.key)
                await self._run_request(await off_loop(len(message), read_request, message), len(message))
            except WebSocketDisconnect:
                raise
            except Exception as error:  # noqa: BLE001 - the socket's border
                told = as_told(error, _PATH)
                self._count_refusal(told)
                await self._refuse(told, self._caller.headers, is_logged=told is not error)
            finally:
                received.release()

    async def _refuse(
        self, error: OpenResponsesError, headers: Mapping[str, str] | None = None, *, is_logged: bool = False
    ) -> None:
        """Answer a message with the error of its refusal, which has one log line."""
        if not is_logged:
            log_refusal(error, _PATH, self._caller.tenant, self._state.refusals)
        await self._send(envelope(error, headers))

    def _renew(self) -> None:
        """Go on with the configuration as it is now, and with the key as it is now. Raises Unauthorized for a key that
        was revoked or has expired since."""
        self._state, self._caller = self._current()

    def _current(self) -> tuple[AppState, Caller]:
        """The state and the caller as they are now. Raises as `_renew`."""
        state = latest_state_of(self._websocket)
        if not state.settings.config.api_keys:
            return state, self._caller
        key = valid_key(state, self._websocket)
        return state, replace(self._caller, tenant=key.tenant, key=key)

    def _release(self) -> None:
        if self._received is not None:
            self._received.release()

    def _count_refusal(self, error: OpenResponsesError) -> None:
        """A request that begins no response counts as a read, like a request over HTTP."""
        if self._caller.key is not None and not self._has_begun and error.status < 500:
            self._state.reads.count_refused(self._caller.key)

    # --- a request

    async def _run_request(self, body: JsonObject, size: int) -> None:
        referenced = body.get("previous_response_id")
        has_failed = True
        try:
            has_failed = await self._answer(body, size)
        finally:
            if has_failed:
                self._evict(referenced)

    async def _answer(self, body: JsonObject, size: int) -> bool:
        """Whether the response failed. Raises the error that refuses the request."""
        generates = take_generate(body, is_openais=self._is_openais)
        provider_key = self._provider_key(body)
        held = self._held if self._holds(body.get("previous_response_id")) else None
        if held is not None:
            self._check_size(held, size)
            if held.waiting_input and not body.get("input"):
                # OpenAI's clients go on from a warm-up with nothing to add.
                body["input"] = held.waiting_input
                held = held.before_input()
        if not generates and not body.get("input"):
            body["input"] = ""
        elif held is not None and held.is_empty and not body.get("input"):
            raise InvalidRequest("'input' must have at least one item.", param="input", code="invalid_value")
        asked = await off_loop(size, validate_create_response, body)
        if not generates:
            _check_warm_up(asked)
        parsed = ParsedRequest(asked, size, provider_key, held=held)
        authorized = authorize(self._state.settings.config, self._caller, parsed)
        prepared = await prepare(self._state, authorized)
        self._has_begun = True
        response, has_failed = await (self._stream(prepared) if generates else self._warm_up(prepared))
        if not has_failed:
            self._remember(prepared, response, held, is_warm_up=not generates)
        return has_failed

    async def _stream(self, prepared: Prepared) -> tuple[bytes, bool]:
        """The response's events, as over SSE. Returns the terminal one, and whether it tells of a failure."""
        await self._steers.follow(prepared.start)
        forms = forms_for(self._websocket, prepared.start.request)
        try:
            async with subscribed(self._state, prepared.start) as subscription:
                await start_response(self._state, prepared)
                # It has begun: from here on it may take hours.
                self._release()
                while (batch := await subscription.next_batch()) is not None:
                    for event in batch:
                        padded = obfuscated(event)
                        await self._send(padded if forms is None else forms.event(padded))
                        self._steers.last_event = event
            await self._steers.follow(None)
        finally:
            self._steers.in_flight = None
        return self._steers.last_event, peek(self._steers.last_event)[0] == _FAILED

    async def _warm_up(self, prepared: Prepared) -> tuple[bytes, bool]:
        """`generate: false`: a response with an empty output, at once. It lives in this connection's memory only, and
        says so: `store` is false."""
        request = prepared.start.request.model_copy(update={"store": False})
        start = prepared.start.model_copy(update={"request": request})
        await self._state.admission.withdraw(prepared.start)
        response = final_resource(start, Ending(status="completed"), [], TurnUsage(), int(time.time()))
        last, forms = b"", forms_for(self._websocket, request)
        for sequence, event in enumerate([*opening_events(start.initial()), *terminal_events(response)]):
            last = encode(event, sequence)
            await self._send(last if forms is None else forms.event(last))
        return last, False

    # --- the memory

    def _holds(self, response_id: object) -> bool:
        return self._held is not None and self._held.response_id == response_id

    def _evict(self, response_id: object) -> None:
        """A continuation failed: another try must not go on from what may be the reason (WS-6)."""
        if self._holds(response_id):
            self._held = None

    def _remember(self, prepared: Prepared, last: bytes, before: HeldResponse | None, *, is_warm_up: bool) -> None:
        """The newest response alone (WS-4). A stored one is in the store."""
        if prepared.start.request.is_stored and not is_warm_up:
            self._held = None
            return
        output = orjson.loads(last)["response"]["output"]
        size_before = before.size if before is not None else 0
        self._held = held_after(
            prepared.start, prepared.ancestors, output, size_before=size_before, is_warm_up=is_warm_up
        )

    def _check_size(self, held: HeldResponse, size: int) -> None:
        """As if the conversation had been sent again, which is what a client without a socket would do."""
        limit = self._state.settings.max_body_bytes
        if held.size + size > limit:
            raise RequestTooLarge(
                f"The items that your connection continues are larger than {limit} bytes. Send a shorter input without "
                "them."
            )

    def _provider_key(self, body: JsonObject) -> str | None:
        """The message's own, or else the handshake's."""
        has_own = body.get("api_key") is not None
        return take_provider_key(body, {} if has_own else self._websocket.headers)

    # --- messages out

    async def _send(self, message: bytes) -> None:
        """Waits while the client's buffer is full. Raises WebSocketDisconnect, also where the client reads nothing
        (`api/connections/slow_readers.py`)."""
        try:
            await self._send_message({"type": "websocket.send", "text": message.decode()})
        except OSError:
            # uvicorn's, for a client that is gone.
            raise WebSocketDisconnect(_ABNORMAL_CLOSURE) from None

    async def _say_goodbye(self) -> None:
        with contextlib.suppress(WebSocketDisconnect):
            await self._send(envelope(self._too_old()))
            await self._websocket.close(_NORMAL_CLOSURE, "websocket_connection_limit_reached")

    def _too_old(self) -> InvalidRequest:
        """In OpenAI's words, and what becomes of the response in flight."""
        lifetime = self._state.settings.socket_seconds
        limit = f"{lifetime / 60:g} minutes" if lifetime >= 60 else f"{lifetime:g} seconds"
        message = (
            f"Responses websocket connection limit reached ({limit}). Create a new websocket connection to continue."
        )
        start, last_event = self._steers.in_flight, self._steers.last_event
        if start is not None and start.request.is_stored:
            after = f"&starting_after={peek(last_event)[1]}" if last_event else ""
            message += f" Your response goes on. Read it with GET /v1/responses/{start.response_id}?stream=true{after}"
        elif start is not None:
            message += f" Your response {start.response_id} has 'store': false, so it is cancelled. Send it again."
        return InvalidRequest(message, code="websocket_connection_limit_reached")


def _too_many() -> RateLimited:
    return RateLimited(
        f"{_MAX_WAITING} of your messages wait on this connection, its limit. Send this one again after a response.",
        code="websocket_queue_full",
    )


def _check_warm_up(asked: CreateResponse) -> None:
    """A call that is approved runs at once, which is what a warm-up does not want, and no request begins with it."""
    if asked.conversation is not None:
        raise InvalidRequest(
            "A warm-up ('generate' is false) adds nothing to a conversation. Send 'conversation' with the message that "
            "you want answered.",
            param="conversation",
            code="invalid_value",
        )
    for index, item in enumerate(asked.input_items()):
        if isinstance(item, McpApprovalResponse):
            raise InvalidRequest(
                "A warm-up ('generate' is false) runs no call. Send your approval with the message that follows.",
                param=f"input[{index}]",
                code="invalid_value",
            )
