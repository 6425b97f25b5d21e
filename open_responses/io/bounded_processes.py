"""Processes for work whose time and memory must be bounded, shared fairly between tenants.

What this prevents: a schema or a web page that holds the event loop, and with it all responses of the process. The
processes are started at need, kept, and replaced. One tenant never has all of them, and the waiting tenants are served
in rotation, so a tenant whose work runs into the limits delays its own work and not that of others.

The kernel bounds the memory of a process and its CPU time for each request: the program sets both limits
(`schema_checks/process.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import structlog

from open_responses.io.background import in_background
from open_responses.io.child_processes import end, exchange

log = structlog.get_logger(__name__)

Limit: TypeAlias = Literal["CPU time", "memory", "wall time"]

SIZE = 2
"""The most processes. One tenant has all but one at most."""
_NO_MEMORY = 3
"""The exit status of a program after a MemoryError of Python."""
# Exit statuses that mean that a limit was reached. A library in C that gets no memory aborts, or reads where none is.
_LIMITS: dict[int, Limit] = {
    -signal.SIGXCPU: "CPU time",
    -signal.SIGABRT: "memory",
    -signal.SIGSEGV: "memory",
    _NO_MEMORY: "memory",
}
# Only these variables are passed on: others have the keys of providers.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "LANG")


class LimitExceeded(Exception):
    """A request exceeded a limit of its process."""

    def __init__(self, limit: Limit) -> None:
        super().__init__(f"too much {limit}")
        self.limit: Limit = limit


class ProcessDied(Exception):
    """The processes that got a request died, each for another reason than its limits."""


class BoundedProcesses:
    """Processes of one program. The first request starts one; `close` ends them all.

    Args:
        program: The program, a Python file that reads frames from standard input and answers with one.
        wall_seconds: The longest time of one request. The kernel's limit on CPU time does not end a process that is
            stopped.
        attempts: How many processes get a request that ends them before `ask` raises ProcessDied.
        size: The most processes.
    """

    def __init__(self, program: Path, *, wall_seconds: float, attempts: int = 2, size: int = SIZE) -> None:
        self.wall_seconds = wall_seconds
        self._program = program
        self._attempts = attempts
        self._size = size
        self._idle: list[asyncio.subprocess.Process] = []
        self._reaping: set[asyncio.Task[None]] = set()
        self._running: Counter[str] = Counter()
        # Tenants in the order in which they get the next process.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def ask(self, frames: Sequence[bytes], tenant: str) -> bytes:
        """Send the frames of a request to a process, and return its answer. A cancelled call ends its process.

        Raises:
            LimitExceeded: The request exceeded a limit.
            ProcessDied: Each process that got the request died.
            OSError: No process can be started.
        """
        async with self._slot(tenant):
            for _ in range(self._attempts):
                answer = await self._once(frames, tenant)
                if answer is not None:
                    return answer
        raise ProcessDied(f"{self._program.name} died {self._attempts} times")

    async def close(self) -> None:
        """End all idle processes, and wait for the ends of all."""
        while self._idle:
            self._discard(self._idle.pop())
        await asyncio.gather(*self._reaping, return_exceptions=True)

    async def _once(self, frames: Sequence[bytes], tenant: str) -> bytes | None:
        """The answer; None if the process died for another reason than its limits."""
        # A program may end itself when it has had nothing to do.
        self._idle = [process for process in self._idle if process.returncode is None]
        process = self._idle.pop() if self._idle else await self._start()
        is_whole = False
        try:
            async with asyncio.timeout(self.wall_seconds):
                answer = await exchange(process, *frames)
            is_whole = True
            return answer
        except TimeoutError:
            raise self._exceeded("wall time", tenant) from None
        except (OSError, asyncio.IncompleteReadError):
            limit = _LIMITS.get(await process.wait())
            if limit is not None:
                raise self._exceeded(limit, tenant) from None
            log.warning("process_died", program=self._program.name, tenant=tenant, status=process.returncode)
            return None
        finally:
            if is_whole:
                self._idle.append(process)
            else:
                self._discard(process)

    def _exceeded(self, limit: Limit, tenant: str) -> LimitExceeded:
        log.warning("process_limit_exceeded", program=self._program.name, tenant=tenant, limit=limit)
        return LimitExceeded(limit)

    # --- slots

    @contextlib.asynccontextmanager
    async def _slot(self, tenant: str) -> AsyncIterator[None]:
        if self._waiting.get(tenant) or not self._has_room(tenant):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(tenant, deque()).append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._leave(tenant)
                raise
        else:
            self._running[tenant] += 1
        try:
            yield
        finally:
            self._leave(tenant)

    def _has_room(self, tenant: str) -> bool:
        return self._running.total() < self._size and self._running[tenant] < max(1, self._size - 1)

    def _leave(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        for waiting in list(self._waiting):
            waiters = self._waiting[waiting]
            while waiters and waiters[0].done():
                waiters.popleft()
            while waiters and self._has_room(waiting):
                waiter = waiters.popleft()
                if not waiter.done():
                    self._running[waiting] += 1
                    waiter.set_result(None)
                    # The other tenants get the next processes.
                    self._waiting[waiting] = self._waiting.pop(waiting)
                    break
            if not waiters:
                self._waiting.pop(waiting, None)

    # --- start and end

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(self._program),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )

    def _discard(self, process: asyncio.subprocess.Process) -> None:
        """End a process, without waiting for its end."""
        reaping = in_background("end a bounded process", end(process))
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)
