"""The mark of a files folder: a file with a random id, and the kind of the catalog that the folder is used with.

What this prevents: an API and a worker with two folders, of which each looks whole, so that an uploaded file is missing
where it is needed. Each process compares its id with those that the others use (`folder_agreement.py`), and with that
in the catalog (`catalog_owner.py`). And a folder whose catalog is looked for in another kind of database: all files in
it would be bytes without a row, which the sweep removes.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Literal, TypeAlias

from open_responses.io.files.storage import FolderDiffers
from open_responses.io.private_files import create_private_file, sync

CatalogKind: TypeAlias = Literal["sqlite", "postgresql"]
_NAME = "folder.id"
_WRITTEN_SECONDS = 2.0
_LOOK_SECONDS = 0.05
_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class FolderMark:
    """Makes and reads the mark of one folder. All methods block."""

    def __init__(self, folder: Path, kind: CatalogKind) -> None:
        self.folder = folder
        self.kind: CatalogKind = kind
        self._id: str | None = None
        self.difference: str | None = None
        """Why this process may not use the folder, as far as it knows; None if it may."""

    def identity(self) -> str:
        """The id. The folder and the mark are made if they are missing. Raises as `use` does."""
        if self._id is None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.path.exists():
                self._make()
            self._id = self._read()
        return self._id

    def known(self) -> str | None:
        """The id, or None for a folder without one. Makes nothing. Raises as `identity` does."""
        return self.identity() if self.path.exists() else None

    def made_at(self) -> int:
        """When the mark was written, in milliseconds. Raises OSError."""
        return self.path.stat().st_mtime_ns // 1_000_000

    def use(self) -> None:
        """Before each use of the folder. Raises FolderDiffers and OSError."""
        self.identity()
        if self.difference is not None:
            raise FolderDiffers(self.difference)

    def check(self) -> None:
        """Raises FolderDiffers and OSError if the folder cannot be used. Makes nothing."""
        if self.path.exists():
            self.use()
        elif self._old_kind() != self.kind:
            raise FolderDiffers(self._other_catalog())

    @property
    def path(self) -> Path:
        """Of the mark itself."""
        return self.folder / _NAME

    def _make(self) -> None:
        if self._old_kind() != self.kind:
            raise FolderDiffers(self._other_catalog())
        # Of two processes that make it at once, one does.
        content = f"{secrets.token_hex(16)} {self.kind}\n"
        create_private_file(self.path, content.encode("ascii"), without_links=True)
        sync(self.folder)

    def _old_kind(self) -> CatalogKind:
        """Of a folder without a mark, which an older version has made or nobody."""
        return "sqlite" if (self.folder / "catalog.sqlite").exists() else self.kind

    def _read(self) -> str:
        deadline = time.monotonic() + _WRITTEN_SECONDS
        # A volume without hard links has a new file before its content.
        while not (content := self.path.read_text(encoding="ascii").strip()) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        identity, _, kind = content.partition(" ")
        if not identity or kind not in _NAMES:
            raise OSError(f"{self.path} is damaged: restore it from a backup of the folder")
        if kind != self.kind:
            raise FolderDiffers(self._other_catalog())
        return identity

    def _other_catalog(self) -> str:
        other = next(name for kind, name in _NAMES.items() if kind != self.kind)
        return (
            f"the files in {self.folder} have their catalog in {other}, and [vector_stores] now says "
            f"{_NAMES[self.kind]}. Set the old one again, or OPEN_RESPONSES_FILES_DIR to a new folder"
        )
