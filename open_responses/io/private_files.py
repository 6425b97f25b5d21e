"""Files with keys: complete or absent, readable by their owner only, and synced to disk when a call returns.

What this prevents: half a key after a crash, and two keys if two processes create one at the same time.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def create_private_file(path: Path, content: bytes, *, without_links: bool = False) -> None:
    """Create the file, in an existing folder, with the mode 0600.

    A file that exists stays, also one that another process creates at the same time. Until its content is complete, the
    file has another name, which begins with a dot. This needs hard links, which a volume
    over SMB may not have: with `without_links`, the file has its name there before its content.

    Raises:
        OSError: The file cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(part, path)
        except FileExistsError:
            pass
        except OSError:
            if not without_links:
                raise
            _create(path, content)
    finally:
        part.unlink()


def _create(path: Path, content: bytes) -> None:
    with (
        contextlib.suppress(FileExistsError),
        open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file,
    ):
        try:
            file.write(content)
            os.fsync(file.fileno())
        except BaseException:
            # A full disk: half of it would stay for good.
            path.unlink()
            raise


def sync(path: Path) -> None:
    """Sync a file or a folder to disk. A new file survives a crash once its folder is synced, too. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
