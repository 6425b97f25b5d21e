"""The vector stores of `/v1/vector_stores`: rows of the catalog, and an index for each store.

A store that is deleted, or expires, is hidden first; `sweep` completes what a crash has interrupted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from open_responses.errors import InvalidRequest
from open_responses.ids import is_id, new_id
from open_responses.io.files.storage import CatalogDatabase, Connection, Row, StoreIndex, StoreIndexes
from open_responses.io.files.store_rows import DAY_SECONDS, StoreRow, counts_of, store_of
from open_responses.schema.vector_store_bodies import VectorStore

T = TypeVar("T")

STORE_PREFIX = "vs_"
_SWEPT_AT_ONCE = 200
_TOUCH_SECONDS = 60
"""How exact `last_active_at` is: a search writes to the catalog at most this often."""


class VectorStores:
    """Vector stores by id, for the tenant that owns them. All methods block: call them in threads.

    Each raises OSError or sqlite3.Error if the folder cannot be used.
    """

    def __init__(self, catalog: CatalogDatabase, indexes: StoreIndexes) -> None:
        self.catalog = catalog
        self.indexes = indexes

    def index(self, store_id: str) -> StoreIndex:
        """The index of a store."""
        return self.indexes.of(store_id)

    def create(
        self,
        tenant: str,
        *,
        name: str,
        description: str | None,
        metadata: dict[str, str],
        expires_days: int | None,
        embedding: str,
        most: int,
    ) -> StoreRow:
        """A new store. Raises InvalidRequest if the tenant has `most` already."""
        now, store_id = int(time.time()), new_id(STORE_PREFIX)
        with self.catalog.writing(alone=f"stores of {tenant}") as connection:
            (count,) = connection.execute(
                "SELECT count(*) FROM stores WHERE tenant = ? AND is_deleted = 0", (tenant,)
            ).fetchone()
            if count >= most:
                raise InvalidRequest(
                    f"You have {count} vector stores, the most that this server keeps for you. Delete some.",
                    code="vector_store_quota_exceeded",
                )
            connection.execute(
                "INSERT INTO stores (id, tenant, name, description, metadata, created_at, last_active_at, "
                "expires_days, embedding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (store_id, tenant, name, description, json.dumps(metadata), now, now, expires_days, embedding),
            )
        found = self.get(store_id, tenant)
        assert found is not None
        return found

    def get(self, store_id: str, tenant: str) -> StoreRow | None:
        """One store; None if it is unknown, another tenant's or deleted."""
        if not is_id(STORE_PREFIX, store_id):
            return None
        with self.catalog.reading() as connection:
            row = connection.execute(
                "SELECT * FROM stores WHERE id = ? AND tenant = ? AND is_deleted = 0", (store_id, tenant)
            ).fetchone()
        return None if row is None else _as_it_is_now(store_of(row))

    def shown(self, stores: Sequence[StoreRow]) -> list[VectorStore]:
        """The stores as a client receives them."""
        shown = []
        with self.catalog.reading() as connection:
            for store in stores:
                counts = counts_of(
                    connection.execute(
                        "SELECT status, count(*) FROM store_files WHERE store_id = ? GROUP BY status", (store.id,)
                    ).fetchall()
                )
                (used,) = connection.execute(
                    "SELECT CAST(coalesce(sum(usage_bytes), 0) AS BIGINT) FROM store_files WHERE store_id = ?",
                    (store.id,),
                ).fetchone()
                shown.append(store.resource(counts, used))
        return shown

    def page(
        self, tenant: str, *, limit: int, after: str | None, before: str | None, newest_first: bool
    ) -> tuple[list[StoreRow], bool] | None:
        """Up to `limit` stores, and whether more follow; None for a cursor that is no store of the tenant's."""
        with self.catalog.reading() as connection:
            return page_of(
                connection,
                "stores",
                ["tenant = ?", "is_deleted = 0"],
                [tenant],
                key="id",
                limit=limit,
                after=after,
                before=before,
                newest_first=newest_first,
                make=lambda row: _as_it_is_now(store_of(row)),
            )

    def modify(self, store_id: str, changes: dict[str, object]) -> None:
        """Set columns: `name`, `metadata` (a dict), `expires_days`."""
        with self.catalog.writing() as connection:
            for column, value in changes.items():
                assert column in ("name", "metadata", "expires_days")
                written = json.dumps(value) if column == "metadata" else value
                connection.execute(f"UPDATE stores SET {column} = ? WHERE id = ?", (written, store_id))
            connection.execute("UPDATE stores SET last_active_at = ? WHERE id = ?", (int(time.time()), store_id))

    def touch(self, store: StoreRow) -> None:
        """Note that a store was used, which postpones its expiry."""
        now = int(time.time())
        if now - store.last_active_at >= _TOUCH_SECONDS:
            with self.catalog.writing() as connection:
                connection.execute("UPDATE stores SET last_active_at = ? WHERE id = ?", (now, store.id))

    def delete(self, store_id: str, tenant: str) -> bool:
        """Delete a store with its index. Returns False if the tenant has no such store."""
        if self.get(store_id, tenant) is None:
            return False
        with self.catalog.writing() as connection:
            connection.execute("UPDATE stores SET is_deleted = 1 WHERE id = ?", (store_id,))
        self._erase(store_id)
        return True

    def forget_file(self, file_id: str) -> None:
        """Remove a deleted file from all stores."""
        with self.catalog.reading() as connection:
            rows = connection.execute("SELECT store_id FROM store_files WHERE file_id = ?", (file_id,)).fetchall()
        for row in rows:
            self.remove_file(row["store_id"], file_id)

    def remove_file(self, store_id: str, file_id: str) -> None:
        """Remove a file's row, and then its chunks: a search reads the rows first, so it finds none from then on."""
        with self.catalog.writing() as connection:
            connection.execute(
                "UPDATE store_files SET status = 'cancelled', usage_bytes = 0 WHERE store_id = ? AND file_id = ?",
                (store_id, file_id),
            )
        self.index(store_id).remove(file_id)
        with self.catalog.writing() as connection:
            connection.execute("DELETE FROM store_files WHERE store_id = ? AND file_id = ?", (store_id, file_id))

    def sweep(self) -> int:
        """Empty what has expired, and complete deletions that a crash has interrupted. Returns how many stores."""
        now = int(time.time())
        with self.catalog.reading() as connection:
            deleted = connection.execute(
                "SELECT id FROM stores WHERE is_deleted = 1 LIMIT ?", (_SWEPT_AT_ONCE,)
            ).fetchall()
            expired = connection.execute(
                "SELECT id FROM stores WHERE is_deleted = 0 AND is_expired = 0 AND expires_days IS NOT NULL "
                f"AND last_active_at + expires_days * {DAY_SECONDS} <= ? LIMIT ?",
                (now, _SWEPT_AT_ONCE),
            ).fetchall()
        for row in deleted:
            self._erase(row["id"])
        for row in expired:
            with self.catalog.writing() as connection:
                connection.execute("UPDATE stores SET is_expired = 1 WHERE id = ?", (row["id"],))
            self._empty(row["id"])
        return len(deleted) + len(expired)

    def _empty(self, store_id: str) -> None:
        self.indexes.remove(store_id)
        with self.catalog.writing() as connection:
            connection.execute("DELETE FROM store_files WHERE store_id = ?", (store_id,))
            connection.execute("DELETE FROM batches WHERE store_id = ?", (store_id,))

    def _erase(self, store_id: str) -> None:
        self._empty(store_id)
        with self.catalog.writing() as connection:
            connection.execute("DELETE FROM stores WHERE id = ?", (store_id,))


