"""Makes text of pages in processes of their own, whose time and memory are bounded (`extractor.py`).

What this prevents: one page that holds the event loop, and with it all responses of the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from activities.tools.web_search.extractor import LENGTH, NO_MEMORY
from activities.tools.web_search.pages import Fetched, PageError

SIZE = 2
"""The most processes. One tenant has all but one at most."""
WALL_SECONDS = 25.0
"""The longest time of one page, on a machine that is busy. The kernel counts CPU time (`CPU_SECONDS`)."""
_PROGRAM = Path(__file__).with_name("extractor.py")
_LIMITS = {-signal.SIGXCPU: "time", -signal.SIGABRT: "memory", -signal.SIGSEGV: "memory", NO_MEMORY: "memory"}
# Only these variables are passed on: others have the keys of providers.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG")


@dataclass(frozen=True, slots=True)
class PageText:
    """A page as text. `is_cut`: whether the text behind it was left out."""

    url: str
    title: str
    date: str
    text: str
    is_cut: bool = False


class Extraction:
    """The processes. The first page starts one, and each ends by itself when it has nothing to do."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._idle: list[asyncio.subprocess.Process] = []
        self._running: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    async def text_of(self, page: Fetched, tenant: str) -> PageText:
        """The page as text. A cancelled call ends its process. Raises PageError if the limits do not suffice."""
        asked = json.dumps({"url": page.url, "charset": page.charset, "kind": page.kind}).encode()
        async with self._slot(tenant):
            # One that waited may have ended meanwhile.
            for _ in range(self._size + 1):
                answer = await self._once(asked, page)
                if answer is None:
                    continue
                found = json.loads(answer)
                if found.get("problem"):
                    raise PageError(f"The text of {page.url[:200]!r} cannot be extracted: {found['problem']}.")
                return PageText(url=page.url, **found)
        raise PageError(f"The text of {page.url[:200]!r} cannot be extracted.")

    async def close(self) -> None:
        """End all processes that wait."""
        while self._idle:
            await _end(self._idle.pop())

    async def _once(self, asked: bytes, page: Fetched) -> bytes | None:
        """The answer; None if the process died for another reason than its limits, such as having waited for long."""
        self._idle = [process for process in self._idle if process.returncode is None]
        process = self._idle.pop() if self._idle else await _start()
        is_whole = False
        try:
            async with asyncio.timeout(WALL_SECONDS):
                answer = await _exchange(process, asked, page.body)
            is_whole = True
            return answer
        except TimeoutError:
            raise PageError(f"The text of {page.url[:200]!r} takes too much time to extract.") from None
        except (OSError, asyncio.IncompleteReadError):
            exceeded = _LIMITS.get(await process.wait())
            if exceeded is None:
                return None
            raise PageError(f"The text of {page.url[:200]!r} takes too much {exceeded} to extract.") from None
        finally:
            if is_whole:
                self._idle.append(process)
            else:
                await asyncio.shield(_end(process))

    @contextlib.asynccontextmanager
    async def _slot(self, tenant: str) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: self._has_room(tenant))
            self._running[tenant] += 1
        try:
            yield
        finally:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]
            async with self._changed:
                self._changed.notify_all()

    def _has_room(self, tenant: str) -> bool:
        return self._running.total() < self._size and self._running[tenant] < max(1, self._size - 1)


async def _start() -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(_PROGRAM),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
    except OSError as error:
        raise PageError(f"No page can be read now: no process can be started ({error.strerror}).") from error


async def _exchange(process: asyncio.subprocess.Process, asked: bytes, body: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    for frame in (asked, body):
        process.stdin.write(LENGTH.pack(len(frame)))
        process.stdin.write(frame)
    await process.stdin.drain()
    (size,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(size)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
