"""The files in vector stores, and the batches in which they were attached: rows of the catalog."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from open_responses.errors import InvalidRequest
from open_responses.ids import is_id, new_id
from open_responses.io.files.storage import CatalogDatabase
from open_responses.io.files.store_rows import BatchRow, StoreFileRow, StoreRow, counts_of, store_file_of
from open_responses.io.files.vector_stores import page_of
from open_responses.json_types import JsonObject
from open_responses.schema.vector_store_bodies import FileCounts, IngestionErrorCode, IngestionStatus

BATCH_PREFIX = "vsfb_"
_INGESTION_PREFIX = "ingestion_"


@dataclass(frozen=True, slots=True)
class NewStoreFile:
    """A file to be attached, with the sizes of its chunks in tokens."""

    file_id: str
    attributes: JsonObject
    chunk_tokens: int
    overlap_tokens: int


class StoreFiles:
    """Files in vector stores. All methods block: call them in threads. The caller has checked the store's owner."""

    def __init__(self, catalog: CatalogDatabase) -> None:
        self._catalog = catalog

    def attach(self, store: StoreRow, files: Sequence[NewStoreFile], *, most: int, as_batch: bool) -> Attached:
        """Attach files, which are `in_progress` from then on. One that is attached already begins anew.

        Raises InvalidRequest if the store would have more than `most`.
        """
        now, ingestion_id = int(time.time()), new_id(_INGESTION_PREFIX)
        batch_id = new_id(BATCH_PREFIX) if as_batch else None
        with self._catalog.writing(alone=f"files of {store.id}") as connection:
            if batch_id is not None:
                connection.execute(
                    "INSERT INTO batches (id, store_id, created_at) VALUES (?, ?, ?)", (batch_id, store.id, now)
                )
            for file in files:
                connection.execute(
                    "INSERT INTO store_files (store_id, file_id, batch_id, ingestion_id, created_at, status, "
                    "attributes, chunk_tokens, overlap_tokens) VALUES (?, ?, ?, ?, ?, 'in_progress', ?, ?, ?) "
                    "ON CONFLICT (store_id, file_id) DO UPDATE SET batch_id = excluded.batch_id, "
                    "ingestion_id = excluded.ingestion_id, status = 'in_progress', attributes = excluded.attributes, "
                    "chunk_tokens = excluded.chunk_tokens, overlap_tokens = excluded.overlap_tokens, "
                    "error_code = NULL, error_message = NULL",
                    (
                        store.id,
                        file.file_id,
                        batch_id,
                        ingestion_id,
                        now,
                        json.dumps(file.attributes),
                        file.chunk_tokens,
                        file.overlap_tokens,
                    ),
                )
            (count,) = connection.execute("SELECT count(*) FROM store_files WHERE store_id = ?", (store.id,)).fetchone()
            if count > most:
                raise InvalidRequest(
                    f"The vector store would have more than {most} files, the most that this server keeps in one.",
                    param="file_ids" if as_batch else "file_id",
                    code="vector_store_quota_exceeded",
                )
            connection.execute("UPDATE stores SET last_active_at = ? WHERE id = ?", (now, store.id))
        return Attached(ingestion_id, batch_id)

    def get(self, store_id: str, file_id: str) -> StoreFileRow | None:
        """One file of a store; None if it is not attached."""
        with self._catalog.reading() as connection:
            row = connection.execute(
                "SELECT * FROM store_files WHERE store_id = ? AND file_id = ?", (store_id, file_id)
            ).fetchone()
        return None if row is None else store_file_of(row)

    def page(
        self,
        store_id: str,
        *,
        batch_id: str | None = None,
        status: str | None,
        limit: int,
        after: str | None,
        before: str | None,
        newest_first: bool,
    ) -> tuple[list[StoreFileRow], bool] | None:
        """Up to `limit` files of a store or of a batch, and whether more follow; None for an unknown cursor."""
        where, values = ["store_id = ?"], [store_id]
        for column, value in (("batch_id", batch_id), ("status", status)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        with self._catalog.reading() as connection:
            return page_of(
                connection,
                "store_files",
                where,
                values,
                key="file_id",
                limit=limit,
                after=after,
                before=before,
                newest_first=newest_first,
                make=store_file_of,
            )

    def set_attributes(self, store_id: str, file_id: str, attributes: JsonObject) -> None:
        """Replace a file's attributes."""
        with self._catalog.writing() as connection:
            connection.execute(
                "UPDATE store_files SET attributes = ? WHERE store_id = ? AND file_id = ?",
                (json.dumps(attributes), store_id, file_id),
            )

    def searchable(self, store_id: str) -> dict[str, tuple[str, JsonObject]]:
        """File id -> (name, attributes) of the files that a search may find: whole, neither deleted nor expired."""
        with self._catalog.reading() as connection:
            rows = connection.execute(
                "SELECT store_files.file_id, store_files.attributes, files.filename FROM store_files "
                "JOIN files ON files.id = store_files.file_id WHERE store_files.store_id = ? "
                "AND store_files.status = 'completed' AND files.is_deleted = 0 "
                "AND (files.expires_at IS NULL OR files.expires_at > ?)",
                (store_id, int(time.time())),
            ).fetchall()
        return {row["file_id"]: (row["filename"], json.loads(row["attributes"])) for row in rows}

    # --- ingestion

    def is_current(self, store_id: str, file_id: str, ingestion_id: str) -> bool:
        """Whether this ingestion may still write: the file was not removed, attached anew or cancelled."""
        row = self.get(store_id, file_id)
        return row is not None and row.ingestion_id == ingestion_id and row.status == "in_progress"

    def settle(
        self,
        store_id: str,
        file_id: str,
        ingestion_id: str,
        *,
        status: IngestionStatus,
        usage_bytes: int = 0,
        error: tuple[IngestionErrorCode, str] | None = None,
    ) -> bool:
        """End an ingestion, or note how far it is. Returns False if it may not write any more."""
        code, message = error or (None, None)
        with self._catalog.writing() as connection:
            changed = connection.execute(
                "UPDATE store_files SET status = ?, usage_bytes = ?, error_code = ?, error_message = ? "
                "WHERE store_id = ? AND file_id = ? AND ingestion_id = ? AND status = 'in_progress'",
                (status, usage_bytes, code, message, store_id, file_id, ingestion_id),
            )
            return changed.rowcount == 1

    def unfinished(self, older_than: int) -> dict[tuple[str, str, str], list[str]]:
        """(store id, ingestion id, tenant) -> files of ingestions that began before a time and have not ended."""
        found: dict[tuple[str, str, str], list[str]] = {}
        with self._catalog.reading() as connection:
            for row in connection.execute(
                "SELECT store_id, ingestion_id, tenant, file_id FROM store_files JOIN stores ON stores.id = store_id "
                "WHERE status = 'in_progress' AND store_files.created_at < ? ORDER BY store_files.number LIMIT 1000",
                (older_than,),
            ):
                found.setdefault((row["store_id"], row["ingestion_id"], row["tenant"]), []).append(row["file_id"])
        return found

    # --- batches

    def batch(self, store_id: str, batch_id: str) -> tuple[BatchRow, FileCounts] | None:
        """A batch, and its files by status; None if the store has no such batch."""
        if not is_id(BATCH_PREFIX, batch_id):
            return None
        with self._catalog.reading() as connection:
            row = connection.execute(
                "SELECT * FROM batches WHERE id = ? AND store_id = ?", (batch_id, store_id)
            ).fetchone()
            if row is None:
                return None
            counts = counts_of(
                connection.execute(
                    "SELECT status, count(*) FROM store_files WHERE batch_id = ? GROUP BY status", (batch_id,)
                ).fetchall()
            )
        return BatchRow(row["id"], row["store_id"], row["created_at"], bool(row["is_cancelled"])), counts

    def cancel_batch(self, batch_id: str) -> None:
        """Stop what has not been ingested yet. Files that are complete stay."""
        with self._catalog.writing() as connection:
            changed = connection.execute(
                "UPDATE store_files SET status = 'cancelled' WHERE batch_id = ? AND status = 'in_progress'", (batch_id,)
            )
            if changed.rowcount:
                connection.execute("UPDATE batches SET is_cancelled = 1 WHERE id = ?", (batch_id,))


@dataclass(frozen=True, slots=True)
class Attached:
    """The ingestion that has to be started, and the batch, if there is one."""

    ingestion_id: str
    batch_id: str | None
