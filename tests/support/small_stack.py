"""A stack of its own, for tests of what is left behind: nobody else writes into its folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import redis.asyncio as aioredis

from dev import services
from tests.support.fake_upstream import Upstream
from tests.support.lasting_keys import check_lasting_keys
from tests.support.stack import Stack, http_client

_CONFIG = """
[[providers]]
name = "fake"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{fake}/v1"
[[routes]]
model = "fake"
provider = "fake"
[[tools]]
name = "get_weather"
target = "tests.support.hosted_tools:get_weather"
[[tools]]
name = "fails"
target = "tests.support.hosted_tools:fails"
[[tools]]
name = "big"
target = "tests.support.hosted_tools:big"
[[tools]]
name = "word_count"
description = "Counts words."
parameters = {{type = "object", properties = {{text = {{type = "string"}}}}, required = ["text"]}}
task_queue = "a-fleet"
timeout_seconds = 20
"""


@asynccontextmanager
async def small_stack(
    data: Path,
    upstream: Upstream,
    *,
    more: Mapping[str, str] | None = None,
    tail: str = "",
    namespaces: Sequence[str] = (),
    with_temporal: bool = True,
    temporal: Mapping[str, object] | None = None,
    **env: str,
) -> AsyncIterator[Stack]:
    """Temporal, Valkey, two workers and the API, with this in the environment (`OPEN_RESPONSES_…`), and `more` under
    other names. `tail` is the end of the configuration. Temporal has these `namespaces` beside its default one, and the
    values `temporal` in its dynamic configuration; without a Temporal of its own, `more` names the address of another.

    Raises AssertionError at the end for keys of Redis that have no time to live."""
    ports = {name: services.free_port() for name in ("valkey", "temporal", "api")}
    ours = {
        "OPEN_RESPONSES_RETRY_WINDOW_SECONDS": "20",
        "OPEN_RESPONSES_KEEPALIVE_SECONDS": "1",
        **{f"OPEN_RESPONSES_{name}": value for name, value in env.items()},
        **(more or {}),
    }
    stack = Stack.at(data, ports, _CONFIG.format(fake=upstream.port) + tail, ours)
    if not with_temporal:
        stack.temporal_address = ours["TEMPORAL_ADDRESS"]
        del stack.services["temporal"]
    else:
        server = stack.services["temporal"]
        more_options = [option for name in namespaces for option in ("--namespace", name)]
        for key, value in (temporal or {}).items():
            more_options += ["--dynamic-config-value", f"{key}={json.dumps(value)}"]
        stack.services["temporal"] = replace(server, command=(*server.command, *more_options))
    try:
        await asyncio.gather(*(stack.start(name) for name in ("valkey", "temporal") if name in stack.services))
        await asyncio.gather(*(stack.start(name) for name in ("worker-0", "worker-1", "api")))
        yield stack
        check_lasting_keys(stack)
    finally:
        await stack.stop()


@asynccontextmanager
async def client_of(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(stack.api_url) as client:
        yield client


async def places_of(stack: Stack, needle: str) -> list[str]:
    """Where a text is: keys of Redis, and files (Temporal's database, Redis' log, payloads, logs)."""
    return [*await keys_with(stack, needle), *files_with(stack.data, needle)]


async def keys_with(stack: Stack, needle: str) -> list[str]:
    redis = aioredis.Redis.from_url(stack.redis_url)
    found = []
    async for key in redis.scan_iter():
        kind = await redis.type(key)
        if kind == b"hash":
            content = repr(await redis.hgetall(key))  # type: ignore[misc]
        elif kind == b"stream":
            content = repr(await redis.xrange(key))
        elif kind == b"string":
            content = repr(await redis.get(key))
        elif kind == b"zset":
            content = repr(await redis.zrange(key, 0, -1))
        elif kind == b"list":
            content = repr(await redis.lrange(key, 0, -1))  # type: ignore[misc]
        elif kind == b"set":
            content = repr(await redis.smembers(key))  # type: ignore[misc]
        else:
            assert kind == b"none", f"{key!r} is a {kind!r}"
            continue
        if needle in content or needle in key.decode():
            found.append(key.decode())
    await redis.aclose()
    return found


def files_with(directory: Path, needle: str) -> list[str]:
    """Files that hold this text. One that is removed during the search holds nothing."""
    found = []
    for file in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.is_file() and needle.encode() in file.read_bytes():
                found.append(str(file.relative_to(directory)))
    return found
