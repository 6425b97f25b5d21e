"""Which files folder counts if the processes of a deployment have several."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from open_responses.io.files import folder_agreement
from open_responses.io.files.folder_agreement import difference, keep_comparing
from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.redis.client import Redis
from tests.support.own_valkey import own_valkey
from tests.support.stack import until


def a_mark(folder: Path, *, made_at: float) -> FolderMark:
    FolderMark(folder, "sqlite").identity()
    os.utime(folder / "folder.id", (made_at, made_at))
    return FolderMark(folder, "sqlite")


async def test_a_process_without_the_mount_takes_no_files_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with own_valkey(tmp_path) as (_, redis):

        async def look(machine: str, mark: FolderMark, *, claims: bool = True) -> bool:
            """Whether the folder may be used."""
            monkeypatch.setattr(socket, "gethostname", lambda: machine)
            return await difference(redis, mark, claims=claims) is None

        shared, own = (
            a_mark(tmp_path / "shared", made_at=2_000_000_000),
            # A folder that was left over, so that its mark is older.
            a_mark(tmp_path / "own", made_at=1_000_000_000),
        )
        # It is the first after Redis has lost its data, and starts again and again.
        for _ in range(3):
            assert await look("c", own)
        assert not await look("a", shared), "alone against an older mark"
        for machine in ("b", "a"):
            assert await look(machine, shared)
        assert not await look("c", own)
        assert not await look("c", own, claims=False)
        assert not await look("d", FolderMark(tmp_path / "none", "sqlite"), claims=False)
        assert not (tmp_path / "none").exists()


async def test_of_two_folders_that_as_many_machines_have_the_older_is_used(tmp_path: Path) -> None:
    async with own_valkey(tmp_path) as (_, redis):
        new, old = a_mark(tmp_path / "new", made_at=2_000_000_000), a_mark(tmp_path / "old", made_at=1_000_000_000)
        # Two processes of one machine, too.
        for mark, is_used in ((new, True), (old, True), (new, False), (old, True)):
            assert (await difference(redis, mark, claims=True) is None) is is_used


async def test_a_difference_does_not_end_with_the_data_of_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_agreement, "_PAUSE_SECONDS", 0.02)
    marks = [a_mark(tmp_path / name, made_at=made) for name, made in (("shared", 1e9), ("own", 2e9))]
    looks: list[str | None] = []

    async def noted(redis: Redis, mark: FolderMark, *, claims: bool) -> str | None:
        looks.append(await difference(redis, mark, claims=claims))
        return looks[-1]

    async with own_valkey(tmp_path) as (_, redis):
        monkeypatch.setattr(folder_agreement, "difference", noted)
        assert await difference(redis, marks[0], claims=True) is None
        comparing = asyncio.create_task(keep_comparing(redis, marks[1]))

        async def is_refused() -> bool:
            return marks[1].difference is not None

        await until(is_refused)
        await redis.flushall()
        looks.clear()

        async def is_allowed() -> bool:
            return not await is_refused()

        await until(is_allowed)
        assert looks[-3:] == [None] * 3
        comparing.cancel()
