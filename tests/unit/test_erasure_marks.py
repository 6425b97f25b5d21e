"""Files that say what is erased, and what is to be: durable, and refused to late writers of large payloads."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import StorageDriverStoreContext, StorageDriverWorkflowInfo

from open_responses.ids import new_id
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import FileStorageDriver, forget_payloads

ROOT = Path(__file__).parents[2]


def test_a_promised_deletion_is_listed_for_every_process_until_it_is_complete(tmp_path: Path) -> None:
    response_id = new_id("resp_")
    assert ErasureMarks(tmp_path).promised() == []
    ErasureMarks(tmp_path).promise(response_id)
    ErasureMarks(tmp_path).promise(response_id)
    assert ErasureMarks(tmp_path).promised() == [response_id]
    assert ErasureMarks(tmp_path).is_hidden(response_id)
    ErasureMarks(tmp_path).complete(response_id)
    assert ErasureMarks(tmp_path).promised() == []
    assert not ErasureMarks(tmp_path).is_hidden(response_id)


def test_a_mark_expires_and_is_cleared(tmp_path: Path) -> None:
    marks, gone, stays = ErasureMarks(tmp_path), new_id("resp_"), new_id("conv_")
    marks.mark(gone, 60)
    marks.mark(stays, 60)
    os.utime(tmp_path / "erased" / gone, (0, time.time() - 1))
    assert not marks.is_marked(gone)
    marks.clear_expired()
    assert [path.name for path in (tmp_path / "erased").iterdir()] == [stays]
    assert marks.is_marked(stays)


@pytest.mark.parametrize("prefix", ["resp_", "conv_"])
async def test_a_late_large_payload_of_an_erased_owner_does_not_stay_on_disk(tmp_path: Path, prefix: str) -> None:
    """As a worker writes it that was stalled in the meantime: it gets an answer, and leaves nothing."""
    erased, other = new_id(prefix), new_id(prefix)
    for owner in (erased, other):
        await _store(tmp_path, owner, b"before")
    ErasureMarks(tmp_path).mark(erased, 60)
    await forget_payloads(tmp_path, erased)
    for owner in (erased, other):
        await _store(tmp_path, owner, b"after")
    assert not (tmp_path / erased).exists()
    assert len(list((tmp_path / other).iterdir())) == 2


async def test_a_payload_that_is_written_while_its_owner_is_erased_goes_with_either_of_the_two(tmp_path: Path) -> None:
    """The write began before the mark was there, and ends after the folder was removed."""
    owner = new_id("resp_")
    ErasureMarks(tmp_path).mark(owner, 60)
    await _store(tmp_path, owner, b"in between")
    await forget_payloads(tmp_path, owner)
    assert not (tmp_path / owner).exists()


async def _store(directory: Path, owner: str, data: bytes) -> None:
    context = StorageDriverStoreContext(StorageDriverWorkflowInfo(id=owner, type="", namespace="default", run_id=""))
    await FileStorageDriver(directory).store(context, [Payload(data=data)])


# What writes to Redis, and why it cannot bring back the content of an erased response.
_WRITERS = {
    "open_responses/io/store/write_record.lua": "refused by the tombstone; all content of a record goes this way",
    "open_responses/io/log/append.lua": "refused by the fence of a closed log",
    "open_responses/io/log/fence_and_read.lua": "refused by the fence of a closed log; writes a number and ids",
    "open_responses/io/log/enter_life.lua": "refused by the fence of a closed log; writes an id",
    "open_responses/io/log/touch_state.lua": "refused by the fence of a closed log; writes a flag or a number",
    "open_responses/io/store/conclude.lua": "sees the tombstone, and is refused by the fence of a closed log",
    "activities/worker/ended_runs.py": "that a worker has looked",
    "open_responses/io/store/redis_store.py": "tombstones, fences, ids; content through write_record.lua",
    "open_responses/io/log/reader_copies.py": "refused by the fence of a closed log; kept for a minute",
    "open_responses/io/redis/leases.py": "ids of activities",
    "open_responses/io/temporal/encryption_check.py": "a name of the encryption keys",
    "open_responses/io/files/folder_agreement.py": "a random id of a folder",
    "open_responses/io/redis/serving_places.py": "ids of workers",
    "activities/worker/dead_worker_detector.py": "ids of activities",
    "open_responses/io/redis/rate_limits.lua": "counts, and ids of responses",
    "open_responses/io/redis/breaker.lua": "counts of a provider",
    "open_responses/io/redis/usage_counters.lua": "counts of a tenant, by model and day, and digests of ids",
    "open_responses/io/redis/usage_counters.py": "that the counts of usage are whole",
    "open_responses/io/store/usage_rebuild.py": "that a worker counts usage again",
    "open_responses/io/redis/api_keys.py": "API keys' hashes and last uses",
    "open_responses/io/redis/api_keys.lua": "API keys' hashes",
    "open_responses/io/redis/refusals.py": "counts of refused requests, and ids of requests",
    "open_responses/io/redis/takeovers.py": "ids of workers and of responses",
    "open_responses/io/redis/counters.py": "counts of a middleware",
    "open_responses/io/redis/model_lists.py": "models of a provider",
    "activities/tool_calls/mcp.py": "tools of an MCP server, for minutes",
}
_WRITES = re.compile(
    r"""(?:redis|pipe|client)\.(?:hset|hsetnx|set|setex|xadd|zadd|sadd|incrby|append|rpush|lpush|mset)\(
      | ["'](?:HSET|SET|XADD|ZADD|HINCRBY|INCRBY|RPUSH|LPUSH|APPEND|MSET)["']""",
    re.VERBOSE,
)


def test_every_writer_to_redis_is_known() -> None:
    """A new one has to be looked at: it must not bring back what was erased."""
    sources = [
        path
        for folder in ("open_responses", "activities", "api", "workflows")
        for suffix in ("py", "lua")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
    ]
    found = {str(path.relative_to(ROOT)) for path in sources if _WRITES.search(path.read_text(encoding="utf-8"))}
    assert found == set(_WRITERS), "a new writer: say in _WRITERS why it brings back nothing of an erased response"
