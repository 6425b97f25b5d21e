"""The tables in PostgreSQL, in steps: a process applies those that the database does not have.

All steps run in one transaction under a lock, so of processes that start at once, one applies them and the others find
them applied. A step is never changed once it was released: what is wrong with it is mended by the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from open_responses.io.files import catalog_owner

SCHEMA = "open_responses"
_LOCK = 0x6F72_6669_6C65_73
_LEAST_SERVER = 13
_LEAST_VECTOR = (0, 5, 0)
"""The first with HNSW."""

STEPS: list[str] = [
    """
    CREATE TABLE files (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        filename TEXT NOT NULL,
        purpose TEXT NOT NULL,
        bytes BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        is_deleted INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX files_of_tenant ON files (tenant, number);
    CREATE INDEX files_that_expire ON files (expires_at) WHERE expires_at IS NOT NULL;
    CREATE INDEX files_that_go ON files (id) WHERE is_deleted = 1;
    CREATE TABLE stores (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT,
        metadata TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        last_active_at BIGINT NOT NULL,
        expires_days BIGINT,
        embedding TEXT NOT NULL,
        is_deleted INTEGER NOT NULL DEFAULT 0,
        is_expired INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX stores_of_tenant ON stores (tenant, number);
    CREATE TABLE batches (
        id TEXT PRIMARY KEY,
        store_id TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        is_cancelled INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX batches_of_store ON batches (store_id);
    CREATE TABLE store_files (
        number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        store_id TEXT NOT NULL,
        file_id TEXT NOT NULL,
        batch_id TEXT,
        ingestion_id TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        status TEXT NOT NULL,
        attributes TEXT NOT NULL,
        chunk_tokens BIGINT NOT NULL,
        overlap_tokens BIGINT NOT NULL,
        usage_bytes BIGINT NOT NULL DEFAULT 0,
        error_code TEXT,
        error_message TEXT,
        UNIQUE (store_id, file_id)
    );
    CREATE INDEX stores_of_file ON store_files (file_id);
    CREATE INDEX files_of_batch ON store_files (batch_id) WHERE batch_id IS NOT NULL;
    CREATE INDEX files_in_progress ON store_files (number) WHERE status = 'in_progress';
    CREATE TABLE chunks (
        id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        store_id TEXT NOT NULL,
        file_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        text TEXT NOT NULL,
        overlap INTEGER NOT NULL,
        words TSVECTOR NOT NULL,
        vector VECTOR,
        UNIQUE (store_id, file_id, number)
    );
    -- Beside the row as long as it fits into a page: a search reads all vectors of a store, and few texts.
    ALTER TABLE chunks ALTER COLUMN vector SET STORAGE MAIN;
    -- Each row's words have the store's id among them, so that the index finds words of one store.
    CREATE INDEX chunks_by_words ON chunks USING gin (words);
    CREATE TABLE parsed (
        store_id TEXT NOT NULL,
        file_id TEXT NOT NULL,
        ingestion_id TEXT NOT NULL,
        chunks INTEGER NOT NULL,
        PRIMARY KEY (store_id, file_id)
    );
    """,
    catalog_owner.TABLE,
]
"""Each makes a version of the schema from the one before."""


class Mismatch(Exception):
    """The database cannot be used as it is. The message says what to do."""


def make_schema(
    connection: psycopg.Connection[Any], *, then: Callable[[], None] | None = None, only_check: bool = False
) -> tuple[int, ...]:
    """Apply the steps that are missing. Returns the version of pgvector. Raises Mismatch and psycopg.Error.

    `then` is called in the same transaction: if it raises, nothing is made. With `only_check`, nothing is made either:
    raises Mismatch if it could not be.
    """
    if connection.info.server_version < _LEAST_SERVER * 10_000:
        raise Mismatch(f"PostgreSQL {_LEAST_SERVER} or newer is needed, and this is {connection.info.server_version}")
    if only_check:
        _vector(connection, only_check=True)
        _check_rights(connection)
        return ()
    with connection.transaction():
        connection.execute("SET LOCAL statement_timeout TO 60000")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        version = _vector(connection)
        applied = _applied(connection)
        if applied == 0:
            _make_schema(connection)
        path = sql.SQL(", ").join(sql.Identifier(name) for name in search_path(connection))
        connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(path))
        for step in STEPS[applied:]:
            connection.execute(step.encode())
        if applied < len(STEPS):
            connection.execute("DELETE FROM schema_version")
            connection.execute("INSERT INTO schema_version VALUES (%s)", (len(STEPS),))
        if then is not None:
            then()
    return version


def has_table(connection: psycopg.Connection[Any], name: str) -> bool:
    """Whether the schema is there, with this table."""
    return _one(connection, "SELECT to_regclass(%s)", f"{SCHEMA}.{name}") not in (None, (None,))


def search_path(connection: psycopg.Connection[Any]) -> list[str]:
    """The schemas with our tables and with pgvector's types."""
    found = _one(
        connection,
        "SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace "
        "WHERE extname = 'vector'",
    )
    return list(dict.fromkeys((SCHEMA, *(found or ()), "pg_catalog")))


def _vector(connection: psycopg.Connection[Any], *, only_check: bool = False) -> tuple[int, ...]:
    """The version of pgvector in this database, in which it is made if it can be."""
    asked = "SELECT extversion FROM pg_extension WHERE extname = 'vector'"
    found = _one(connection, asked)
    if found is None:
        offered = _one(connection, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
        if offered is None:
            raise Mismatch(
                "pgvector is not installed on the server of the database: install it there (Debian's package is "
                "postgresql-NN-pgvector), and start again"
            )
        if only_check:
            found = offered
        else:
            try:
                with connection.transaction():
                    connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            except psycopg.errors.InsufficientPrivilege:
                raise Mismatch(
                    "this user may not make the extension pgvector: have a superuser run CREATE EXTENSION vector in "
                    "this database"
                ) from None
            found = _one(connection, asked)
    assert found is not None
    version = tuple(int(part) for part in str(found[0]).split(".") if part.isdigit())
    if version < _LEAST_VECTOR:
        raise Mismatch(f"pgvector {found[0]} is too old: have a superuser run ALTER EXTENSION vector UPDATE")
    return version


def _applied(connection: psycopg.Connection[Any]) -> int:
    """How many steps the database has."""
    if not has_table(connection, "schema_version"):
        return 0
    found = _one(connection, f"SELECT version FROM {SCHEMA}.schema_version")
    applied = 0 if found is None else int(found[0])
    if applied > len(STEPS):
        raise Mismatch(
            f"the tables in the database are of version {applied}, and this process knows {len(STEPS)}: upgrade it"
        )
    return applied


def _make_schema(connection: psycopg.Connection[Any]) -> None:
    try:
        with connection.transaction():
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}".encode())
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {SCHEMA}.schema_version (version INTEGER NOT NULL)".encode()
            )
    except psycopg.errors.InsufficientPrivilege:
        raise Mismatch(_NO_RIGHTS) from None


_NO_RIGHTS = (
    f"this user may not make the schema {SCHEMA!r}: run GRANT CREATE ON DATABASE … TO …, or make the schema for it "
    "with CREATE SCHEMA … AUTHORIZATION …"
)


def _check_rights(connection: psycopg.Connection[Any]) -> None:
    """Whether the steps that are missing could be applied, and the tables be used."""
    if _applied(connection):
        found = _one(connection, "SELECT has_table_privilege(%s, 'SELECT, INSERT, UPDATE, DELETE')", f"{SCHEMA}.files")
        if found is None or not found[0]:
            raise Mismatch(f"this user may not write to the tables of the schema {SCHEMA!r}: make it their owner")
        return
    exists = _one(connection, "SELECT 1 FROM pg_namespace WHERE nspname = %s", SCHEMA)
    asked = (
        "SELECT has_database_privilege(current_database(), 'CREATE')"
        if exists is None
        else f"SELECT has_schema_privilege('{SCHEMA}', 'CREATE')"
    )
    found = _one(connection, asked)
    if found is None or not found[0]:
        raise Mismatch(_NO_RIGHTS)


def _one(connection: psycopg.Connection[Any], statement: str, *values: object) -> tuple[Any, ...] | None:
    found = connection.execute(statement.encode(), values).fetchone()
    return None if found is None else tuple(found)
