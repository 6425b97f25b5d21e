"""The files of this deployment as one process uses them: their bytes in a folder, vector stores, and the search."""

from __future__ import annotations

import importlib.util
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from open_responses.io.files.catalog import Catalog
from open_responses.io.files.chunk_index import ChunkIndexes
from open_responses.io.files.engine import Engine
from open_responses.io.files.file_store import FileStore
from open_responses.io.files.folder_mark import FolderMark
from open_responses.io.files.searching import StoreSearch
from open_responses.io.files.storage import CatalogDatabase, StoreIndexes
from open_responses.io.files.store_files import StoreFiles
from open_responses.io.files.vector_stores import VectorStores
from open_responses.io.settings import ConfigError, Settings


@dataclass(frozen=True, slots=True)
class FilesFolder:
    """What works on one folder, and one catalog. Nothing is read or written before the first use."""

    path: Path
    mark: FolderMark
    catalog: CatalogDatabase
    files: FileStore
    stores: VectorStores
    store_files: StoreFiles
    search: StoreSearch
    engine: Engine

    def problem(self) -> str | None:
        """Why the files cannot be used; None if they can, or the folder can be made. Blocks, and makes nothing."""
        problem = self.folder_problem()
        if problem is not None:
            return problem
        try:
            self.catalog.check()
        except (OSError, sqlite3.Error) as error:
            return f"the catalog of files cannot be used: {error}"
        return None

    def folder_problem(self) -> str | None:
        """The same of the folder alone."""
        nearest = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        try:
            if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
                raise PermissionError(f"{nearest} is no folder that this process may write to")
            self.mark.check()
        except OSError as error:
            return f"{self.path} (OPEN_RESPONSES_FILES_DIR) cannot be used: {error}"
        return None

    async def close(self) -> None:
        """End the engine's process and the connections."""
        self.catalog.close()
        await self.engine.close()


def configured_folder(settings: Settings, environ: Mapping[str, str]) -> FilesFolder:
    """The folder and the catalog that the settings name. Raises ConfigError."""
    name = settings.config.vector_stores.database_env
    if name is None:
        return files_folder(settings.files)
    address = environ.get(name, "")
    if not address.startswith(("postgresql://", "postgres://")):
        what = "is no address such as postgresql://user:password@host/name" if address else "is not set"
        raise ConfigError(f"[vector_stores] database_env: {name} {what}")
    if importlib.util.find_spec("psycopg") is None or importlib.util.find_spec("psycopg_pool") is None:
        raise ConfigError(
            "[vector_stores] database_env needs the driver of PostgreSQL: pip install 'open-responses[postgres]'"
        )
    return files_folder(settings.files, address)


def files_folder(path: Path, database: str | None = None) -> FilesFolder:
    """The folder at a path, for one process, with its catalog in it, or in PostgreSQL at the address `database`."""
    engine = Engine()
    mark = FolderMark(path, "sqlite" if database is None else "postgresql")
    catalog, indexes = _sqlite(mark, engine) if database is None else _postgres(mark, database, engine)
    stores, store_files = VectorStores(catalog, indexes), StoreFiles(catalog)
    return FilesFolder(
        path=path,
        mark=mark,
        catalog=catalog,
        files=FileStore(path, catalog, [stores.forget_file]),
        stores=stores,
        store_files=store_files,
        search=StoreSearch(stores, store_files),
        engine=engine,
    )


def _sqlite(mark: FolderMark, engine: Engine) -> tuple[CatalogDatabase, StoreIndexes]:
    return Catalog(mark), ChunkIndexes(mark.folder / "indexes", engine)


def _postgres(mark: FolderMark, address: str, engine: Engine) -> tuple[CatalogDatabase, StoreIndexes]:
    # Here, because only this configuration needs the driver.
    from open_responses.io.files.postgres.catalog import PostgresCatalog
    from open_responses.io.files.postgres.connections import Database
    from open_responses.io.files.postgres.indexes import PostgresIndexes

    database = Database(address, mark)
    return PostgresCatalog(mark, database), PostgresIndexes(database, engine)
