"""Files on disk: whole or gone, of one tenant, within bounds, and without a trace once they are deleted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from open_responses.config_tables.files import FilesConfig
from open_responses.errors import InvalidRequest
from open_responses.ids import new_id
from open_responses.io.files.catalog import Catalog
from open_responses.io.files.file_store import FileStore, StoredFile
from open_responses.io.files.folder_mark import FolderMark

LIMITS = FilesConfig(max_tenant_files=3, max_tenant_bytes=100)


def catalog_in(folder: Path) -> Catalog:
    return Catalog(FolderMark(folder, "sqlite"))


def store_in(folder: Path) -> FileStore:
    return FileStore(folder, catalog_in(folder))


def upload(store: FileStore, data: bytes = b"content", tenant: str = "t", **settings: object) -> StoredFile:
    started = store.begin(tenant, len(data), LIMITS)
    started.incoming.write(data)
    seconds = settings.get("seconds")
    assert seconds is None or isinstance(seconds, int)
    purpose = str(settings.get("purpose", "user_data"))
    file = store.described(started.file_id, tenant, "a.txt", purpose, len(data), seconds)
    try:
        store.complete(started.incoming, file, LIMITS)
    finally:
        store.end(started)
    return file


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_file_is_found_by_its_tenant_in_another_process_too(tmp_path: Path) -> None:
    file = upload(store_in(tmp_path))
    again = store_in(tmp_path)
    assert again.get(file.id, "t") == file
    assert file.path.read_bytes() == b"content"
    assert again.get(file.id, "another") is None
    assert again.get(new_id("file-"), "t") is None
    assert again.get("../../etc/passwd", "t") is None
    assert oct(file.path.stat().st_mode)[-3:] == "600"


def test_a_deleted_file_leaves_nothing_on_disk(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    forgotten: list[str] = []
    store = FileStore(tmp_path, catalog_in(tmp_path), [forgotten.append])
    file = upload(store, b"a secret of the tenant")
    assert not store.delete(file.id, "another")
    assert store.delete(file.id, "t")
    assert not store.delete(file.id, "t")
    assert forgotten == [file.id]
    assert b"a secret" not in all_bytes(tmp_path)
    assert file.id.encode() not in all_bytes(tmp_path)


def test_a_deletion_that_was_interrupted_is_completed_by_the_sweep(tmp_path: Path) -> None:
    def dies(_: str) -> None:
        raise OSError("the disk is away")

    broken, whole = FileStore(tmp_path, catalog_in(tmp_path), [dies]), store_in(tmp_path)
    file = upload(whole)
    with pytest.raises(OSError, match="away"):
        broken.delete(file.id, "t")
    assert whole.get(file.id, "t") is None, "hidden from the first moment"
    assert file.path.exists()
    assert whole.sweep() == 1
    assert not file.path.exists()


def test_a_file_that_expires_is_gone_at_once_and_its_bytes_with_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path)
    stays, goes = upload(store), upload(store, seconds=3600)
    assert goes.expires_at == goes.created_at + 3600
    later = time.time() + 3601
    monkeypatch.setattr("open_responses.io.files.file_store.time.time", lambda: later)
    assert store.get(goes.id, "t") is None
    assert store.get(stays.id, "t") is not None
    assert goes.path.exists()
    store.sweep()
    assert not goes.path.exists()
    assert stays.path.exists()


def test_a_tenant_has_so_many_files_and_bytes_and_no_more(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    upload(store, b"x" * 90)
    with pytest.raises(InvalidRequest) as too_many_bytes:
        upload(store, b"x" * 11)
    assert too_many_bytes.value.error_code == "file_quota_exceeded"
    upload(store, b"x" * 90, tenant="another")
    upload(store, b"x")
    upload(store, b"x")
    with pytest.raises(InvalidRequest) as too_many:
        upload(store, b"x")
    assert too_many.value.error_code == "file_quota_exceeded"


def test_two_uploads_at_once_do_not_share_the_last_room(tmp_path: Path) -> None:
    """In one process none begins without room; of two processes, the one that ends first is kept."""
    store, other = store_in(tmp_path), store_in(tmp_path)
    first = store.begin("t", 60, LIMITS)
    with pytest.raises(InvalidRequest, match="bytes"):
        store.begin("t", 60, LIMITS)
    unknown = store.begin("t", None, LIMITS)
    assert unknown.most == 40
    store.end(unknown)
    second = other.begin("t", 60, LIMITS)
    for one, files in ((first, store), (second, other)):
        one.incoming.write(b"x" * 60)
        file = files.described(one.file_id, "t", "a", "user_data", 60, None)
        if one is second:
            with pytest.raises(InvalidRequest, match="bytes"):
                files.complete(one.incoming, file, LIMITS)
        else:
            files.complete(one.incoming, file, LIMITS)
        files.end(one)
    assert all_bytes(tmp_path).count(b"x" * 60) == 1
    store.end(store.begin("t", 40, LIMITS))


def test_pages_follow_each_other_in_both_orders(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    ids = [upload(store, purpose=purpose).id for purpose in ("user_data", "vision", "user_data")]

    def page(after: str | None = None, **asked: object) -> tuple[list[str], bool]:
        found = store.page(
            "t",
            limit=2,
            after=after,
            purpose=asked.get("purpose"),  # type: ignore[arg-type]
            newest_first=bool(asked.get("newest_first", False)),
        )
        assert found is not None
        return [file.id for file in found[0]], found[1]

    assert page() == (ids[:2], True)
    assert page(ids[1]) == (ids[2:], False)
    assert page(newest_first=True) == (ids[:0:-1], True)
    assert page(ids[1], newest_first=True) == (ids[:1], False)
    assert page(purpose="vision") == (ids[1:2], False)
    assert store.page("t", limit=2, after=new_id("file-"), purpose=None, newest_first=True) is None
    assert store.page("another", limit=2, after=ids[0], purpose=None, newest_first=True) is None


def test_a_process_that_dies_in_an_upload_leaves_nothing(tmp_path: Path) -> None:
    """And the sweep leaves alone what a living process still writes."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from open_responses.config_tables.files import FilesConfig\n"
        "from open_responses.io.files.catalog import Catalog\n"
        "from open_responses.io.files.file_store import FileStore\n"
        "from open_responses.io.files.folder_mark import FolderMark\n"
        "folder = Path(sys.argv[1])\n"
        "upload = FileStore(folder, Catalog(FolderMark(folder, 'sqlite'))).begin('t', 5, FilesConfig())\n"
        "upload.incoming.write(b'half a file')\n"
        "print(upload.file_id, flush=True)\n"
        "time.sleep(600)\n"
    )
    store = store_in(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    file_id = child.stdout.readline().decode().strip()
    assert b"half a file" in all_bytes(tmp_path)
    assert store.sweep() == 0
    assert b"half a file" in all_bytes(tmp_path)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert store.get(file_id, "t") is None
    assert store.sweep() == 1
    assert b"half a file" not in all_bytes(tmp_path)


def test_bytes_whose_row_was_never_written_are_swept_when_they_are_old(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    kept = upload(store)
    orphan = kept.path.with_name(new_id("file-"))
    orphan.write_bytes(b"no row")
    store.sweep()
    assert orphan.exists(), "an upload may be between its two steps"
    os.utime(orphan, (0, 0))
    os.utime(kept.path, (0, 0))
    store.sweep()
    assert not orphan.exists()
    assert kept.path.exists()
