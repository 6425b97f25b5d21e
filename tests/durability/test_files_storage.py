"""What the catalog and the indexes promise, in SQLite and in PostgreSQL: one suite for both."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from open_responses.config import Config
from open_responses.config_tables.files import FilesConfig
from open_responses.errors import Conflict, InvalidRequest, Unavailable
from open_responses.ids import new_id
from open_responses.io.files.engine import embedding_of
from open_responses.io.files.file_store import StoredFile
from open_responses.io.files.folder import FilesFolder, files_folder
from open_responses.io.files.storage import Chunk, Embedding
from open_responses.io.files.store_files import NewStoreFile
from open_responses.io.files.store_rows import StoreRow
from open_responses.schema.vector_store_requests import RankingOptions, SearchVectorStore
from tests.support.embedding_provider import embedding_provider
from tests.support.postgres import Postgres, postgres

_TOPICS = ("cat", "tax", "sun")
_DATABASES = count()

Open = Callable[[], FilesFolder]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Postgres]:
    async with postgres() as started:
        yield started


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.campaign)])
def storage(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    if kind == "postgresql":
        request.getfixturevalue("server")
    return kind


@pytest_asyncio.fixture(loop_scope="session")
async def open_folder(storage: str, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    """Opens the same folder and catalog, as another process would."""
    database = None
    if storage == "postgresql":
        database = await request.getfixturevalue("server").create(f"files_{next(_DATABASES)}")
    opened: list[FilesFolder] = []

    def another() -> FilesFolder:
        opened.append(files_folder(tmp_path, database))
        return opened[-1]

    yield another
    for folder in opened:
        await folder.close()


@pytest.fixture
def folder(open_folder: Open) -> FilesFolder:
    return open_folder()


@pytest.fixture(scope="module")
def embedding() -> Iterator[Embedding]:
    """A vector counts words of three topics."""
    with embedding_provider(lambda text: [0.01 + text.lower().count(topic) for topic in _TOPICS]) as provider:
        yield Embedding("m", {"base_url": provider.base_url, "model": "m", "key": None})


def store_of(folder: FilesFolder, tenant: str = "t", *, days: int | None = None, most: int = 2) -> StoreRow:
    return folder.stores.create(
        tenant, name="a", description=None, metadata={}, expires_days=days, embedding="m", most=most
    )


def file_of(
    folder: FilesFolder, data: bytes = b"text", name: str = "a.txt", limits: FilesConfig | None = None, **of: object
) -> StoredFile:
    tenant, seconds, limits = str(of.get("tenant", "t")), of.get("seconds"), limits or FilesConfig()
    assert seconds is None or isinstance(seconds, int)
    upload = folder.files.begin(tenant, len(data), limits)
    upload.incoming.write(data)
    file = folder.files.described(upload.file_id, tenant, name, "user_data", len(data), seconds)
    try:
        folder.files.complete(upload.incoming, file, limits)
    finally:
        folder.files.end(upload)
    return file


def attach(folder: FilesFolder, store: StoreRow, *file_ids: str, most: int = 9, **attributes: str | float) -> str:
    files = [NewStoreFile(file_id, dict(attributes), 400, 100) for file_id in file_ids]
    return folder.store_files.attach(store, files, most=most, as_batch=False).ingestion_id


async def ingest(
    folder: FilesFolder, store: StoreRow, embedding: Embedding, *texts: str, **attributes: str | float
) -> str:
    """A complete file whose chunks are these."""
    file_id = file_of(folder).id
    ingestion = attach(folder, store, file_id, **attributes)
    index = folder.stores.index(store.id)
    index.put_chunks(file_id, ingestion, [Chunk(text, 0) for text in texts])
    waiting = index.without_vector(file_id, 100)
    vectors = await folder.engine.embed([text for _, text in waiting], embedding)
    index.put_vectors([(chunk_id, vector) for (chunk_id, _), vector in zip(waiting, vectors, strict=True)])
    assert folder.store_files.settle(store.id, file_id, ingestion, status="completed", usage_bytes=1)
    return file_id


async def found(
    folder: FilesFolder, stores: list[StoreRow], embedding: Embedding, *queries: str, most: int = 10, **body: object
) -> list[tuple[str, float]]:
    asked = SearchVectorStore.model_validate({"query": list(queries), **body})
    hits = await folder.search.search(
        stores, asked.queries, embedding, filter=asked.filters, ranking=asked.ranking_options, most=most
    )
    return [(hit.text, hit.score) for hit in hits]


# --- files


def test_a_file_is_its_tenants_alone_and_another_process_has_it_too(folder: FilesFolder, open_folder: Open) -> None:
    file = file_of(folder, name="a\0 ü 漢.txt")
    again = open_folder()
    seen = again.files.get(file.id, "t")
    assert seen is not None
    assert (seen.bytes, seen.filename[-5:]) == (4, "漢.txt")
    assert seen.path.read_bytes() == b"text"
    assert again.files.get(file.id, "another") is None
    assert not again.files.delete(file.id, "another")
    assert again.files.get(new_id("file-"), "t") is None
    assert list(again.files.get_all([file.id, new_id("file-"), "../x"], "t")) == [file.id]
    assert again.files.delete(file.id, "t")
    assert folder.files.get(file.id, "t") is None
    assert not file.path.exists()


def test_pages_of_files_follow_each_other_in_both_orders(folder: FilesFolder) -> None:
    ids = [file_of(folder).id for _ in range(3)]
    file_of(folder, tenant="another")

    def page(after: str | None, newest_first: bool) -> tuple[list[str], bool]:
        shown = folder.files.page("t", limit=2, after=after, purpose=None, newest_first=newest_first)
        assert shown is not None
        return [file.id for file in shown[0]], shown[1]

    assert page(None, False) == (ids[:2], True)
    assert page(ids[1], False) == (ids[2:], False)
    assert page(None, True) == (ids[:0:-1], True)
    assert folder.files.page("another", limit=2, after=ids[0], purpose=None, newest_first=True) is None


def test_a_file_that_expires_is_gone_at_once_and_its_bytes_with_the_sweep(
    folder: FilesFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, goes = file_of(folder), file_of(folder, seconds=3600)
    later = time.time() + 3601
    monkeypatch.setattr("open_responses.io.files.file_store.time.time", lambda: later)
    assert folder.files.get(goes.id, "t") is None
    assert folder.files.sweep() == 1
    assert not goes.path.exists()
    assert folder.files.get(stays.id, "t") is not None


def test_of_uploads_that_end_together_no_more_are_kept_than_a_tenant_may_have(open_folder: Open) -> None:
    """Of several processes: each counts before it writes, and none between the two of another."""
    limits = FilesConfig(max_tenant_files=2)
    folders = [open_folder() for _ in range(4)]
    uploads = [(folder, folder.files.begin("t", 4, limits)) for folder in folders]
    ready = threading.Barrier(len(uploads))

    def end(at: int) -> bool:
        folder, upload = uploads[at]
        upload.incoming.write(b"text")
        file = folder.files.described(upload.file_id, "t", "a", "user_data", 4, None)
        ready.wait(30)
        try:
            folder.files.complete(upload.incoming, file, limits)
        except InvalidRequest:
            return False
        finally:
            folder.files.end(upload)
        return True

    with ThreadPoolExecutor(len(uploads)) as threads:
        assert sum(threads.map(end, range(len(uploads)))) == 2


# --- vector stores


def test_a_tenant_has_so_many_stores_and_a_store_so_many_files(folder: FilesFolder) -> None:
    store, _ = store_of(folder), store_of(folder)
    store_of(folder, "another")
    with pytest.raises(InvalidRequest) as refused:
        store_of(folder)
    assert refused.value.error_code == "vector_store_quota_exceeded"
    attach(folder, store, file_of(folder).id, file_of(folder).id, most=2)
    with pytest.raises(InvalidRequest) as full:
        attach(folder, store, file_of(folder).id, most=2)
    assert full.value.error_code == "vector_store_quota_exceeded"
    assert folder.stores.shown([store])[0]["file_counts"]["total"] == 2, "nothing of the refused transaction stays"


def test_a_store_is_its_tenants_alone_and_changes_as_it_is_told(folder: FilesFolder) -> None:
    store = store_of(folder)
    assert folder.stores.get(store.id, "another") is None
    assert not folder.stores.delete(store.id, "another")
    folder.stores.modify(store.id, {"name": "b\0c", "metadata": {"a": "\0ü"}, "expires_days": 3})
    changed = folder.stores.get(store.id, "t")
    assert changed is not None
    assert (changed.name[0], changed.metadata, changed.expires_days) == ("b", {"a": "\0ü"}, 3)


def test_a_store_expires_days_after_its_last_use_and_leaves_nothing(
    folder: FilesFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = "open_responses.io.files.vector_stores.time.time"
    store, stays = store_of(folder, days=2), store_of(folder)
    ingestion = attach(folder, store, file_id := file_of(folder).id)
    folder.stores.index(store.id).put_chunks(file_id, ingestion, [Chunk("a secret", 0)])
    began = time.time()
    monkeypatch.setattr(clock, lambda: began + 86_400)
    folder.stores.touch(store)
    monkeypatch.setattr(clock, lambda: began + 2.5 * 86_400)
    seen = folder.stores.get(store.id, "t")
    assert seen is not None
    assert not seen.is_expired, "it was used in between"
    monkeypatch.setattr(clock, lambda: began + 4 * 86_400)
    seen = folder.stores.get(store.id, "t")
    assert seen is not None
    assert seen.is_expired
    assert folder.stores.shown([seen])[0]["status"] == "expired"
    assert folder.stores.sweep() == 1
    assert folder.stores.index(store.id).texts(file_id) == []
    assert folder.stores.shown([seen])[0]["file_counts"]["total"] == 0
    kept = folder.stores.get(stays.id, "t")
    assert kept is not None
    assert not kept.is_expired


def test_a_deletion_that_was_interrupted_is_completed_by_the_sweep(
    folder: FilesFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other = store_of(folder), store_of(folder)
    file_id = file_of(folder).id
    for one in (store, other):
        folder.stores.index(one.id).put_chunks(file_id, attach(folder, one, file_id), [Chunk("a secret", 0)])

    def dies(_: str) -> None:
        raise OSError("the disk is away")

    with monkeypatch.context() as patched:
        patched.setattr(folder.stores.indexes, "remove", dies)
        with pytest.raises(OSError, match="away"):
            folder.stores.delete(store.id, "t")
    assert folder.stores.get(store.id, "t") is None, "hidden from the first moment"
    assert folder.stores.sweep() == 1
    assert folder.stores.index(store.id).texts(file_id) == []
    assert folder.store_files.get(store.id, file_id) is None
    assert folder.stores.index(other.id).texts(file_id) == ["a secret"], "another store's chunks stay"
    assert folder.stores.sweep() == 0


def test_a_deleted_file_is_in_no_store_any_more(folder: FilesFolder) -> None:
    store, file_id = store_of(folder), file_of(folder).id
    ingestion = attach(folder, store, file_id)
    folder.stores.index(store.id).put_chunks(file_id, ingestion, [Chunk("a secret", 0)])
    assert folder.store_files.settle(store.id, file_id, ingestion, status="completed", usage_bytes=5)
    assert folder.store_files.searchable(store.id) == {file_id: ("a.txt", {})}
    assert folder.files.delete(file_id, "t")
    assert folder.store_files.searchable(store.id) == {}
    assert folder.store_files.get(store.id, file_id) is None
    assert folder.stores.index(store.id).progress(file_id).total == 0


def test_pages_of_stores_follow_each_other_in_both_directions(folder: FilesFolder) -> None:
    ids = [store_of(folder, most=9).id for _ in range(4)]

    def page(**asked: object) -> tuple[list[str], bool]:
        given = {"limit": 2, "after": None, "before": None, "newest_first": False, **asked}
        shown = folder.stores.page("t", **given)  # type: ignore[arg-type]
        assert shown is not None
        return [store.id for store in shown[0]], shown[1]

    assert page() == (ids[:2], True)
    assert page(after=ids[1]) == (ids[2:], False)
    assert page(before=ids[3]) == (ids[1:3], True)
    assert page(before=ids[2]) == (ids[:2], False)
    assert page(newest_first=True, before=ids[0]) == ([ids[2], ids[1]], True)
    assert folder.stores.page("t", limit=2, after=new_id("vs_"), before=None, newest_first=True) is None


def test_a_batch_counts_its_files_and_is_cancelled_as_far_as_it_is_not_done(folder: FilesFolder) -> None:
    store, ids = store_of(folder), [file_of(folder).id for _ in range(3)]
    files = [NewStoreFile(file_id, {"n": 1}, 400, 100) for file_id in ids]
    attached = folder.store_files.attach(store, files, most=9, as_batch=True)
    assert attached.batch_id is not None
    folder.store_files.settle(store.id, ids[0], attached.ingestion_id, status="completed")
    folder.store_files.cancel_batch(attached.batch_id)
    seen = folder.store_files.batch(store.id, attached.batch_id)
    assert seen is not None
    row, counts = seen
    assert row.is_cancelled
    assert (counts["completed"], counts["cancelled"], counts["total"]) == (1, 2, 3)
    assert folder.store_files.batch(new_id("vs_"), attached.batch_id) is None
    shown = folder.store_files.page(
        store.id, batch_id=attached.batch_id, status="cancelled", limit=9, after=None, before=None, newest_first=False
    )
    assert shown is not None
    assert [one.file_id for one in shown[0]] == ids[1:]


# --- ingestion


def test_an_ingestion_that_is_not_wanted_any_more_writes_nothing(folder: FilesFolder) -> None:
    store, file_id = store_of(folder), file_of(folder).id
    old = attach(folder, store, file_id)
    new = attach(folder, store, file_id)
    files = folder.store_files
    assert not files.is_current(store.id, file_id, old)
    assert files.is_current(store.id, file_id, new)
    assert not files.settle(store.id, file_id, old, status="completed")
    assert files.settle(store.id, file_id, new, status="failed", error=("invalid_file", "broken\0"))
    assert not files.settle(store.id, file_id, new, status="completed")
    row = files.get(store.id, file_id)
    assert row is not None
    assert (row.status, row.error_code) == ("failed", "invalid_file")


def test_an_ingestion_that_nobody_runs_is_found(folder: FilesFolder) -> None:
    store = store_of(folder)
    ingestion = attach(folder, store, first := file_of(folder).id, second := file_of(folder).id)
    now = int(time.time())
    assert folder.store_files.unfinished(now - 60) == {}
    assert folder.store_files.unfinished(now + 60) == {(store.id, ingestion, "t"): [first, second]}
    folder.store_files.settle(store.id, first, ingestion, status="completed")
    assert folder.store_files.unfinished(now + 60) == {(store.id, ingestion, "t"): [second]}


def test_an_ingestion_that_was_cut_off_goes_on_where_it_was(folder: FilesFolder, open_folder: Open) -> None:
    store = store_of(folder)
    index = folder.stores.index(store.id)
    index.put_chunks("f", "one", [Chunk(f"text {number}", 2) for number in range(5)])
    assert index.has_chunks("f", "one")
    assert not index.has_chunks("f", "another"), "one that begins anew reads the file again"
    first = index.without_vector("f", 2)
    assert [text[-1] for _, text in first] == ["0", "1"]
    index.put_vectors([(chunk_id, np.ones(2, np.float32).tobytes()) for chunk_id, _ in first])
    again = open_folder().stores.index(store.id)
    assert [text[-1] for _, text in again.without_vector("f", 10)] == ["2", "3", "4"]
    progress = again.progress("f")
    assert (progress.done, progress.total, progress.size) == (2, 5, 5 * 6 + 2 * 8)
    assert again.texts("f") == [f"xt {number}" for number in range(5)]
    again.put_chunks("f", "another", [Chunk("new", 0)])
    assert index.texts("f") == ["new"]


def test_a_vector_of_a_removed_chunk_does_not_become_that_of_another_file(folder: FilesFolder) -> None:
    index = folder.stores.index(store_of(folder).id)
    index.put_chunks("f", "one", [Chunk("first", 0)])
    waiting = index.without_vector("f", 10)
    index.remove("f")
    index.put_chunks("g", "two", [Chunk("second", 0)])
    # The ingestion of f, which was embedding its text meanwhile.
    index.put_vectors([(chunk_id, np.ones(2, np.float32).tobytes()) for chunk_id, _ in waiting])
    assert index.progress("g").done == 0


# --- search


async def test_a_search_fuses_meaning_and_words_and_keeps_to_filters_thresholds_and_stores(
    folder: FilesFolder, open_folder: Open, embedding: Embedding
) -> None:
    store, other = store_of(folder), store_of(folder)
    await ingest(folder, store, embedding, "a cat and a cat", "the sun", kind="pets", year=2020)
    taxes = await ingest(
        folder, store, embedding, "Der café zahlt tax X-4711, 'quoted' \\ text", kind="money", year=2024
    )
    await ingest(folder, other, embedding, "a cat of the other store")

    async def texts(*queries: str, **body: object) -> list[str]:
        return [text[:9] for text, _ in await found(folder, [store], embedding, *queries, **body)]

    hits = await found(folder, [store], embedding, "cat")
    assert hits[0][0] == "a cat and a cat"
    assert hits[0][1] == pytest.approx(1, abs=0.01)
    assert all(0 <= score <= 1 for _, score in hits)
    assert len(hits) == 3
    # By words alone: of letters with marks, of words in another form, and of signs that are operators elsewhere.
    words = {"ranking_options": {"hybrid_search": {"embedding_weight": 0, "text_weight": 1}}}
    for query in ("X-4711", "cafe", "CAFÉ zahlt", "quote"):
        assert (await texts(query, **words))[0] == "Der café ", query
    assert (await found(folder, [store], embedding, "X-4711", **words))[0][1] == pytest.approx(1)
    assert len(await texts("' | & ! <-> \\ :* ( \0 \" NEAR( ^")) == 3, "a query has no operators"
    meaning = {"ranking_options": {"ranker": "none"}}
    assert (await found(folder, [store], embedding, "sun X-4711", **meaning))[0][0] == "the sun"
    assert await texts("cat", ranking_options={"score_threshold": 0.9}) == ["a cat and"]
    for key, kind, value, expected in (
        ("kind", "eq", "money", 1),
        ("year", "gte", 2021, 1),
        ("year", "lt", 2021, 2),
        ("nothing", "eq", "x", 0),
        ("nothing", "ne", "x", 3),
    ):
        assert len(await texts("cat", filters={"type": kind, "key": key, "value": value})) == expected, (key, kind)
    assert sorted(await texts("cat", "tax", ranking_options={"score_threshold": 0.9})) == ["Der café ", "a cat and"]
    both = await found(folder, [store, other], embedding, "cat", most=2)
    assert {text for text, _ in both} == {"a cat and a cat", "a cat of the other store"}
    # Another process finds the same, and what is removed is found by none.
    again = open_folder()
    assert await found(again, [store], embedding, "cat") == hits
    folder.stores.remove_file(store.id, taxes)
    assert len(await found(again, [store], embedding, "X-4711")) == 2
    folder.stores.delete(store.id, "t")
    assert await found(again, [store], embedding, "cat") == []


async def test_a_word_that_many_chunks_have_does_not_count(folder: FilesFolder, embedding: Embedding) -> None:
    store = store_of(folder)
    await ingest(folder, store, embedding, *(f"common word and number{number}" for number in range(99)))
    await ingest(folder, store, embedding, *(f"common word and more{number}" for number in range(20)))
    words = {"ranking_options": {"hybrid_search": {"embedding_weight": 0, "text_weight": 1}}}
    hits = await found(folder, [store], embedding, "the common number7", **words)
    assert [text for text, score in hits if score > 0] == ["common word and number7"]


async def test_vectors_of_another_length_are_an_error_and_no_nonsense(
    folder: FilesFolder, embedding: Embedding
) -> None:
    store, file_id = store_of(folder), file_of(folder).id
    ingestion = attach(folder, store, file_id)
    index = folder.stores.index(store.id)
    index.put_chunks(file_id, ingestion, [Chunk("text", 0)])
    index.put_vectors([(index.without_vector(file_id, 1)[0][0], np.ones(2, np.float32).tobytes())])
    folder.store_files.settle(store.id, file_id, ingestion, status="completed")
    with pytest.raises(Unavailable, match="another model"):
        await found(folder, [store], embedding, "x")


async def test_a_store_of_another_embedding_model_is_not_searched(folder: FilesFolder) -> None:
    store = replace(store_of(folder), embedding="another")
    with pytest.raises(Conflict) as refused:
        await folder.search.search(
            [store], ["x"], embedding_of(Config(), {}), filter=None, ranking=RankingOptions(), most=1
        )
    assert refused.value.error_code == "embedding_model_changed"
