"""What the database behind `/v1/files` and `/v1/vector_stores` has to offer.

SQLite in the files folder (`catalog.py`, `chunk_index.py`) and PostgreSQL (`postgres/`) offer it. The statements of
`file_store.py`, `vector_stores.py` and `store_files.py` are in the SQL that both understand. One suite of tests runs
against both (`tests/support/storages.py`).

Every method blocks, unless it is a coroutine: call it in a thread. Each raises OSError or sqlite3.Error if the storage
cannot be used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from open_responses.json_types import JsonObject


class StorageAway(OSError):
    """The database cannot be reached, or refuses a statement. The message has no secret."""


class FolderDiffers(OSError):
    """This process has another folder than the others, or another catalog. The message says what has to be done."""


class Row(Protocol):
    """One row of a result: its columns by name and by position."""

    def __getitem__(self, key: Any, /) -> Any: ...

    def __iter__(self) -> Iterator[Any]: ...


class Result(Protocol):
    """The rows that a statement has found, or how many it has changed."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:
        """The next row; None behind the last."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        ...

    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """Runs statements, with `?` in the place of each value."""

    def execute(self, statement: str, values: Sequence[object] = (), /) -> Result:
        """Run one statement."""
        ...


class CatalogDatabase(Protocol):
    """The rows of files, vector stores, and the states of ingestions."""

    def reading(self) -> AbstractContextManager[Connection]:
        """A connection for queries."""
        ...

    def writing(self, alone: str | None = None) -> AbstractContextManager[Connection]:
        """A connection in a transaction that is committed at the end, and rolled back by an exception.

        Args:
            alone: Transactions with the same text follow each other. For one that counts before it writes.
        """
        ...

    def check(self) -> None:
        """Raise as the other methods do if the database cannot be used. Makes nothing."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file's text. Its first `overlap` characters are the end of the chunk before."""

    text: str
    overlap: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How many chunks of a file have their vectors, and how many bytes all of it takes."""

    done: int
    total: int
    size: int


class StoreIndex(Protocol):
    """The chunks of one vector store, with their vectors and words.

    A file's chunks are written in one transaction, and their vectors in small ones, so an ingestion that was cut off
    goes on with the chunks that have no vector yet.
    """

    def put_chunks(self, file_id: str, ingestion_id: str, chunks: Sequence[Chunk]) -> None:
        """Replace a file's chunks, all at once."""
        ...

    def has_chunks(self, file_id: str, ingestion_id: str) -> bool:
        """Whether the chunks of this ingestion have been written."""
        ...

    def without_vector(self, file_id: str, most: int) -> list[tuple[int, str]]:
        """(id, text) of the first chunks that have no vector yet."""
        ...

    def put_vectors(self, vectors: Sequence[tuple[int, bytes]]) -> None:
        """Write the vectors of chunks by their ids: float32, of length 1. A chunk that is gone stays away."""
        ...

    def progress(self, file_id: str) -> Progress:
        """How far the ingestion of a file is."""
        ...

    def texts(self, file_id: str) -> list[str]:
        """A file's text, in its chunks without their overlap."""
        ...

    def remove(self, file_id: str) -> None:
        """Remove a file's chunks."""
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """What makes the vectors. Vectors of two names cannot be compared."""

    name: str
    provider: JsonObject | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Weights:
    """How much meaning and words count."""

    embedding: float
    text: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that was found, in the store of this number."""

    index: int
    file_id: str
    score: float
    text: str


class StoreIndexes(Protocol):
    """The indexes of all vector stores."""

    def of(self, store_id: str) -> StoreIndex:
        """The index of a store. It is made when something is written."""
        ...

    def remove(self, store_id: str) -> None:
        """Remove all chunks of a store."""
        ...

    def tend(self) -> None:
        """Make what searches of large stores need, and remove what is not needed any more. May take minutes."""
        ...

    async def search(
        self,
        stores: Sequence[tuple[str, Sequence[str]]],
        queries: Sequence[str],
        embedding: Embedding,
        *,
        weights: Weights,
        most: int,
    ) -> list[Hit]:
        """The best chunks of some files of some stores, best first.

        A score is between 0 and 1: the weighted mean of the cosine between the vectors, and of the words' relevance in
        relation to the best match of the query. A chunk has the best of its scores for all queries.

        Raises EngineFailed.
        """
        ...
