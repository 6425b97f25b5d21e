"""Files and vector stores in PostgreSQL: outages, restarts, several versions of the schema, and large stores."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import numpy as np
import psycopg
import pytest
import pytest_asyncio

from open_responses.config_tables.files import FilesConfig
from open_responses.io.files.file_store import StoredFile
from open_responses.io.files.folder import FilesFolder, files_folder
from open_responses.io.files.postgres import connections, schema
from open_responses.io.files.postgres.connections import Database
from open_responses.io.files.postgres.large_stores import has_vector_index, tend_vector_indexes
from open_responses.io.files.postgres.search import search_store
from open_responses.io.files.storage import Chunk, FolderDiffers, StorageAway, Weights
from open_responses.io.files.store_files import NewStoreFile
from tests.support.fake_upstream import Upstream
from tests.support.postgres import Postgres, postgres
from tests.support.small_stack import small_stack
from tests.support.stack import Stack, http_client

pytestmark = pytest.mark.campaign

# More than the deadline of a use, and the wait for a connection.
BOUND_SECONDS = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server() -> AsyncIterator[Postgres]:
    async with postgres() as started:
        yield started


def a_store(folder: FilesFolder) -> str:
    return folder.stores.create(
        "t", name="a", description=None, metadata={}, expires_days=None, embedding="m", most=9
    ).id


def upload(folder: FilesFolder) -> StoredFile:
    begun = folder.files.begin("t", 4, FilesConfig())
    begun.incoming.write(b"kept")
    file = folder.files.described(begun.file_id, "t", "a.txt", "user_data", 4, None)
    folder.files.complete(begun.incoming, file, FilesConfig())
    folder.files.end(begun)
    folder.catalog.close()
    return file


async def test_processes_that_start_at_once_make_the_tables_once(server: Postgres, tmp_path: Path) -> None:
    address = await server.create("at_once")
    folders = [files_folder(tmp_path, address) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        made = await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(threads, a_store, folder) for folder in folders)
        )
    page = folders[0].stores.page("t", limit=9, after=None, before=None, newest_first=False)
    assert page is not None
    assert sorted(store.id for store in page[0]) == sorted(made)
    for folder in folders:
        await folder.close()


async def test_rows_survive_a_new_version_and_an_old_process_refuses_it(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = await server.create("versions")
    old = files_folder(tmp_path, address)
    store_id = a_store(old)
    steps = [*schema.STEPS, "ALTER TABLE stores ADD COLUMN colour TEXT NOT NULL DEFAULT 'red'"]
    with monkeypatch.context() as newer:
        newer.setattr(schema, "STEPS", steps)
        for _ in range(2):
            new = files_folder(tmp_path, address)
            assert new.stores.get(store_id, "t") is not None
            with new.catalog.reading() as connection:
                assert connection.execute("SELECT colour FROM stores").fetchone()["colour"] == "red"
            await new.close()
    assert old.stores.get(store_id, "t") is not None, "a process that runs goes on"
    late = files_folder(tmp_path, address)
    with pytest.raises(StorageAway, match="upgrade"):
        late.stores.get(store_id, "t")
    problem = late.problem()
    assert problem is not None
    assert "upgrade" in problem
    for folder in (old, late):
        await folder.close()


async def test_a_database_that_is_not_of_the_folder_is_refused_and_no_file_is_removed(
    server: Postgres, tmp_path: Path
) -> None:
    address, empty, other = [await server.create(name) for name in ("of_folder", "of_nobody", "of_other")]
    kept = upload(files_folder(tmp_path, address))
    upload(files_folder(tmp_path / "other", other))
    os.utime(kept.path, (0, 0))
    for wrong, words in ((empty, "Restore the catalog first"), (other, "belongs to the folder with the id")):
        folder = files_folder(tmp_path, wrong)
        for check in (True, False):
            with pytest.raises(FolderDiffers, match=words):
                folder.catalog.check() if check else folder.files.sweep()
        await folder.close()
    assert kept.path.exists()
    with psycopg.connect(empty) as connection:
        found = connection.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'open_responses'").fetchone()
    assert found == (0,), "a dump can be restored into it"
    # One of before the table is the folder's if it has a row of a file in it.
    with psycopg.connect(address) as connection:
        connection.execute("UPDATE open_responses.schema_version SET version = 1")
        connection.execute("DROP TABLE open_responses.folder")
    folder = files_folder(tmp_path, address)
    assert folder.problem() is None
    assert folder.files.sweep() == 0
    assert folder.files.get(kept.id, "t") is not None
    # The address leads to another server meanwhile.
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("UPDATE open_responses.folder SET id = 'another'")
        connection.execute("DELETE FROM open_responses.files")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> ''")
    with pytest.raises(StorageAway):
        folder.files.sweep()
    assert kept.path.exists()
    problem = folder.problem()
    assert problem is not None
    assert "'another postgresql'" in problem
    await folder.close()


async def test_what_is_missing_for_a_database_is_said_before_it_is_used(server: Postgres, tmp_path: Path) -> None:
    address = await server.create("rights")
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE ROLE poor LOGIN")
    poor = address.replace("//open_responses@", "//poor@")

    def problem() -> str:
        found = files_folder(tmp_path, poor).problem()
        assert found is not None
        return found

    assert "GRANT CREATE" in problem()
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("GRANT CREATE ON DATABASE rights TO poor")
    folder = files_folder(tmp_path, poor)
    # The wheel's pgvector is one that a superuser alone may make.
    with pytest.raises(StorageAway, match="CREATE EXTENSION vector"):
        a_store(folder)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION vector")
    a_store(folder)
    assert folder.problem() is None
    await folder.close()
    for wrong, words in (
        (server.address("nothing"), "does not exist"),
        ("postgresql://me:a-secret@127.0.0.1:9/x", "refused"),
    ):
        found = files_folder(tmp_path, wrong).problem()
        assert found is not None
        assert words in found
        assert "a-secret" not in found


async def test_a_database_that_is_away_or_silent_is_an_error_soon_and_comes_back_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_USE_SECONDS", 3.0)

    async with postgres() as server:
        folder = files_folder(tmp_path, server.address())
        store_id = a_store(folder)

        async def fails(calls: int) -> None:
            began = time.monotonic()
            answers = await asyncio.gather(
                *(asyncio.to_thread(folder.stores.get, store_id, "t") for _ in range(calls)), return_exceptions=True
            )
            assert all(isinstance(answer, StorageAway) for answer in answers), answers
            assert time.monotonic() - began < BOUND_SECONDS

        async def is_back() -> None:
            deadline = time.monotonic() + BOUND_SECONDS
            while True:
                try:
                    assert await asyncio.to_thread(folder.stores.get, store_id, "t") is not None
                except StorageAway:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
                else:
                    return

        server.send(signal.SIGSTOP)
        await fails(12)
        server.send(signal.SIGCONT)
        await is_back()
        await server.end()
        await fails(12)
        await server.start()
        await is_back()
        # Its connections were closed while they were idle: no call notices it.
        await server.end(signal.SIGINT)
        await server.start()
        assert folder.stores.get(store_id, "t") is not None
        await folder.close()


async def test_a_long_use_after_an_outage_keeps_nobody_out(tmp_path: Path) -> None:
    async with postgres() as server:
        database = Database(server.address())

        def use() -> None:
            with database.connection() as connection:
                connection.execute("SELECT 1")

        use()
        await server.end()
        for _ in range(2):
            with pytest.raises(StorageAway):
                use()
        await server.start()
        begun, end = threading.Event(), threading.Event()

        def use_for_long() -> None:
            deadline = time.monotonic() + BOUND_SECONDS
            while True:
                try:
                    with database.connection(seconds=600) as connection:
                        connection.execute("SELECT 1")
                        begun.set()
                        assert end.wait(BOUND_SECONDS)
                    return
                except StorageAway:
                    assert time.monotonic() < deadline
                    time.sleep(0.1)

        long = asyncio.create_task(asyncio.to_thread(use_for_long))
        assert await asyncio.to_thread(begun.wait, BOUND_SECONDS)
        try:
            use()
        finally:
            end.set()
        await long
        # A use that this process has cut off is no outage: others go on at once.
        with (
            pytest.raises(StorageAway, match="not done within"),
            database.connection(seconds=0.1) as connection,
        ):
            connection.execute("SELECT pg_sleep(19)")
        assert not database._is_away
        use()
        database.close()


class CountingLock:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.asked = itertools.count()
        self.last = 0

    def __enter__(self) -> None:
        self.last = next(self.asked) + 1
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


async def test_threads_that_wait_for_the_first_connection_fail_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would wait for one of its own, after the others."""
    database, lock, tries = Database("postgresql://127.0.0.1:9/x"), CountingLock(), []

    def connect() -> None:
        tries.append(1)
        deadline = time.monotonic() + BOUND_SECONDS
        while lock.last < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        raise psycopg.OperationalError("refused")

    def use() -> None:
        with database.connection():
            pass

    monkeypatch.setattr(database, "_connect", connect)
    monkeypatch.setattr(database, "_start", lock)
    answers = await asyncio.gather(*(asyncio.to_thread(use) for _ in range(5)), return_exceptions=True)
    assert all(isinstance(answer, StorageAway) for answer in answers), answers
    assert len(tries) == 1


