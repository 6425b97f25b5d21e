"""The files folder of this deployment as one process uses it: files, vector stores, and the search in them."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from open_responses.io.files.catalog import Catalog
from open_responses.io.files.engine import Engine
from open_responses.io.files.file_store import FileStore
from open_responses.io.files.searching import StoreSearch
from open_responses.io.files.store_files import StoreFiles
from open_responses.io.files.vector_stores import VectorStores


@dataclass(frozen=True, slots=True)
class FilesFolder:
    """What works on one folder. Nothing is read or written before the first use."""

    path: Path
    files: FileStore
    stores: VectorStores
    store_files: StoreFiles
    search: StoreSearch
    engine: Engine

    def problem(self) -> str | None:
        """Why the folder cannot be used; None if it can, or can be made. Blocks, and makes nothing."""
        nearest = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        try:
            if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
                raise PermissionError(f"{nearest} is no folder that this process may write to")
            if self.stores.catalog.exists:
                with self.stores.catalog.reading() as connection:
                    connection.execute("SELECT count(*) FROM files").fetchone()
        except (OSError, sqlite3.Error) as error:
            return f"{self.path} (OPEN_RESPONSES_FILES_DIR) cannot be used: {error}"
        return None


def files_folder(path: Path) -> FilesFolder:
    """The folder at a path, for one process."""
    catalog, engine = Catalog(path), Engine()
    stores, store_files = VectorStores(catalog), StoreFiles(catalog)
    return FilesFolder(
        path=path,
        files=FileStore(catalog, [stores.forget_file]),
        stores=stores,
        store_files=store_files,
        search=StoreSearch(stores, store_files, engine),
        engine=engine,
    )
