"""Vector stores in the catalog: quotas, expiry, deletions that a crash interrupts, and late ingestions."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from open_responses.config import Config
from open_responses.config_tables.files import FilesConfig
from open_responses.errors import Conflict, InvalidRequest
from open_responses.ids import new_id
from open_responses.io.files.chunk_index import Chunk
from open_responses.io.files.engine import embedding_of
from open_responses.io.files.folder import FilesFolder, files_folder
from open_responses.io.files.store_files import NewStoreFile
from open_responses.io.files.store_rows import StoreRow

CLOCK = "open_responses.io.files.vector_stores.time.time"


def store_of(folder: FilesFolder, tenant: str = "t", **settings: object) -> StoreRow:
    days = settings.get("days")
    assert days is None or isinstance(days, int)
    return folder.stores.create(
        tenant, name="a", description=None, metadata={}, expires_days=days, embedding="m", most=2
    )


def file_of(folder: FilesFolder, data: bytes = b"text") -> str:
    upload = folder.files.begin("t", len(data), FilesConfig())
    upload.incoming.write(data)
    file = folder.files.described(upload.file_id, "t", "a.txt", "user_data", len(data), None)
    folder.files.complete(upload.incoming, file, FilesConfig())
    folder.files.end(upload)
    return upload.file_id


def attach(folder: FilesFolder, store: StoreRow, *file_ids: str, most: int = 2) -> str:
    files = [NewStoreFile(file_id, {}, 400, 100) for file_id in file_ids]
    return folder.store_files.attach(store, files, most=most, as_batch=False).ingestion_id


def test_a_tenant_has_so_many_stores_and_a_store_so_many_files(tmp_path: Path) -> None:
    folder = files_folder(tmp_path)
    store, _ = store_of(folder), store_of(folder)
    store_of(folder, "another")
    with pytest.raises(InvalidRequest) as refused:
        store_of(folder)
    assert refused.value.error_code == "vector_store_quota_exceeded"
    attach(folder, store, file_of(folder), file_of(folder))
    with pytest.raises(InvalidRequest) as full:
        attach(folder, store, file_of(folder))
    assert full.value.error_code == "vector_store_quota_exceeded"
    assert folder.stores.shown([store])[0]["file_counts"]["total"] == 2


def test_a_store_expires_days_after_its_last_use_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = files_folder(tmp_path)
    store, stays = store_of(folder, days=2), store_of(folder)
    ingestion = attach(folder, store, file_id := file_of(folder))
    folder.stores.index(store.id).put_chunks(file_id, ingestion, [Chunk("a secret", 0)])
    began = time.time()
    monkeypatch.setattr(CLOCK, lambda: began + 86_400)
    folder.stores.touch(store)
    monkeypatch.setattr(CLOCK, lambda: began + 2.5 * 86_400)
    found = folder.stores.get(store.id, "t")
    assert found is not None
    assert not found.is_expired, "it was used in between"
    monkeypatch.setattr(CLOCK, lambda: began + 4 * 86_400)
    found = folder.stores.get(store.id, "t")
    assert found is not None
    assert found.is_expired
    assert folder.stores.shown([found])[0]["status"] == "expired"
    assert folder.stores.sweep() == 1
    assert not folder.stores.index_path(store.id).exists()
    assert folder.stores.shown([found])[0]["file_counts"]["total"] == 0
    kept = folder.stores.get(stays.id, "t")
    assert kept is not None
    assert not kept.is_expired


def test_a_deletion_that_was_interrupted_is_completed_by_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = files_folder(tmp_path)
    store = store_of(folder)
    ingestion = attach(folder, store, file_id := file_of(folder))
    folder.stores.index(store.id).put_chunks(file_id, ingestion, [Chunk("a secret", 0)])

    def dies(_: Path) -> None:
        raise OSError("the disk is away")

    with monkeypatch.context() as patched:
        patched.setattr("open_responses.io.files.vector_stores.remove_index", dies)
        with pytest.raises(OSError, match="away"):
            folder.stores.delete(store.id, "t")
    assert folder.stores.get(store.id, "t") is None
    assert folder.stores.sweep() == 1
    assert not folder.stores.index_path(store.id).exists()
    assert store.id.encode() not in (tmp_path / "catalog.sqlite").read_bytes()


def test_an_ingestion_that_is_not_wanted_any_more_writes_nothing(tmp_path: Path) -> None:
    folder = files_folder(tmp_path)
    store, file_id = store_of(folder), file_of(folder)
    old = attach(folder, store, file_id)
    new = attach(folder, store, file_id)
    files = folder.store_files
    assert not files.is_current(store.id, file_id, old)
    assert files.is_current(store.id, file_id, new)
    assert not files.settle(store.id, file_id, old, status="completed")
    assert files.settle(store.id, file_id, new, status="completed", usage_bytes=5)
    assert not files.settle(store.id, file_id, new, status="failed", error=("server_error", "late"))
    assert files.searchable(store.id) == {file_id: ("a.txt", {})}
    assert folder.files.delete(file_id, "t")
    assert files.searchable(store.id) == {}
    assert files.get(store.id, file_id) is None


def test_an_ingestion_that_nobody_runs_is_found(tmp_path: Path) -> None:
    folder = files_folder(tmp_path)
    store = store_of(folder)
    ingestion = attach(folder, store, first := file_of(folder), second := file_of(folder))
    now = int(time.time())
    assert folder.store_files.unfinished(now - 60) == {}
    assert folder.store_files.unfinished(now + 60) == {(store.id, ingestion, "t"): [first, second]}
    folder.store_files.settle(store.id, first, ingestion, status="completed")
    assert folder.store_files.unfinished(now + 60) == {(store.id, ingestion, "t"): [second]}


def test_pages_of_stores_follow_each_other_in_both_directions(tmp_path: Path) -> None:
    folder = files_folder(tmp_path)
    ids = [
        folder.stores.create("t", name="", description=None, metadata={}, expires_days=None, embedding="m", most=9).id
        for _ in range(4)
    ]

    def page(**asked: object) -> tuple[list[str], bool]:
        given = {"limit": 2, "after": None, "before": None, "newest_first": False, **asked}
        found = folder.stores.page("t", **given)  # type: ignore[arg-type]
        assert found is not None
        return [store.id for store in found[0]], found[1]

    assert page() == (ids[:2], True)
    assert page(after=ids[1]) == (ids[2:], False)
    assert page(before=ids[3]) == (ids[1:3], True)
    assert page(before=ids[2]) == (ids[:2], False)
    assert page(newest_first=True, before=ids[0]) == ([ids[2], ids[1]], True)
    assert folder.stores.page("t", limit=2, after=new_id("vs_"), before=None, newest_first=True) is None


async def test_a_store_of_another_embedding_model_is_not_searched(tmp_path: Path) -> None:
    folder = files_folder(tmp_path)
    store = replace(store_of(folder), embedding="another")
    with pytest.raises(Conflict) as refused:
        await folder.search.search([store], ["x"], embedding_of(Config(), {}), filter=None, ranking=None, most=1)
    assert refused.value.error_code == "embedding_model_changed"


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
