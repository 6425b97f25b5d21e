"""The catalog in PostgreSQL: rows of files, vector stores, and the states of ingestions."""

from __future__ import annotations

from contextlib import AbstractContextManager

from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.files.postgres.connections import Database, DatabaseConnection


class PostgresCatalog:
    """The tables of the schema `open_responses`."""

    def __init__(self, mark: FolderMark, database: Database) -> None:
        self._mark = mark
        self._database = database

    def reading(self) -> AbstractContextManager[DatabaseConnection]:
        """A connection for queries. Raises StorageAway and FolderDiffers."""
        self._mark.use()
        return self._database.connection()

    def writing(self, alone: str | None = None) -> AbstractContextManager[DatabaseConnection]:
        """A connection in a transaction. Those with the same `alone` follow each other."""
        self._mark.use()
        return self._database.transaction(alone)

    def check(self) -> None:
        """Check the server's version, pgvector, the rights, and the owner. Raises StorageAway and FolderDiffers."""
        self._database.check()

    def close(self) -> None:
        """Close the connections."""
        self._database.close()
