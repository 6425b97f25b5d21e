"""A client of the WebSocket endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support.fake_upstream import Upstream
from tests.support.spec import validate_event
from tests.support.stack import Event

ADD = {"type": "function", "name": "sum_up", "parameters": {"type": "object"}}
_TERMINAL = ("response.completed", "response.incomplete", "response.failed")


@dataclass
class Client:
    """Sends turns and reads what comes back. Each event is checked against the specification's schema."""

    connection: ClientConnection

    async def say(self, message: Any) -> None:
        raw = isinstance(message, str | bytes)
        await self.connection.send(message if raw else json.dumps(message))

    async def ask(self, **fields: Any) -> None:
        await self.say({"type": "response.create", "model": "fake", **fields})

    async def hear(self) -> Event:
        heard: Event = json.loads(await asyncio.wait_for(self.connection.recv(), 50))
        if "status" not in heard:
            validate_event(heard)
        return heard

    async def hear_any(self) -> Event:
        """A message that may be none of the specification's."""
        heard: Event = json.loads(await asyncio.wait_for(self.connection.recv(), 50))
        return heard

    async def events(self) -> AsyncIterator[Event]:
        """Up to the end of one response."""
        while True:
            event = await self.hear()
            assert "status" not in event, event
            yield event
            if event["type"] in _TERMINAL:
                return

    async def turn(self, **fields: Any) -> list[Event]:
        await self.ask(**fields)
        return [event async for event in self.events()]

    async def answer(self, **fields: Any) -> dict[str, Any]:
        response: dict[str, Any] = (await self.turn(**fields))[-1]["response"]
        return response

    async def is_refused(self, status: int, code: str, param: str | None = None) -> Event:
        heard = await self.hear()
        assert (heard["type"], heard["status"]) == ("error", status), heard
        error: Event = heard["error"]
        assert set(error) - {"headers"} == {"code", "message", "param", "type"}
        assert error["code"] == code, error
        assert error["message"]
        if param is not None:
            assert error["param"] == param, error
        return error

    async def closed_with(self) -> int | None:
        """The server's close code, once it has closed."""
        await asyncio.wait_for(self.connection.wait_closed(), 50)
        return self.connection.close_code


@asynccontextmanager
async def connected(url: str, headers: dict[str, str] | None = None, **options: Any) -> AsyncIterator[Client]:
    target = url.replace("http://", "ws://") + "/v1/responses"
    options = {"proxy": None, "max_size": None, **options}
    async with connect(target, additional_headers=headers or {}, **options) as connection:
        yield Client(connection)


def sent(upstream: Upstream) -> list[tuple[str, Any]]:
    """The role and content of each message of the last request that the model got."""
    return [(message["role"], message["content"]) for message in upstream.requests[-1]["messages"]]
