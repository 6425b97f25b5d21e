"""The files of `/v1/files`: their bytes in a folder, and what is known of them in the catalog.

What this prevents: another tenant's file that can be told from one that does not exist, and bytes that stay behind a
deletion. A deletion first hides the file, then removes its bytes, then its row, so that `sweep` completes one that was
interrupted. No part of a path is taken from a client: a file's name on disk is the id that this server made.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from open_responses.config_tables.files import FilesConfig
from open_responses.errors import InvalidRequest
from open_responses.ids import is_id, new_id
from open_responses.io.files.incoming import IncomingFile, remove_abandoned
from open_responses.io.files.storage import CatalogDatabase, Connection, Row, StorageAway
from open_responses.schema.file_bodies import FileObject

PREFIX = "file-"
_ORPHAN_SECONDS = 3600.0
"""The age at which bytes without a row are a crash's, between the two steps of an upload."""
_SWEPT_AT_ONCE = 200

OnDelete = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file. Times are Unix seconds."""

    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    expires_at: int | None
    path: Path

    def resource(self) -> FileObject:
        """The file as a client receives it."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.bytes,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "filename": self.filename,
            "purpose": self.purpose,
            "status": "processed",
            "status_details": None,
        }


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that is uploaded: its id, the most bytes that it may have, and where they go."""

    file_id: str
    most: int
    incoming: IncomingFile


class FileStore:
    """Files by id, for the tenant that owns them. All methods block: call them in threads.

    Each raises OSError or sqlite3.Error if the folder or the catalog cannot be used.
    """

    def __init__(self, folder: Path, catalog: CatalogDatabase, on_delete: Sequence[OnDelete] = ()) -> None:
        self._catalog = catalog
        self._on_delete = on_delete
        self._lock = threading.Lock()
        # File id -> tenant, and the bytes that its upload may still bring.
        self._reserved: dict[str, tuple[str, int]] = {}
        self._incoming = folder / "incoming"
        self._bytes = folder / "bytes"

    def begin(self, tenant: str, declared: int | None, limits: FilesConfig) -> Upload:
        """Begin an upload of so many bytes at most, or of an unknown number. `end` has to follow.

        The bytes are reserved in this process, so that many uploads at a time do not fill the disk together before the
        first of them is counted. Raises InvalidRequest if the tenant has no room.
        """
        file_id = new_id(PREFIX)
        with self._catalog.reading() as connection, self._lock:
            reserved = sum(size for owner, size in self._reserved.values() if owner == tenant)
            left = _check_room(connection, tenant, reserved + (declared or 1), limits)
            most = min(limits.max_file_bytes, left + 1) if declared is None else limits.max_file_bytes
            self._reserved[file_id] = (tenant, most if declared is None else min(declared, most))
        try:
            return Upload(file_id, most, IncomingFile(self._incoming, file_id))
        except BaseException:
            self._release(file_id)
            raise

    def end(self, upload: Upload) -> None:
        """End an upload, whether its file was kept or not."""
        self._release(upload.file_id)
        upload.incoming.discard()

    def complete(self, incoming: IncomingFile, file: StoredFile, limits: FilesConfig) -> None:
        """Keep a file whose bytes have all arrived. Raises InvalidRequest if the tenant has no room any more."""
        incoming.keep_as(file.path)
        try:
            with self._catalog.writing(alone=f"files of {file.tenant}") as connection:
                _check_room(connection, file.tenant, file.bytes, limits)
                connection.execute(
                    "INSERT INTO files (id, tenant, filename, purpose, bytes, created_at, expires_at) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        file.id,
                        file.tenant,
                        file.filename,
                        file.purpose,
                        file.bytes,
                        file.created_at,
                        file.expires_at,
                    ),
                )
        except StorageAway:
            # The row may have been committed. If it was not, the bytes are an orphan, which is swept.
            raise
        except BaseException:
            file.path.unlink(missing_ok=True)
            raise

    def described(
        self, file_id: str, tenant: str, filename: str, purpose: str, size: int, seconds: int | None
    ) -> StoredFile:
        """A file that is complete now, and expires in so many seconds."""
        now = int(time.time())
        expires_at = None if seconds is None else now + seconds
        return StoredFile(file_id, tenant, filename, purpose, size, now, expires_at, self._path(file_id))

    def get(self, file_id: str, tenant: str) -> StoredFile | None:
        """One file; None if it is unknown, another tenant's, deleted or expired."""
        return self.get_all([file_id], tenant).get(file_id)

    def get_all(self, file_ids: Sequence[str], tenant: str) -> dict[str, StoredFile]:
        """Those of the files that the tenant has, by id."""
        asked = [one for one in dict.fromkeys(file_ids) if is_id(PREFIX, one)]
        found: dict[str, StoredFile] = {}
        if not asked:
            return found
        with self._catalog.reading() as connection:
            for begin in range(0, len(asked), _SWEPT_AT_ONCE):
                part = asked[begin : begin + _SWEPT_AT_ONCE]
                rows = connection.execute(
                    f"SELECT * FROM files WHERE id IN ({_marks(part)}) AND tenant = ? AND {_VISIBLE}",
                    (*part, tenant, _now()),
                )
                found |= {row["id"]: self._file(row) for row in rows}
        return found

    def page(
        self, tenant: str, *, limit: int, after: str | None, purpose: str | None, newest_first: bool
    ) -> tuple[list[StoredFile], bool] | None:
        """Up to `limit` files, and whether more follow; None if `after` is no file of the tenant's."""
        where, values = [f"tenant = ? AND {_VISIBLE}"], [tenant, _now()]
        if purpose is not None:
            where.append("purpose = ?")
            values.append(purpose)
        with self._catalog.reading() as connection:
            if after is not None:
                row = connection.execute(
                    "SELECT number FROM files WHERE id = ? AND tenant = ?", (after, tenant)
                ).fetchone()
                if row is None:
                    return None
                where.append("number < ?" if newest_first else "number > ?")
                values.append(row["number"])
            rows = connection.execute(
                f"SELECT * FROM files WHERE {' AND '.join(where)} "
                f"ORDER BY number {'DESC' if newest_first else 'ASC'} LIMIT ?",
                (*values, limit + 1),
            ).fetchall()
        return [self._file(row) for row in rows[:limit]], len(rows) > limit

    def delete(self, file_id: str, tenant: str) -> bool:
        """Delete a file with all that was made of it. Returns False if the tenant has no such file."""
        if self.get(file_id, tenant) is None:
            return False
        with self._catalog.writing() as connection:
            connection.execute("UPDATE files SET is_deleted = 1 WHERE id = ?", (file_id,))
        self._erase(file_id)
        return True

    def sweep(self) -> int:
        """Delete what has expired, and complete what a crash has interrupted. Returns how many files it removed."""
        removed = remove_abandoned(self._incoming)
        with self._catalog.reading() as connection:
            ended = connection.execute(
                f"SELECT id FROM files WHERE NOT ({_VISIBLE}) LIMIT ?", (_now(), _SWEPT_AT_ONCE)
            ).fetchall()
        for row in ended:
            with self._catalog.writing() as connection:
                connection.execute("UPDATE files SET is_deleted = 1 WHERE id = ?", (row["id"],))
            self._erase(row["id"])
        return removed + len(ended) + self._remove_orphans()

    def _release(self, file_id: str) -> None:
        with self._lock:
            self._reserved.pop(file_id, None)

    def _erase(self, file_id: str) -> None:
        for forget in self._on_delete:
            forget(file_id)
        self._path(file_id).unlink(missing_ok=True)
        with self._catalog.writing() as connection:
            connection.execute("DELETE FROM files WHERE id = ?", (file_id,))

    def _remove_orphans(self) -> int:
        """Bytes whose upload was cut off before their row was written."""
        old = time.time() - _ORPHAN_SECONDS
        paths = [path for path in self._bytes.glob("*/*") if path.stat().st_mtime < old]
        removed = 0
        with self._catalog.reading() as connection:
            for begin in range(0, len(paths), _SWEPT_AT_ONCE):
                part = paths[begin : begin + _SWEPT_AT_ONCE]
                names = [path.name for path in part]
                rows = connection.execute(f"SELECT id FROM files WHERE id IN ({_marks(names)})", names)
                known = {row["id"] for row in rows}
                for path in part:
                    if path.name not in known:
                        path.unlink(missing_ok=True)
                        removed += 1
        return removed

    def _file(self, row: Row) -> StoredFile:
        return StoredFile(
            id=row["id"],
            tenant=row["tenant"],
            filename=row["filename"],
            purpose=row["purpose"],
            bytes=row["bytes"],
            created_at=row["created_at"],
            expires_at=row["expires_at"],
            path=self._path(row["id"]),
        )

    def _path(self, file_id: str) -> Path:
        # A folder for each 256th: some file systems are slow with many entries in one.
        return self._bytes / file_id[len(PREFIX) : len(PREFIX) + 2] / file_id


_VISIBLE = "is_deleted = 0 AND (expires_at IS NULL OR expires_at > ?)"


def _now() -> int:
    return int(time.time())


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))


def _check_room(connection: Connection, tenant: str, size: int, limits: FilesConfig) -> int:
    """The bytes for which there is room beside these. Raises InvalidRequest."""
    count, used = connection.execute(
        "SELECT count(*), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM files WHERE tenant = ?", (tenant,)
    ).fetchone()
    if count >= limits.max_tenant_files:
        raise InvalidRequest(
            f"You have {count} files, the most that this server keeps for you. Delete some, or let files expire "
            "('expires_after').",
            param="file",
            code="file_quota_exceeded",
        )
    if used + size > limits.max_tenant_bytes:
        raise InvalidRequest(
            f"With this file, yours would have more than {limits.max_tenant_bytes} bytes, the most that this server "
            "keeps for you. Delete some, or let files expire ('expires_after').",
            param="file",
            code="file_quota_exceeded",
        )
    return int(limits.max_tenant_bytes - used - size)
