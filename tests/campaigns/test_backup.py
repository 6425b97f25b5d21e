"""The recipe of docs/operations.md, *Backup and restore*: the database first, then the folder, while responses run.

Temporal's database is SQLite here; its online backup stands for `pg_dump`.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from open_responses.json_types import JsonObject
from tests.support.fake_upstream import Script, Upstream
from tests.support.small_stack import client_of, small_stack
from tests.support.stack import Stack, until

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

# Too large for Temporal, also compressed: it goes to the folder.
_BIG = 200_000


@pytest_asyncio.fixture
async def stack(tmp_path: Path, upstream: Upstream) -> AsyncIterator[Stack]:
    data = tmp_path / "data"
    data.mkdir()
    async with small_stack(data, upstream) as stack:
        yield stack


async def made(client: httpx.AsyncClient, **body: object) -> JsonObject:
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "hello", **body})
    assert answer.status_code == 200, answer.text
    response: JsonObject = answer.json()
    return response


def back_up(data: Path, backup: Path) -> None:
    backup.mkdir()
    with (
        closing(sqlite3.connect(f"file:{data}/temporal.db?mode=ro", uri=True)) as database,
        closing(sqlite3.connect(backup / "temporal.db")) as copy,
    ):
        database.backup(copy)
    shutil.copytree(data / "blobs", backup / "blobs")


def restore(data: Path, backup: Path) -> None:
    for file in data.glob("temporal.db*"):
        file.unlink()
    shutil.rmtree(data / "blobs")
    shutil.copytree(backup / "blobs", data / "blobs")
    shutil.copy(backup / "temporal.db", data)


async def restart(stack: Stack, between: tuple[Path, Path]) -> None:
    """As the recipe says: API and workers, then Temporal; the backup in its place; Redis emptied."""
    workers = [name for name in stack.processes if name.startswith("worker-")]
    for name in ("api", *workers, "temporal"):
        stack.signal(name, signal.SIGTERM)
        stack.processes[name].wait(60)
        stack.leaving.discard(name)
    restore(*between)
    await stack.start("temporal")
    await stack.flush()
    for name in (*workers, "api"):
        await stack.start(name)


async def test_what_was_there_at_the_backup_is_there_after_a_restore_and_what_ran_goes_on(
    stack: Stack, upstream: Upstream, tmp_path: Path
) -> None:
    async with client_of(stack) as client:
        script = upstream.says("runs during the backup", Script(words=20, hold_after=5))
        conversation = (await client.post("/v1/conversations", json={})).json()["id"]
        kept = [
            await made(client),
            await made(client, input=secrets.token_hex(_BIG)),
            await made(client, conversation=conversation),
        ]
        deleted = await made(client, input="deleted after the backup")
        running = await made(client, input="runs during the backup", background=True)
        await until(lambda: _has_begun(client, running), 60)
        back_up(stack.data, tmp_path / "backup")
        assert (await client.delete(f"/v1/responses/{deleted['id']}")).status_code == 200
        later = await made(client, input="after the backup")
    await restart(stack, (stack.data, tmp_path / "backup"))
    script.released.set()
    async with client_of(stack) as client:

        async def found(response: JsonObject) -> httpx.Response:
            return await client.get(f"/v1/responses/{response['id']}")

        for response in kept:
            assert (await found(response)).json() == response
        assert (await found(later)).status_code == 404
        # As the recipe says: repeat the deletions.
        assert (await found(deleted)).status_code == 200

        async def has_ended() -> bool:
            return (await found(running)).json()["status"] == "completed"

        await until(has_ended, 120)
        (message,) = (await found(running)).json()["output"]
        assert message["content"][0]["text"] == script.text
        assert (await made(client, previous_response_id=kept[0]["id"]))["status"] == "completed"
        assert (await made(client, conversation=conversation))["status"] == "completed"


async def _has_begun(client: httpx.AsyncClient, response: JsonObject) -> bool:
    return bool((await client.get(f"/v1/responses/{response['id']}")).json()["output"])
