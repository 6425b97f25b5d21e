"""The file by which a worker shows that it is ready, for supervisors and probes: a worker has no HTTP port of its own.

The file holds `standby` or `serving`. It is absent until the process is ready, and after it has left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal


class ReadyFile:
    """`OPEN_RESPONSES_READY_FILE`. Without a path, nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self, state: Literal["standby", "serving"]) -> None:
        """Show the state. Raises OSError for a path that cannot be written."""
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # A reader never sees half of it.
            new = self._path.with_name(self._path.name + ".new")
            new.write_text(state, encoding="ascii")
            new.replace(self._path)

    def remove(self) -> None:
        """Show that this process is not ready."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
