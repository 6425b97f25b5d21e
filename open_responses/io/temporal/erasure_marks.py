"""Marks of responses and conversations that are erased or have to be, as files that all processes see.

What this prevents: a deletion that a crash leaves half done behind a tombstone, so that a repeated DELETE is a 404 and
the content stays in Temporal; and a late writer that puts a large payload of an erased response back on disk. Redis is
no place for either: a flush would forget them.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from open_responses.ids import is_id
from open_responses.io.private_files import sync

_OWNERS = ("resp_", "conv_")


class ErasureMarks:
    """Empty files in two folders beside the large payloads.

    `deletions/`: deletions that were promised. A file is there before anything is deleted, and is removed once nothing
    is left. `erased/`: no large payload of this owner is written any more. Such a file expires at its modification
    time.
    """

    def __init__(self, blob_dir: Path) -> None:
        self._deletions = blob_dir / "deletions"
        self._erased = blob_dir / "erased"

    def promise(self, owner: str) -> None:
        """List a deletion. On disk for good when it returns."""
        path = self._deletions / owner
        _touch(path)
        for synced in (path, self._deletions, self._deletions.parent):
            sync(synced)

    def is_promised(self, owner: str) -> bool:
        return (self._deletions / owner).exists()

    def promised(self) -> list[str]:
        """The deletions that are not known to be complete."""
        return _names(self._deletions)

    def complete(self, owner: str) -> None:
        """Nothing of it is left: take the deletion off the list."""
        (self._deletions / owner).unlink(missing_ok=True)

    def mark(self, owner: str, seconds: float) -> None:
        """Refuse large payloads of this owner for so long."""
        path = self._erased / owner
        _touch(path)
        os.utime(path, (time.time(), time.time() + seconds))

    def is_marked(self, owner: str) -> bool:
        try:
            return (self._erased / owner).stat().st_mtime > time.time()
        except FileNotFoundError:
            return False

    def is_hidden(self, owner: str) -> bool:
        """Whether a reader must not see it, wherever something of it may still be."""
        return self.is_promised(owner) or self.is_marked(owner)

    def clear_expired(self) -> None:
        for owner in _names(self._erased):
            path = self._erased / owner
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time():
                    path.unlink()


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch()


def _names(directory: Path) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if any(is_id(prefix, name) for prefix in _OWNERS)]
    except FileNotFoundError:
        return []
