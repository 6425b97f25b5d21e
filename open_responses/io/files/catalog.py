"""The catalog of the files folder: an SQLite database beside the files, which all processes open.

What this prevents: files whose owner and name are lost with Redis. The catalog and the files have one fate: a
backup of the folder has both, and so has a deletion.

Each call opens a connection of its own, so none is shared between threads or kept over a fork. The journal is a file
that SQLite deletes after each commit, and not a write-ahead log, which needs memory that processes on other machines
do not share. Deleted rows are overwritten with zeros (`secure_delete`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager

from open_responses.io.files import catalog_owner
from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.files.transactions import transaction

_WAIT_SECONDS = 20.0
"""For the lock of another process's commit, each of which takes milliseconds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    filename TEXT NOT NULL,
    purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    is_deleted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS files_of_tenant ON files (tenant, number);
CREATE INDEX IF NOT EXISTS files_that_expire ON files (expires_at) WHERE expires_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS stores (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL,
    expires_days INTEGER,
    embedding TEXT NOT NULL,
    is_deleted INTEGER NOT NULL DEFAULT 0,
    is_expired INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS stores_of_tenant ON stores (tenant, number);
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY,
    store_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    is_cancelled INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS store_files (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    store_id TEXT NOT NULL,
    file_id TEXT NOT NULL,
    batch_id TEXT,
    ingestion_id TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    status TEXT NOT NULL,
    attributes TEXT NOT NULL,
    chunk_tokens INTEGER NOT NULL,
    overlap_tokens INTEGER NOT NULL,
    usage_bytes INTEGER NOT NULL DEFAULT 0,
    error_code TEXT,
    error_message TEXT,
    UNIQUE (store_id, file_id)
);
CREATE INDEX IF NOT EXISTS stores_of_file ON store_files (file_id);
CREATE INDEX IF NOT EXISTS files_of_batch ON store_files (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS files_in_progress ON store_files (status) WHERE status = 'in_progress';
"""


class Catalog:
    """Opens the database of a folder, and creates both if they are missing.

    All methods block: call them in threads. Each raises FolderDiffers if the catalog is another folder's.
    """

    def __init__(self, mark: FolderMark) -> None:
        self._mark = mark
        self._path = mark.folder / "catalog.sqlite"
        self._is_made = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for queries. Raises sqlite3.Error and OSError."""
        with closing(self._connect()) as connection:
            yield connection

    def writing(self, alone: str | None = None) -> AbstractContextManager[sqlite3.Connection]:
        """A connection in a transaction. All transactions follow each other."""
        return transaction(self._connect)

    def check(self) -> None:
        """Read, if there is a database. Raises sqlite3.Error, OSError and FolderDiffers."""
        if self._path.exists():
            with self.reading() as connection:
                connection.execute("SELECT count(*) FROM files").fetchone()
        else:
            catalog_owner.check_new(self._mark)

    def close(self) -> None:
        """Nothing is open between two uses."""

    def _connect(self) -> sqlite3.Connection:
        self._mark.use()
        connection = sqlite3.connect(self._path, timeout=_WAIT_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA secure_delete = ON")
        if not self._is_made:
            self._make(connection)
        return connection

    def _make(self, connection: sqlite3.Connection) -> None:
        # One that was made before it had an owner. It lies in its folder, so it is this folder's.
        has_tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'files'").fetchone() is not None
        try:
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {catalog_owner.TABLE};")
            catalog_owner.take(connection, self._mark, is_known=has_tables)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        self._path.chmod(0o600)
        self._is_made = True
