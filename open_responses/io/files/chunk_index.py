"""The index of one vector store in the files folder: chunks, their vectors and words, in one SQLite database.

A file's chunks are written in one transaction, and their vectors in small ones, so an ingestion that was cut off goes
on with the chunks that have no vector yet. A chunk can be found once its file is `completed` in the catalog.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from open_responses.io.files.engine import Engine
from open_responses.io.files.storage import Chunk, Embedding, Hit, Progress, Weights
from open_responses.io.files.transactions import transaction

_WAIT_SECONDS = 20.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS chunks (
    -- No id is given twice: the vectors of a file that is removed meanwhile must not become those of another.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    text TEXT NOT NULL,
    overlap INTEGER NOT NULL,
    vector BLOB,
    UNIQUE (file_id, number)
);
CREATE TABLE IF NOT EXISTS parsed (file_id TEXT PRIMARY KEY, ingestion_id TEXT NOT NULL);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
    text, content='chunks', content_rowid='id', tokenize="porter unicode61 remove_diacritics 2"
);
CREATE TRIGGER IF NOT EXISTS words_of_new AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER IF NOT EXISTS words_of_removed AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
END;
"""


class ChunkIndex:
    """Reads and writes one index. All methods block: call them in threads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def put_chunks(self, file_id: str, ingestion_id: str, chunks: Sequence[Chunk]) -> None:
        """Replace a file's chunks, all at once."""
        with self._writing() as connection:
            connection.execute("DELETE FROM chunks WHERE file_id = ?", (file_id,))
            connection.executemany(
                "INSERT INTO chunks (file_id, number, text, overlap) VALUES (?, ?, ?, ?)",
                [(file_id, number, chunk.text, chunk.overlap) for number, chunk in enumerate(chunks)],
            )
            connection.execute("INSERT OR REPLACE INTO parsed VALUES (?, ?)", (file_id, ingestion_id))

    def has_chunks(self, file_id: str, ingestion_id: str) -> bool:
        """Whether the chunks of this ingestion have been written."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT 1 FROM parsed WHERE file_id = ? AND ingestion_id = ?", (file_id, ingestion_id)
            ).fetchone()
        return found is not None

    def without_vector(self, file_id: str, most: int) -> list[tuple[int, str]]:
        """(id, text) of the first chunks that have no vector yet."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT id, text FROM chunks WHERE file_id = ? AND vector IS NULL ORDER BY number LIMIT ?",
                (file_id, most),
            ).fetchall()
        return [(row[0], row[1]) for row in rows]

    def put_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Write the vectors of chunks by their ids: float32, of length 1. A chunk that is gone stays away."""
        with self._writing() as connection:
            connection.executemany(
                "UPDATE chunks SET vector = ? WHERE id = ?", [(vector, chunk_id) for chunk_id, vector in vectors]
            )

    def progress(self, file_id: str) -> Progress:
        """How far the ingestion of a file is."""
        with self._reading() as connection:
            done, total, size = connection.execute(
                "SELECT count(vector), count(*), coalesce(sum(length(text) + coalesce(length(vector), 0)), 0) "
                "FROM chunks WHERE file_id = ?",
                (file_id,),
            ).fetchone()
        return Progress(done, total, size)

    def texts(self, file_id: str) -> list[str]:
        """A file's text, in its chunks without their overlap."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT substr(text, overlap + 1) FROM chunks WHERE file_id = ? ORDER BY number", (file_id,)
            ).fetchall()
        return [row[0] for row in rows if row[0]]

    def remove(self, file_id: str) -> None:
        """Remove a file's chunks, with what the index of words has kept of them."""
        if not self.path.exists():
            return
        with self._writing() as connection:
            connection.execute("DELETE FROM chunks WHERE file_id = ?", (file_id,))
            connection.execute("DELETE FROM parsed WHERE file_id = ?", (file_id,))
            # Removed words stay in the segments of the index until these are merged.
            connection.execute("INSERT INTO words (words) VALUES ('optimize')")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with closing(self._connect()) as connection:
            yield connection

    def _writing(self) -> AbstractContextManager[sqlite3.Connection]:
        return transaction(self._connect)

    def _connect(self) -> sqlite3.Connection:
        is_new = not self.path.exists()
        if is_new:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_WAIT_SECONDS, isolation_level=None)
        connection.execute("PRAGMA secure_delete = ON")
        if is_new or not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'words_of_removed'").fetchone():
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            self.path.chmod(0o600)
        return connection


class ChunkIndexes:
    """The indexes in a folder, one file each, so that the deletion of a store deletes all text and vectors at once."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._folder = folder
        self._engine = engine

    def of(self, store_id: str) -> ChunkIndex:
        """The index of a store."""
        return ChunkIndex(self._path(store_id))

    def remove(self, store_id: str) -> None:
        """Remove an index with the journal that a crash may have left."""
        path = self._path(store_id)
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)

    def tend(self) -> None:
        """Nothing: every vector is compared."""

    async def search(
        self,
        stores: Sequence[tuple[str, Sequence[str]]],
        queries: Sequence[str],
        embedding: Embedding,
        *,
        weights: Weights,
        most: int,
    ) -> list[Hit]:
        """Have the engine's process search, which keeps the vectors of the last indexes in its memory."""
        return await self._engine.search(
            [(self._path(store_id), file_ids) for store_id, file_ids in stores],
            queries,
            embedding,
            embedding_weight=weights.embedding,
            text_weight=weights.text,
            most=most,
        )

    def _path(self, store_id: str) -> Path:
        return self._folder / f"{store_id}.sqlite"
