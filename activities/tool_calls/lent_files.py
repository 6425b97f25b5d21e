"""Lends files of a tenant to the code of a model, as copies in a folder that is removed after the run.

A worker that is killed in the middle leaves its folder. The next worker on the machine removes it as it starts, and
each worker does before it lends files: the folder's name has the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

from open_responses.io.files.file_store import FileStore, StoredFile

_PREFIX = "open_responses-code-"
_LENT = re.compile(rf"{_PREFIX}(\d+)-\w+")
# In bytes. A file system takes 255; an upload's name has as many characters.
_LONGEST_NAME, _LONGEST_SUFFIX = 255, 20


class LentFiles:
    """Files by their ids. The copies are read-only for the code, and the files themselves are never opened by it."""

    def __init__(self, files: FileStore) -> None:
        self._files = files
        remove_left_folders()

    @asynccontextmanager
    async def folder(self, tenant: str, file_ids: Sequence[str]) -> AsyncIterator[Path | None]:
        """A folder with the files, under their names; None without any. A file that was deleted is left out."""
        if not file_ids:
            yield None
            return
        await asyncio.to_thread(remove_left_folders)
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f"{_PREFIX}{os.getpid()}-"))
        try:
            await asyncio.to_thread(self._fill, folder, tenant, file_ids)
            yield folder
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _fill(self, folder: Path, tenant: str, file_ids: Sequence[str]) -> None:
        found = self._files.get_all(file_ids, tenant)
        for file_id in dict.fromkeys(file_ids):
            if file_id in found:
                _copy(found[file_id], folder, file_id)


def _copy(file: StoredFile, folder: Path, file_id: str) -> None:
    name = PurePosixPath(file.filename.replace("\\", "/")).name.replace("\0", "") or file_id
    name = _shortened(name, _LONGEST_NAME)
    target = folder / name
    if name in (".", "..") or target.exists():
        target = folder / f"{file_id}-{_shortened(name.strip('.'), _LONGEST_NAME - len(file_id) - 1)}"
    try:
        shutil.copyfile(file.path, target)
    except FileNotFoundError:
        # The file was deleted meanwhile.
        target.unlink(missing_ok=True)


def remove_left_folders() -> None:
    """Remove the folders of processes that have died."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        found = _LENT.fullmatch(folder.name)
        if found is not None and not _is_alive(int(found[1])):
            with contextlib.suppress(OSError):
                if folder.stat().st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _shortened(name: str, most: int) -> str:
    """A name of at most so many bytes, which keeps its suffix if that is a short one."""
    if len(name.encode()) <= most:
        return name
    stem, suffix = os.path.splitext(name)
    if len(suffix.encode()) > _LONGEST_SUFFIX:
        stem, suffix = name, ""
    return stem.encode()[: most - len(suffix.encode())].decode("utf-8", "ignore") + suffix
