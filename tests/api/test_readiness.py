"""`/readyz` answers at once, whatever hangs, and names each part; a start does not wait for ever for Temporal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from api.application import create_app
from open_responses.io.redis import key_names
from open_responses.io.settings import Settings
from tests.support.fake_upstream import Script, Upstream
from tests.support.own_valkey import own_valkey
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import until

# The SDK of Temporal waits for 30 seconds, and a client of Redis for 2.
HANGS_SECONDS = 10.0


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """The port of a server that accepts connections and never sends a byte, as a frozen process does."""
    writers: list[asyncio.StreamWriter] = []

    async def keep(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.close()


@asynccontextmanager
async def api_with(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url="http://localhost", transport=httpx.ASGITransport(app), timeout=60) as api,
    ):
        yield api


@pytest_asyncio.fixture(scope="module")
async def hung_api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """An API in this process whose Temporal and Redis are silent."""
    async with silent_server() as temporal, silent_server() as redis:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{temporal}")
            patch.setenv("REDIS_URL", f"redis://127.0.0.1:{redis}/0")
            settings = Settings(data_dir=str(tmp_path_factory.mktemp("hung")), start_patience_seconds=1)
            async with api_with(settings) as api:
                yield api


@pytest.mark.campaign
async def test_readiness_is_known_at_once_while_temporal_and_redis_hang(hung_api: httpx.AsyncClient) -> None:
    for _ in range(3):
        began = time.monotonic()
        answer = await hung_api.get("/readyz")
        assert time.monotonic() - began < HANGS_SECONDS / 2
        assert answer.status_code == 503
        assert answer.json()["status"] == "not ready"
        assert answer.json()["missing"].keys() == {"temporal", "redis"}
        assert "does not answer" in answer.json()["missing"]["temporal"]


@pytest.mark.campaign
async def test_a_redis_cluster_is_named_instead_of_looking_like_an_outage(tmp_path: Path) -> None:
    async with silent_server() as temporal, own_valkey(tmp_path, in_cluster_mode=True) as (url, _):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{temporal}")
            patch.setenv("REDIS_URL", url)
            async with api_with(Settings(data_dir=str(tmp_path), start_patience_seconds=1)) as api:
                answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert "is a cluster" in answer.json()["missing"]["redis"]


async def test_a_start_gives_up_when_its_patience_ends_though_temporal_hangs(hung_api: httpx.AsyncClient) -> None:
    """The SDK would wait for its connection for 30 seconds, and for its answer for 30 more."""
    async with asyncio.timeout(HANGS_SECONDS):
        answer = await hung_api.post("/v1/responses", json={"model": "llama3", "input": "hello", "background": True})
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "unavailable"
    assert "Nothing was started" in answer.json()["error"]["message"], "it was never connected"


@pytest.mark.campaign
async def test_an_api_without_workers_stays_ready_and_says_so(tmp_path: Path, upstream: Upstream) -> None:
    script = upstream.says("waits for a worker", Script(words=3))
    async with small_stack(tmp_path, upstream) as stack, client_of(stack) as client:
        assert (await client.get("/readyz")).json() == {"status": "ready"}
        for name in ("worker-0", "worker-1"):
            await stack.kill(name)

        async def is_degraded() -> bool:
            answer = await client.get("/readyz")
            assert answer.status_code == 200
            return answer.json() != {"status": "ready"}

        await until(is_degraded)
        answer = await client.get("/readyz")
        assert answer.json() == {"status": "degraded", "missing": {"workers": "no worker holds a lease"}}
        asking = asyncio.create_task(
            client.post("/v1/responses", json={"model": "fake", "input": "waits for a worker"})
        )
        await stack.start("worker-0")
        assert (await asking).json()["output"][0]["content"][0]["text"] == script.text


async def test_an_api_with_another_files_folder_uses_none_until_it_has_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("open_responses.io.files.folder_agreement._PAUSE_SECONDS", 0.05)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    async with own_valkey(tmp_path) as (url, redis):
        monkeypatch.setenv("REDIS_URL", url)
        now, _ = await redis.time()
        await redis.zadd(key_names.FILES_FOLDERS, {f"another 1 {machine}": now + 600 for machine in "ab"})
        async with api_with(Settings(data_dir=str(tmp_path))) as api:

            async def is_refused() -> bool:
                return (await api.get("/v1/files")).status_code == 503

            await until(is_refused)
            refused = await api.post("/v1/vector_stores")
            assert refused.json()["error"]["code"] == "files_folder_differs"
            assert int(refused.headers["retry-after"]) >= 1
            assert "files" in (await api.get("/readyz")).json()["missing"]
            # The others have gone, or have this folder now.
            await redis.delete(key_names.FILES_FOLDERS)

            async def is_served() -> bool:
                return (await api.get("/v1/files")).status_code == 200

            await until(is_served)
            assert await redis.ttl(key_names.FILES_FOLDERS) > 0
            (registered,) = await redis.zrange(key_names.FILES_FOLDERS, 0, -1)
            assert isinstance(registered, bytes)
            assert registered.decode().split()[0] in (tmp_path / "files" / "folder.id").read_text()
