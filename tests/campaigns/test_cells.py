"""Two cells of docs/scaling.md: deployments that share Temporal's server, each in a namespace with its own Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.fake_upstream import Script, Upstream
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import Stack, check_whole, collect, until

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(200)]

NAMESPACE = "cell-b"
_WORDS = 80


@pytest_asyncio.fixture
async def cells(tmp_path: Path, upstream: Upstream) -> AsyncIterator[tuple[Stack, Stack]]:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    async with (
        small_stack(tmp_path / "a", upstream, namespaces=(NAMESPACE,)) as first,
        small_stack(
            tmp_path / "b",
            upstream,
            more={"TEMPORAL_ADDRESS": first.temporal_address, "TEMPORAL_NAMESPACE": NAMESPACE},
            with_temporal=False,
        ) as second,
    ):
        yield first, second


async def test_a_cell_that_loses_its_workers_and_its_redis_does_not_touch_another(
    cells: tuple[Stack, Stack], upstream: Upstream
) -> None:
    first, second = cells
    scripts = [upstream.says(f"in cell {name}", Script(words=_WORDS, gap=0.05)) for name in "ab"]
    async with client_of(first) as one, client_of(second) as other:
        streams = [
            asyncio.create_task(collect(client, {"input": f"in cell {name}"}))
            for client, name in ((one, "a"), (other, "b"))
        ]

        async def are_streaming() -> bool:
            return bool(await second.busy_workers()) and bool(await first.busy_workers())

        await until(are_streaming)
        killed = await second.busy_worker()
        await second.kill_seen(killed)

        async def is_taken_over() -> bool:
            return bool(set(await second.busy_workers()) - {killed}) and scripts[1].attempts > 1

        await until(is_taken_over)
        await second.flush()
        ends = [check_whole(await stream, script.text) for stream, script in zip(streams, scripts, strict=True)]
        assert scripts[0].attempts == 1, "the answer of the untouched cell was sampled once"
        for client, foreign in ((one, ends[1]), (other, ends[0])):
            assert (await client.get(f"/v1/responses/{foreign['id']}")).status_code == 404
