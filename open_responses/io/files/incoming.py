"""A file while it is uploaded: complete under its name, or gone.

What this prevents: half a file that looks whole after a crash. The bytes have another name until all of them are on
disk. The writer holds a lock on them, which the kernel releases when its process dies, so that another process can tell
what a crash has left from what still arrives.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import BinaryIO

from open_responses.io.private_files import sync

_YOUNG_SECONDS = 60.0


class IncomingFile:
    """Writes one file. All methods block: call them in threads, one at a time."""

    def __init__(self, folder: Path, file_id: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / file_id
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def write(self, data: bytes) -> None:
        """Append bytes. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def keep_as(self, path: Path) -> None:
        """Put the complete file under its name. It survives a crash from then on. Raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.fsync(self._file.fileno())
        os.replace(self._path, path)
        sync(path.parent)
        self._file.close()

    def discard(self) -> None:
        """Remove what was written, if it was not kept. A second call changes nothing."""
        self._path.unlink(missing_ok=True)
        self._file.close()


def remove_abandoned(folder: Path) -> int:
    """Remove what crashes have left in a folder of incoming files. Returns how many."""
    removed = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            # An empty file that is new may be one whose writer has not taken the lock yet.
            if os.fstat(descriptor).st_size or _is_old(descriptor):
                path.unlink(missing_ok=True)
                removed += 1
        finally:
            os.close(descriptor)
    return removed


def _is_old(descriptor: int) -> bool:
    return time.time() - os.fstat(descriptor).st_mtime > _YOUNG_SECONDS