def page_of(
    connection: Connection,
    table: str,
    where: Iterable[str],
    values: Iterable[object],
    *,
    key: str,
    limit: int,
    after: str | None,
    before: str | None,
    newest_first: bool,
    make: Callable[[Row], T],
) -> tuple[list[T], bool] | None:
    """One page of a table's rows in the order of their numbers; None for an unknown cursor."""
    own, given = list(where), list(values)
    clauses, bound = list(own), list(given)
    for cursor, is_behind in ((after, True), (before, False)):
        if cursor is None:
            continue
        row = connection.execute(
            f"SELECT number FROM {table} WHERE {' AND '.join([*own, f'{key} = ?'])}", (*given, cursor)
        ).fetchone()
        if row is None:
            return None
        clauses.append("number < ?" if is_behind == newest_first else "number > ?")
        bound.append(row["number"])
    # With `before` alone, the page is the one that ends at the cursor.
    is_backwards = before is not None and after is None
    order = "DESC" if newest_first != is_backwards else "ASC"
    rows = connection.execute(
        f"SELECT * FROM {table} WHERE {' AND '.join(clauses)} ORDER BY number {order} LIMIT ?", (*bound, limit + 1)
    ).fetchall()
    found = [make(row) for row in rows[:limit]]
    return (found[::-1] if is_backwards else found), len(rows) > limit


def _as_it_is_now(store: StoreRow) -> StoreRow:
    """Expired from the second on, though the sweep comes later."""
    expires_at = store.expires_at
    if store.is_expired or expires_at is None or expires_at > time.time():
        return store
    return replace(store, is_expired=True)
