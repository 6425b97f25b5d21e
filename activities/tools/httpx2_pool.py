"""The connection pool inside an httpx2 transport: the only module that replaces it.

httpx2 has no parameter for a network backend. httpcore2, on which httpx2 is built, has one.
`tests/unit/test_half_public_parts.py` checks that the pool is where it was; `pyproject.toml` bounds the version.
"""

from __future__ import annotations

import functools
import ssl

import httpcore2
import httpx2


@functools.cache
def tls_context() -> ssl.SSLContext:
    """The one context for all connections of the process. Loading the root certificates takes 40 ms, in which the event
    loop stands still."""
    return httpx2.create_ssl_context(trust_env=False)


def connect_through(transport: httpx2.AsyncHTTPTransport, backend: httpcore2.AsyncNetworkBackend) -> None:
    """Have the transport open its connections with this backend. To be called before its first request."""
    transport._pool = httpcore2.AsyncConnectionPool(
        ssl_context=tls_context(), max_connections=10, network_backend=backend
    )
