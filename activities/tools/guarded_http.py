"""HTTP to untrusted servers. The client checks each address at the moment of connecting, and counts each answer while
it arrives.

What this prevents: a request to the cloud's metadata service or to a neighbour, by a name that resolves to one address
for the check and to another for the connection; and a server whose answer fills our memory.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpcore2
import httpx2

from activities.tools.httpx2_pool import connect_through, tls_context
from open_responses.private_addresses import is_forbidden_address


class ForbiddenAddress(Exception):
    """The host is, or resolves to, an address that requests may not reach."""


class TooLarge(Exception):
    """The server sent more bytes than the limit."""


class Encoded(Exception):
    """The server compressed its answer although the request did not allow it. A few compressed bytes may become any
    number."""


class GuardedTransport(httpx2.AsyncHTTPTransport):
    """One connection pool. `on_answer` is called with the head of each answer, `on_fault` with a guard's finding.

    The SDK above may swallow exceptions and retry, so a fault is reported to `on_fault` in addition to the exception.
    With `takes_encoded`, a compressed body is passed on as it arrives: the caller has to bound what it unpacks to.
    """

    def __init__(
        self,
        *,
        allow_private: bool,
        max_bytes: int,
        on_answer: Callable[[httpx2.Request, httpx2.Response], None],
        on_fault: Callable[[Exception], None],
        takes_encoded: bool = False,
    ) -> None:
        super().__init__(verify=tls_context(), trust_env=False)
        self._takes_encoded = takes_encoded
        self._max_bytes = max_bytes
        self._on_answer = on_answer
        self._on_fault = on_fault
        if not allow_private:
            connect_through(self, _PublicNetwork(on_fault))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self._takes_encoded:
            request.headers["accept-encoding"] = "identity"
        response = await super().handle_async_request(request)
        self._on_answer(request, response)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity") and not self._takes_encoded:
            await response.aclose()
            fault = Encoded()
            self._on_fault(fault)
            raise fault
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Counted(response.stream, self._max_bytes, self._on_fault)
        return response


class _Counted(httpx2.AsyncByteStream):
    """A body, up to a limit of its bytes as they arrive."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int, on_fault: Callable[[Exception], None]) -> None:
        self._stream = stream
        self._left = limit
        self._on_fault = on_fault

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._left -= len(chunk)
            if self._left < 0:
                fault = TooLarge()
                self._on_fault(fault)
                raise fault
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _PublicNetwork(httpcore2.AnyIOBackend):
    """Resolves a name once, rejects addresses that are not public, and connects to the address that was checked."""

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        self._on_fault = on_fault

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the base's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        address = await self._public_address(host, port)
        return await super().connect_tcp(address, port, timeout, local_address, socket_options)

    async def _public_address(self, host: str, port: int) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(f"the host {host!r} is not known") from error
        addresses = [str(sockaddr[0]) for *_, sockaddr in found]
        if not addresses or any(is_forbidden_address(address) for address in addresses):
            fault = ForbiddenAddress()
            self._on_fault(fault)
            raise fault
        return addresses[0]
