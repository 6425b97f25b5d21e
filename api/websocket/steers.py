"""The steers of one WebSocket: they do not wait for the response that they are meant for, as other messages do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from api.admission.received_bytes import Received
from api.app_state import AppState
from api.auth import Caller
from api.errors import as_told, log_refusal
from api.lookup import owned_record
from api.responses.steer import steer_of, steer_running, steer_stored
from api.websocket import steering
from open_responses.errors import InvalidRequest, RateLimited
from open_responses.io.log.reader import peek
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.refusals import Refusals
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.steering import Steer
from open_responses.schema.off_loop import off_loop

# As many as requests (`connection.py`).
_MAX_WAITING = 16
_PATH = "websocket"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A steer that was received: its members, its size, and its share of the received bytes."""

    body: JsonObject
    size: int
    received: Received


@dataclass(slots=True)
class Steers:
    """Sends the steers of a connection one after the other, in their order.

    `current` returns the state and the caller as they are now. `in_flight` and `last_event` are those of the response
    that the connection follows: it can steer one with `store: false` as well, which no request finds by its id.
    """

    websocket: WebSocket
    send: Callable[[bytes], Awaitable[None]]
    current: Callable[[], tuple[AppState, Caller]]
    in_flight: StartResponse | None = None
    last_event: bytes = b""
    _waiting: asyncio.Queue[Waiting] = field(default_factory=lambda: asyncio.Queue(_MAX_WAITING))
    _accepted: list[tuple[JsonObject, Steer]] = field(default_factory=list)
    _tenant: str | None = None
    _refusals: Refusals | None = None

    async def take(self, waiting: Waiting) -> None:
        """Queue a steer, or refuse it at once."""
        if self._waiting.full():
            waiting.received.release()
            error = RateLimited(
                f"{_MAX_WAITING} of your steers wait on this connection, its limit. Send this one again later.",
                code="too_many_pending_steers",
            )
            await self.send(steering.failed(waiting.body, error, self._sequence))
            return
        self._waiting.put_nowait(waiting)

    async def run(self) -> None:
        while True:
            waiting = await self._waiting.get()
            try:
                await self._run_one(waiting)
            except WebSocketDisconnect:
                raise
            except Exception as error:  # noqa: BLE001 - the socket's border
                told = as_told(error, _PATH)
                log_refusal(told, _PATH, self._tenant, self._refusals)
                metrics.refused(told.error_code)
                await self.send(steering.failed(waiting.body, told, self._sequence))
            finally:
                waiting.received.release()

    async def follow(self, start: StartResponse | None) -> None:
        """The connection begins to follow this response, or, with None, has followed one to its end.

        Messages that the ended response accepted, and that are not in its output, are given back. Those that the next
        response will read are said to be pending.
        """
        accepted, self._accepted = self._accepted, []
        self.in_flight = start
        if start is None:
            await self._settle(accepted)
        else:
            self.last_event = b""

    def release(self) -> None:
        """Give back the share of what still waits when the connection ends."""
        while not self._waiting.empty():
            self._waiting.get_nowait().received.release()

    @property
    def _sequence(self) -> int:
        return peek(self.last_event)[1] if self.last_event else 0

    async def _run_one(self, waiting: Waiting) -> None:
        state, caller = self.current()
        self._tenant, self._refusals = caller.tenant, state.refusals
        if caller.key is not None:
            state.reads.count(caller.key)
        body, start = waiting.body, self.in_flight
        response_id = steering.steered_response(body, waiting.size)
        given = {"input": body.get("input")}
        if given["input"] is None:
            raise InvalidRequest("Missing required parameter: 'input'.", param="input", code="invalid_value")
        steer = await off_loop(waiting.size, steer_of, response_id, given, caller.tenant, {})
        if start is not None and start.response_id == response_id:
            await steer_running(state, start, steer)
        else:
            start = None
            await steer_stored(state, caller, await owned_record(state, caller.reads_of, response_id), steer)
        await self.send(steering.accepted(response_id, steer, self._sequence))
        if start is not None and self.in_flight is start:
            self._accepted.append((body, steer))
        elif start is not None:
            await self._settle([(body, steer)])

    async def _settle(self, accepted: Sequence[tuple[JsonObject, Steer]]) -> None:
        """Return the messages that are not in the output of the response that has ended, and name those that no model
        has read."""
        if not accepted or not self.last_event:
            return
        response = orjson.loads(self.last_event).get("response", {})
        read = {item.get("steer_id") for item in response.get("output", [])}
        for body, steer in accepted:
            if body["previous_response_id"] != response.get("id"):
                continue
            if steer.steer_id not in read:
                await self.send(steering.unread(body, steer, self._sequence))
            elif (event := steering.pending(steer, response, self._sequence)) is not None:
                await self.send(event)
