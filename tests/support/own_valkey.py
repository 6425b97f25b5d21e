"""A Valkey that no worker of the session looks at."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from dev import services
from open_responses.io.redis.client import Redis, connect


@asynccontextmanager
async def own_valkey(data: Path, *, in_cluster_mode: bool = False) -> AsyncIterator[tuple[str, Redis]]:
    """Its URL, and a client."""
    port = services.free_port()
    service = services.valkey(port, data)
    if in_cluster_mode:
        options = ("--cluster-enabled", "yes", "--cluster-port", str(services.free_port()))
        service = replace(service, command=(*service.command, *options))
    process = service.start(data)
    try:
        assert await services.wait_ready(service, process, 30)
        url = f"redis://127.0.0.1:{port}/0"
        redis = connect(url)
        yield url, redis
        await redis.aclose()
    finally:
        await services.stop(process)
