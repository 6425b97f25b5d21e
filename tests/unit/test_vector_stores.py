"""Vector stores: their settings, and a folder that cannot be used."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from open_responses.config import Config
from open_responses.io.files import sweeping
from open_responses.io.files.folder import configured_folder, files_folder
from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.files.storage import FolderDiffers
from open_responses.io.settings import ConfigError, Settings


def test_the_embedding_provider_is_one_of_openais_api() -> None:
    Config.model_validate({"vector_stores": {"embedding_provider": "openai", "embedding_model": "m"}})
    for name, words in (("nothing", "not in"), ("anthropic", "adapter")):
        with pytest.raises(ValueError, match=words):
            Config.model_validate({"vector_stores": {"embedding_provider": name, "embedding_model": "m"}})
    with pytest.raises(ValueError, match="need each other"):
        Config.model_validate({"vector_stores": {"embedding_model": "m"}})


def test_a_folder_that_cannot_be_used_is_a_problem_with_its_name(tmp_path: Path) -> None:
    assert files_folder(tmp_path / "new").problem() is None
    (tmp_path / "file").write_text("")
    problem = files_folder(tmp_path / "file").problem()
    assert problem is not None
    assert "OPEN_RESPONSES_FILES_DIR" in problem


def test_the_id_of_a_folder_stays_and_another_folder_has_another(tmp_path: Path) -> None:
    made = FolderMark(tmp_path / "a", "sqlite").identity()
    assert FolderMark(tmp_path / "a", "sqlite").identity() == made
    assert FolderMark(tmp_path / "b", "sqlite").identity() != made
    assert FolderMark(tmp_path / "c", "sqlite").known() is None
    assert not (tmp_path / "c").exists()
    (tmp_path / "a" / "folder.id").write_text("")
    problem = files_folder(tmp_path / "a").problem()
    assert problem is not None
    assert "restore" in problem


def test_a_volume_without_hard_links_has_a_mark_that_several_processes_make_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with ThreadPoolExecutor(6) as threads:
        marks = list(threads.map(lambda _: FolderMark(tmp_path / "a", "sqlite").identity(), range(12)))
    assert len(set(marks)) == 1
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["folder.id"]


def test_a_folder_is_not_used_with_another_kind_of_catalog(tmp_path: Path) -> None:
    """The sweep would remove each of its files, of which the other catalog knows nothing."""
    files_folder(tmp_path / "new").files.sweep()
    for folder in (tmp_path / "new", tmp_path / "old"):
        folder.mkdir(exist_ok=True)
        (folder / "catalog.sqlite").touch()
        with pytest.raises(FolderDiffers, match="SQLite"):
            FolderMark(folder, "postgresql").use()
    FolderMark(tmp_path / "moved", "postgresql").use()
    problem = files_folder(tmp_path / "moved").problem()
    assert problem is not None
    assert "PostgreSQL" in problem


def test_a_catalog_that_does_not_belong_to_the_files_is_refused_before_a_sweep_removes_them(tmp_path: Path) -> None:
    """Another one or a new one: it has no row of any file."""
    kept, other = tmp_path / "kept", tmp_path / "other"
    paths = []
    for folder in (kept, other):
        files_folder(folder).files.sweep()
        paths.append(folder / "bytes" / "ab" / "file-abc")
        paths[-1].parent.mkdir(parents=True)
        paths[-1].write_text("kept")
        os.utime(paths[-1], (0, 0))
    right = (kept / "catalog.sqlite").read_bytes()
    (kept / "catalog.sqlite").unlink()
    for words in ("new", "belongs to the folder"):
        with pytest.raises(FolderDiffers, match=words):
            files_folder(kept).files.sweep()
        problem = files_folder(kept).problem()
        assert problem is not None
        assert words in problem
        (kept / "catalog.sqlite").write_bytes((other / "catalog.sqlite").read_bytes())
    assert all(path.exists() for path in paths)
    (kept / "catalog.sqlite").write_bytes(right)
    assert files_folder(kept).problem() is None
    assert files_folder(kept).files.sweep() == 1
    # What the message says.
    (kept / "folder.id").write_text((other / "folder.id").read_text())
    (kept / "catalog.sqlite").write_bytes((other / "catalog.sqlite").read_bytes())
    assert files_folder(kept).problem() is None


async def test_files_expire_while_an_index_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "_PAUSE_SECONDS", 0.01)
    folder, builds, end, sweeps = files_folder(tmp_path), threading.Event(), threading.Event(), [0]

    async def start_nothing(*_: object) -> None:
        sweeps[0] += 1

    def build() -> None:
        builds.set()
        end.wait(60)

    monkeypatch.setattr(sweeping, "restart_forgotten", start_nothing)
    monkeypatch.setattr(folder.stores.indexes, "tend", build)
    tasks = [
        asyncio.create_task(sweeping.sweep_files(folder, None)),  # type: ignore[arg-type]
        asyncio.create_task(sweeping.tend_indexes(folder)),
    ]
    try:
        assert await asyncio.to_thread(builds.wait, 60)
        before = sweeps[0]
        async with asyncio.timeout(60):
            while sweeps[0] < before + 3:
                await asyncio.sleep(0.01)
    finally:
        end.set()
        for task in tasks:
            task.cancel()


def test_a_folder_of_an_older_version_has_no_owner_in_its_catalog_and_gets_one(tmp_path: Path) -> None:
    files_folder(tmp_path).files.sweep()
    with sqlite3.connect(tmp_path / "catalog.sqlite") as connection:
        connection.execute("DROP TABLE folder")
    path = tmp_path / "bytes" / "ab" / "file-abc"
    path.parent.mkdir(parents=True)
    path.write_text("an upload that was cut off")
    assert files_folder(tmp_path).problem() is None
    with sqlite3.connect(tmp_path / "catalog.sqlite") as connection:
        (identity,) = connection.execute("SELECT id FROM folder").fetchone()
    assert identity == FolderMark(tmp_path, "sqlite").identity()


def test_a_database_that_is_not_told_is_refused_without_its_secret(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path)).with_config(
        Config.model_validate({"vector_stores": {"database_env": "FILES_DATABASE"}})
    )
    with pytest.raises(ConfigError, match="FILES_DATABASE is not set"):
        configured_folder(settings, {})
    with pytest.raises(ConfigError, match="postgresql://") as refused:
        configured_folder(settings, {"FILES_DATABASE": "mysql://u:a-secret@host/x"})
    assert "a-secret" not in str(refused.value)
