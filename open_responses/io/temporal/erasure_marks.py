"""Erasure marks: files that name the responses and conversations that are erased, or are to be.

What this prevents: a deletion that a crash interrupts after the tombstone, so that a repeated DELETE gets a 404 and the
content stays in Temporal; and a late writer that writes a large payload of an erased response. The marks are files that
all processes share, because a flush of Redis would remove them.
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

    `deletions/` has the deletions that were accepted. A file is created before anything is deleted, and removed when
    nothing is left. `erased/` has the owners whose large payloads are rejected. A file there expires at its
    modification time.
    """

    def __init__(self, blob_dir: Path) -> None:
        self._deletions = blob_dir / "deletions"
        self._erased = blob_dir / "erased"

    def promise(self, owner: str) -> None:
        """List a deletion. The file is synced to disk when this returns."""
        path = self._deletions / owner
        _touch(path)
        for synced in (path, self._deletions, self._deletions.parent):
            sync(synced)

    def is_promised(self, owner: str) -> bool:
        """Whether the owner's deletion was accepted and is not complete."""
        return (self._deletions / owner).exists()

    def promised(self) -> list[str]:
        """The deletions that are not complete."""
        return _names(self._deletions)

    def complete(self, owner: str) -> None:
        """Remove a deletion from the list: nothing of its owner is left."""
        (self._deletions / owner).unlink(missing_ok=True)

    def mark(self, owner: str, seconds: float) -> None:
        """Reject large payloads of this owner for `seconds`."""
        path = self._erased / owner
        _touch(path)
        os.utime(path, (time.time(), time.time() + seconds))

    def is_marked(self, owner: str) -> bool:
        """Whether large payloads of this owner are rejected."""
        try:
            return (self._erased / owner).stat().st_mtime > time.time()
        except FileNotFoundError:
            return False

    def is_hidden(self, owner: str) -> bool:
        """Whether readers must not get this response or conversation, wherever a copy may still be."""
        return self.is_promised(owner) or self.is_marked(owner)

    def clear_expired(self) -> None:
        """Remove the files of owners whose time has passed."""
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
