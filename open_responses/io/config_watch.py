"""Notices that the configuration file has changed, or that an operator asks to read it again (SIGHUP)."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from weakref import WeakSet

# The file is polled and not subscribed to: Kubernetes replaces a link above the file, editors replace the file itself,
# and a network file system reports neither.
_LOOK_SECONDS = 1.0

_asked_by_hangup = WeakSet[asyncio.Event]()


def _hang_up() -> None:
    for asked in _asked_by_hangup:
        asked.set()


class ConfigWatch:
    """The changes of one file."""

    def __init__(self, path: str, *, look_seconds: float = _LOOK_SECONDS) -> None:
        self._path = Path(path)
        self._look_seconds = look_seconds
        self._asked = asyncio.Event()
        self._seen = self._look()

    def on_hangup(self) -> None:
        """Report a change at each SIGHUP. Without effect where the process cannot handle signals."""
        # A signal has one handler, and a process may have the watches of an API and a worker.
        _asked_by_hangup.add(self._asked)
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _hang_up)

    async def changes(self) -> AsyncIterator[None]:
        """Yield after each change, once the file has stayed the same for a moment, and at each SIGHUP."""
        unsettled: object = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._look_seconds):
                    await self._asked.wait()
            found = await asyncio.to_thread(self._look)
            if self._asked.is_set():
                self._asked.clear()
                self._seen, unsettled = found, None
                yield
            elif found == self._seen:
                unsettled = None
            elif found == unsettled:
                self._seen, unsettled = found, None
                yield
            else:
                # Another process may still be writing the file.
                unsettled = found

    def _look(self) -> tuple[int, int, int] | str:
        try:
            found = self._path.stat()
        except OSError as error:
            return type(error).__name__
        return found.st_mtime_ns, found.st_size, found.st_ino
