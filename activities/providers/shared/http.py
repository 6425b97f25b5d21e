"""The HTTP client that adapters share: httpx's interface over aiohttp's transport.

httpx's own transport costs five times the CPU per chunk and falls behind at 500 streams. Importing aiohttp takes a
tenth of a worker's start, so a thread does it meanwhile, or for the first request.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
import threading
from collections.abc import Callable, Mapping

import httpx

from activities.providers.shared.answer_guard import PIECES

_STALE_CONNECTIONS = 3


class EncodedAnswer(httpx.RemoteProtocolError):
    """The server compressed its answer although the request did not allow it."""


def open_http_client(headers_of_task: Callable[[], Mapping[str, str]] = dict) -> httpx.AsyncClient:
    """One per process. No retries and no redirects: Temporal retries, and a key must not follow a redirect.

    Nothing is decompressed: a few compressed bytes may become any number. Raises EncodedAnswer for an answer that is
    compressed although it was not asked for; the body of a refusal that is compressed is left out.

    Args:
        headers_of_task: Returns headers that the requests of the current task have in addition, such as its trace.
    """

    async def add_headers(request: httpx.Request) -> None:
        request.headers.update(headers_of_task())

    return httpx.AsyncClient(
        transport=_Aiohttp(),
        headers={"Accept-Encoding": "identity"},
        event_hooks={"request": [add_headers], "response": [_refuse_encoded]},
        follow_redirects=False,
        trust_env=False,
    )


class _Aiohttp(httpx.AsyncBaseTransport):
    """aiohttp's transport, made in a thread for the first request."""

    def __init__(self) -> None:
        self._made: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._made is None:
            transport = await asyncio.to_thread(load_transport)
            # Another request may have made it meanwhile.
            self._made = self._made or transport(
                verify=_tls_context(), limits=httpx.Limits(max_connections=5000, max_keepalive_connections=500)
            )
        response = await self._made.handle_async_request(request)
        from activities.providers.shared.httpx_aiohttp_parts import pieces_of

        response.extensions[PIECES] = pieces_of(response)
        return response

    async def aclose(self) -> None:
        if self._made is not None:
            await self._made.aclose()


def load_transport() -> Callable[..., httpx.AsyncBaseTransport]:
    """Import aiohttp, and load the root certificates. For a thread."""
    with _loading:
        from httpx_aiohttp import AiohttpTransport

        from activities.providers.shared.httpx_aiohttp_parts import tell_connection_errors_apart

        tell_connection_errors_apart()
        _tls_context()
    return AiohttpTransport


_loading = threading.Lock()


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Return the one context for all clients of the process, because loading the root certificates takes 40 ms of CPU
    time."""
    return httpx.create_ssl_context(trust_env=False)


async def _refuse_encoded(response: httpx.Response) -> None:
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        return
    if response.status_code == 200:
        raise EncodedAnswer(f"the answer has the content encoding {encoding[:20]!r}", request=response.request)
    # The status is sufficient for the error.
    await response.stream.aclose()  # type: ignore[union-attr]
    response.stream = httpx.ByteStream(b"")
    response.extensions.pop(PIECES, None)
    for header in ("content-encoding", "content-length"):
        response.headers.pop(header, None)


async def send_stream(http: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Return the answer's head. If the server has closed a kept connection meanwhile, the request is sent over another
    one."""
    for _ in range(_STALE_CONNECTIONS):
        try:
            return await http.send(request, stream=True)
        except httpx.NetworkError as error:
            if type(error) is not httpx.NetworkError:
                raise
            closed = error
    raise closed