@pytest.mark.parametrize("dimensions", [8, 2100])
async def test_a_large_store_has_an_index_of_its_own_and_finds_the_same(
    server: Postgres, tmp_path: Path, dimensions: int
) -> None:
    address = await server.create(f"large_{dimensions}")
    folder, database = files_folder(tmp_path, address), Database(address)
    random = np.random.default_rng(1)
    stores = [a_store(folder), a_store(folder)]
    files = [f"f{number}" for number in range(4)]
    for store_id in stores:
        index = folder.stores.index(store_id)
        for file_id in files:
            index.put_chunks(file_id, "i", [Chunk(f"{file_id} word{n} of many", 0) for n in range(100)])
            rows = random.standard_normal((100, dimensions)).astype(np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            waiting = index.without_vector(file_id, 100)
            index.put_vectors([(chunk_id, row.tobytes()) for (chunk_id, _), row in zip(waiting, rows, strict=True)])
    store = folder.stores.get(stores[0], "t")
    assert store is not None
    attached = folder.store_files.attach(store, [NewStoreFile("f0", {}, 400, 100)], most=9, as_batch=False)
    folder.store_files.settle(store.id, "f0", attached.ingestion_id, status="completed", usage_bytes=1000)
    vector = "[" + ",".join(["0.1"] * dimensions) + "]"

    def search(*file_ids: str) -> list[tuple[str, str]]:
        hits = search_store(database, stores[0], file_ids, [("word7", vector)], Weights(0.7, 0.3), 10)
        return [(file_id, text) for file_id, _, text in hits]

    exact = [search(*files), search("f3")]
    assert tend_vector_indexes(database, large_bytes=1000) == 1
    assert tend_vector_indexes(database, large_bytes=1000) == 0
    with database.connection() as connection:
        assert [has_vector_index(connection, one) for one in stores] == [True, False]
    for asked, expected in zip([files, ["f3"]], exact, strict=True):
        hits = search(*asked)
        # The index finds nearly all of the nearest: they are compared exactly then.
        assert hits[0] == expected[0]
        assert len(set(hits) & set(expected)) >= 8
    folder.stores.delete(store.id, "t")
    assert search(*files) == []
    tend_vector_indexes(database, large_bytes=1000)
    with database.connection() as connection:
        assert not has_vector_index(connection, store.id)
    database.close()
    await folder.close()


@asynccontextmanager
async def stack_with(
    server: Postgres, data: Path, upstream: Upstream
) -> AsyncIterator[tuple[Stack, httpx.AsyncClient]]:
    tail = '[vector_stores]\ndatabase_env = "FILES_DATABASE"\n'
    async with (
        small_stack(data, upstream, tail=tail, more={"FILES_DATABASE": server.address()}) as stack,
        http_client(stack.api_url) as client,
    ):
        yield stack, client


async def test_an_ingestion_survives_its_workers_and_its_database(tmp_path: Path, upstream: Upstream) -> None:
    async with postgres() as server, stack_with(server, tmp_path, upstream) as (stack, client):
        text = "".join(f"Sentence {number} of the long file says that {number} is a number. " for number in range(2000))
        form = {"data": {"purpose": "user_data"}, "files": {"file": ("long.txt", text.encode())}}
        file = (await client.post("/v1/files", **form)).json()["id"]  # type: ignore[arg-type]
        store = (await client.post("/v1/vector_stores")).json()["id"]
        path = f"/v1/vector_stores/{store}/files"
        assert (await client.post(path, json={"file_id": file})).status_code == 200
        deadline = time.monotonic() + 240

        async def shown() -> dict[str, object]:
            while True:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.1)
                answer = await client.get(f"{path}/{file}")
                if answer.status_code == 200:
                    found: dict[str, object] = answer.json()
                    return found
                assert answer.status_code == 503, answer.text
                assert answer.headers["retry-after"]

        while not (await shown())["usage_bytes"]:
            pass
        # Both: whichever runs it.
        for name in ("worker-0", "worker-1"):
            await stack.kill(name)
        index = Database(server.address())
        with index.connection() as connection:
            done, total = connection.execute("SELECT count(vector), count(*) FROM chunks").fetchone()
        index.close()
        assert 0 < done < total
        await stack.flush()
        await server.end()
        for name in ("worker-0", "worker-1"):
            await stack.start(name)
        refused = await client.get(f"{path}/{file}")
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert (await client.get("/healthz")).status_code == 200
        await server.start()
        while (found := await shown())["status"] == "in_progress":
            pass
        assert found["status"] == "completed", found
        content = (await client.get(f"{path}/{file}/content")).json()["data"]
        assert "".join(part["text"] for part in content) == text
        hits = (await client.post(f"/v1/vector_stores/{store}/search", json={"query": "Sentence 1999"})).json()["data"]
        assert "Sentence 1999 " in hits[0]["content"][0]["text"]
        assert (await client.get("/readyz")).json()["status"] == "ready"
        assert (await client.delete(f"/v1/files/{file}")).status_code == 200
        with psycopg.connect(server.address()) as connection:
            assert connection.execute("SELECT count(*) FROM open_responses.chunks").fetchone() == (0,)
