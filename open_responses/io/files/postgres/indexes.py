"""The chunks of vector stores in PostgreSQL: their text, the words in it, and their vectors.

Of a small store, every vector is compared, as in SQLite. A large one has an HNSW index of its own, so that a search
takes no longer as the store grows, and finds nothing of another store's (`large_stores.py`).
"""

from __future__ import annotations

import asyncio
import struct
import unicodedata
from collections.abc import Sequence

from open_responses.io.files.engine import Engine, EngineFailed
from open_responses.io.files.postgres.connections import Database
from open_responses.io.files.postgres.large_stores import tend_vector_indexes
from open_responses.io.files.postgres.search import VectorsDiffer, search_store, store_lexeme
from open_responses.io.files.storage import Chunk, Embedding, Hit, Progress, StorageAway, Weights

_NUMBER_BYTES = 4
"""Of a vector's component."""
_LONGEST_WRITE_SECONDS = 600.0
"""Of all chunks of a file, in one transaction."""
_REMOVED_AT_ONCE = 5000


class PostgresIndex:
    """Reads and writes the chunks of one store."""

    def __init__(self, database: Database, store_id: str) -> None:
        self._database = database
        self._store_id = store_id

    def put_chunks(self, file_id: str, ingestion_id: str, chunks: Sequence[Chunk]) -> None:
        """Replace a file's chunks, all at once."""
        alone = f"chunks of {self._store_id} {file_id}"
        with self._database.transaction(alone, seconds=_LONGEST_WRITE_SECONDS) as connection:
            connection.execute("DELETE FROM chunks WHERE store_id = ? AND file_id = ?", (self._store_id, file_id))
            connection.execute_many(
                "INSERT INTO chunks (store_id, file_id, number, text, overlap, words) "
                "VALUES (?, ?, ?, ?, ?, to_tsvector('pg_catalog.english', ?) || array_to_tsvector(ARRAY[?]))",
                [
                    (
                        *(self._store_id, file_id, number, chunk.text, chunk.overlap),
                        *(plain(chunk.text), store_lexeme(self._store_id)),
                    )
                    for number, chunk in enumerate(chunks)
                ],
            )
            connection.execute(
                "INSERT INTO parsed (store_id, file_id, ingestion_id, chunks) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (store_id, file_id) DO UPDATE SET ingestion_id = excluded.ingestion_id, "
                "chunks = excluded.chunks",
                (self._store_id, file_id, ingestion_id, len(chunks)),
            )

    def has_chunks(self, file_id: str, ingestion_id: str) -> bool:
        """Whether the chunks of this ingestion have been written."""
        with self._database.connection() as connection:
            found = connection.execute(
                "SELECT 1 FROM parsed WHERE store_id = ? AND file_id = ? AND ingestion_id = ?",
                (self._store_id, file_id, ingestion_id),
            ).fetchone()
        return found is not None

    def without_vector(self, file_id: str, most: int) -> list[tuple[int, str]]:
        """(id, text) of the first chunks that have no vector yet."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT id, text FROM chunks WHERE store_id = ? AND file_id = ? AND vector IS NULL "
                "ORDER BY number LIMIT ?",
                (self._store_id, file_id, most),
            ).fetchall()
        return [(row["id"], row["text"]) for row in rows]

    def put_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Write the vectors of chunks by their ids: float32, of length 1. A chunk that is gone stays away."""
        with self._database.transaction() as connection:
            connection.execute_many(
                "UPDATE chunks SET vector = ?::vector WHERE id = ? AND store_id = ?",
                [(vector_text(vector), chunk_id, self._store_id) for chunk_id, vector in sorted(vectors)],
            )

    def progress(self, file_id: str) -> Progress:
        """How far the ingestion of a file is."""
        with self._database.connection() as connection:
            done, total, size = connection.execute(
                "SELECT count(vector), count(*), CAST(coalesce(sum(octet_length(text) + "
                "coalesce(vector_dims(vector) * ?, 0)), 0) AS BIGINT) "
                "FROM chunks WHERE store_id = ? AND file_id = ?",
                (_NUMBER_BYTES, self._store_id, file_id),
            ).fetchone()
        return Progress(done, total, size)

    def texts(self, file_id: str) -> list[str]:
        """A file's text, in its chunks without their overlap."""
        with self._database.connection() as connection:
            rows = connection.execute(
                "SELECT substr(text, overlap + 1) AS text FROM chunks WHERE store_id = ? AND file_id = ? "
                "ORDER BY number",
                (self._store_id, file_id),
            ).fetchall()
        return [row["text"] for row in rows if row["text"]]

    def remove(self, file_id: str) -> None:
        """Remove a file's chunks."""
        _remove(self._database, "store_id = ? AND file_id = ?", (self._store_id, file_id))


class PostgresIndexes:
    """The chunks of all stores."""

    def __init__(self, database: Database, engine: Engine) -> None:
        self._database = database
        self._engine = engine

    def of(self, store_id: str) -> PostgresIndex:
        """The index of a store."""
        return PostgresIndex(self._database, store_id)

    def remove(self, store_id: str) -> None:
        """Remove all chunks of a store. An index over its vectors alone is dropped by a sweep."""
        _remove(self._database, "store_id = ?", (store_id,))

    def tend(self) -> None:
        """Build the HNSW indexes of large stores, and drop those of deleted ones. Raises StorageAway."""
        tend_vector_indexes(self._database)

    async def search(
        self,
        stores: Sequence[tuple[str, Sequence[str]]],
        queries: Sequence[str],
        embedding: Embedding,
        *,
        weights: Weights,
        most: int,
    ) -> list[Hit]:
        """The engine makes the vectors of the queries, and the database compares them."""
        asked = [(number, store_id, files) for number, (store_id, files) in enumerate(stores) if files]
        if not asked:
            return []
        vectors = await self._engine.embed(queries, embedding)
        pairs = [(plain(query), vector_text(vector)) for query, vector in zip(queries, vectors, strict=True)]
        try:
            found = await asyncio.to_thread(self._search, asked, pairs, weights, most)
        except VectorsDiffer:
            raise EngineFailed("the index has vectors of another model", is_final=True) from None
        except StorageAway as error:
            raise EngineFailed(f"the index cannot be read: {error}") from error
        return sorted(found, key=lambda hit: -hit.score)[:most]

    def _search(
        self,
        stores: Sequence[tuple[int, str, Sequence[str]]],
        queries: Sequence[tuple[str, str]],
        weights: Weights,
        most: int,
    ) -> list[Hit]:
        return [
            Hit(number, file_id, score, text)
            for number, store_id, files in stores
            for file_id, score, text in search_store(self._database, store_id, files, queries, weights, most)
        ]


def _remove(database: Database, where: str, values: Sequence[object]) -> None:
    """Remove rows in parts, each of which is committed: a store may have millions."""
    while True:
        with database.connection() as connection:
            removed = connection.execute(
                f"DELETE FROM chunks WHERE id IN (SELECT id FROM chunks WHERE {where} LIMIT {_REMOVED_AT_ONCE})", values
            ).rowcount
            if removed < _REMOVED_AT_ONCE:
                connection.execute(f"DELETE FROM parsed WHERE {where}", values)
                return


def vector_text(vector: bytes) -> str:
    """A vector as pgvector reads it."""
    numbers = struct.unpack(f"<{len(vector) // _NUMBER_BYTES}f", vector)
    return "[" + ",".join(f"{number:.9g}" for number in numbers) + "]"


def plain(text: str) -> str:
    """A text without the marks on its letters: a query may leave them out."""
    if text.isascii():
        return text
    return "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
