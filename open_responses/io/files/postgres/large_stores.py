"""The HNSW indexes of large stores: one for each, over the vectors of that store alone.

An index over all stores would find the nearest chunks of everybody, and few or none of the store that is searched.
Below the size of `LARGE_BYTES`, to compare every vector of a store takes a fraction of a second, and is exact.
"""

from __future__ import annotations

import psycopg
import structlog
from psycopg import sql

from open_responses.io.files.postgres.connections import Database, DatabaseConnection
from open_responses.io.files.postgres.schema import SCHEMA

log = structlog.get_logger(__name__)

LARGE_BYTES = 64 * 1024 * 1024
"""Text and vectors: some 20,000 chunks with the model inside."""
_LONGEST_VECTOR, _LONGEST_HALF_VECTOR = 2000, 4000
"""What an HNSW index takes, of 4 and of 2 bytes a number. Longer vectors are always compared one by one."""
_PREFIX = "vectors_of_"
_LONGEST_BUILD_SECONDS = 6 * 3600.0
_LOCK = 0x6F72_686E_7377


def column_of(dimensions: int) -> str:
    """What is indexed: the column as a type of this length."""
    kind = "vector" if dimensions <= _LONGEST_VECTOR else "halfvec"
    return f"vector::{kind}({dimensions})"


def has_vector_index(connection: DatabaseConnection, store_id: str) -> bool:
    """Whether a store has an index that is complete."""
    found = connection.execute(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(?)", (f'{SCHEMA}."{_PREFIX}{store_id}"',)
    ).fetchone()
    return found is not None and bool(found[0])


def tend_vector_indexes(database: Database, *, large_bytes: int = LARGE_BYTES) -> int:
    """Build the indexes that are missing, and drop those of deleted stores. One process at a time does.

    Takes minutes for a very large store. Searches and ingestions go on meanwhile. Returns how many were built. Raises
    StorageAway.
    """
    with database.connection(seconds=_LONGEST_BUILD_SECONDS) as connection:
        if not connection.execute("SELECT pg_try_advisory_lock(?)", (_LOCK,)).fetchone()[0]:
            return 0
        try:
            connection.execute("SET statement_timeout TO 0")
            return _tend(connection, database.vector_version, large_bytes)
        finally:
            # The connection is not used again: its settings and its lock end with it.
            connection.driver.close()


def _tend(connection: DatabaseConnection, version: tuple[int, ...], large_bytes: int) -> int:
    large = {
        row[0]
        for row in connection.execute(
            "SELECT store_id FROM store_files JOIN stores ON stores.id = store_id WHERE status = 'completed' "
            "AND stores.is_deleted = 0 AND stores.is_expired = 0 GROUP BY store_id HAVING sum(usage_bytes) >= ?",
            (large_bytes,),
        )
    }
    known = {
        row[0].removeprefix(_PREFIX): row[1]
        for row in connection.execute(
            "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid = to_regclass(?) AND starts_with(relname, ?)",
            (f"{SCHEMA}.chunks", _PREFIX),
        )
    }
    for store_id, is_valid in known.items():
        # One that is not valid was left by a build that ended in the middle.
        if store_id not in large or not is_valid:
            connection.driver.execute(
                sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(SCHEMA, _PREFIX + store_id))
            )
    return sum(_build(connection, store_id, version) for store_id in large if not known.get(store_id))


def _build(connection: DatabaseConnection, store_id: str, version: tuple[int, ...]) -> bool:
    found = connection.execute(
        "SELECT vector_dims(vector) FROM chunks WHERE store_id = ? AND vector IS NOT NULL LIMIT 1", (store_id,)
    ).fetchone()
    if found is None or found[0] > (_LONGEST_HALF_VECTOR if version >= (0, 7) else _LONGEST_VECTOR):
        return False
    column = column_of(found[0])
    kind = "halfvec" if "halfvec" in column else "vector"
    try:
        connection.driver.execute(
            sql.SQL("CREATE INDEX CONCURRENTLY {} ON chunks USING hnsw (({}) {}) WHERE store_id = {}").format(
                sql.Identifier(_PREFIX + store_id),
                sql.SQL(column),
                sql.SQL(f"{kind}_ip_ops"),
                sql.Literal(store_id),
            )
        )
    except psycopg.errors.DataException as error:
        # Vectors of two lengths, which a search refuses as well.
        log.warning("vector_index_not_built", store_id=store_id, reason=str(error))
        return False
    log.info("vector_index_built", store_id=store_id, dimensions=found[0])
    return True
