"""A transport of the MCP SDK whose messages are repaired before the SDK checks them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

import mcp_types
from mcp.shared.message import SessionMessage

from activities.tools.mcp_repairs import repaired


@asynccontextmanager
async def repairing(
    transport: AbstractAsyncContextManager[tuple[Any, Any]], called: str | None
) -> AsyncIterator[tuple[_Repaired, Any]]:
    """The transport, with odd parts of what the server answers replaced (`mcp_repairs.py`)."""
    async with transport as (received, sent):
        yield _Repaired(received, called), sent


class _Repaired:
    """The stream of the messages that a transport receives."""

    def __init__(self, received: Any, called: str | None) -> None:
        self._received = received
        self._called = called

    @property
    def last_context(self) -> Any:
        return getattr(self._received, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        return self._repaired(await self._received.receive())

    async def aclose(self) -> None:
        await self._received.aclose()

    def __aiter__(self) -> _Repaired:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return self._repaired(await self._received.__anext__())

    async def __aenter__(self) -> _Repaired:
        await self._received.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        swallows: bool | None = await self._received.__aexit__(kind, error, traceback)
        return swallows

    def _repaired(self, received: SessionMessage | Exception) -> SessionMessage | Exception:
        if not isinstance(received, SessionMessage) or not isinstance(received.message, mcp_types.JSONRPCResponse):
            return received
        result = repaired(received.message.result, self._called)
        return replace(received, message=received.message.model_copy(update={"result": result}))
