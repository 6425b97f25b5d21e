"""Files that hold keys: written whole or not at all, readable by their owner alone, and on disk when a call returns.

What this prevents: a key of half its bytes after a crash, and two keys where two processes race.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def create_private_file(path: Path, content: bytes) -> None:
    """Create the file, in a folder that is there. A file that is there stays, also one that another process creates at
    the same time. Until it is whole it has another name, which begins with a dot. Raises OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    finally:
        part.unlink()


def sync(path: Path) -> None:
    """Have a file's or a folder's content on disk: a new name lasts once its folder was synced. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
