"""The processes that check schemas, shared fairly between tenants. They are started at need, kept, and replaced.

One tenant never has all of them, and the waiting tenants are served in rotation, so a tenant whose checks run into the
limits delays its own checks and not those of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from open_responses.errors import Unavailable
from open_responses.io.background import in_background
from open_responses.io.child_processes import end, exchange
from open_responses.io.schema_checks.process import NO_MEMORY
from open_responses.json_types import JsonObject

log = structlog.get_logger(__name__)

SIZE = 2
"""The most processes. One tenant has all but one at most."""
_WALL_SECONDS = 30.0
"""The longest time of one check. The kernel's limit on CPU time does not end a process that is stopped."""
_PROGRAM = Path(__file__).with_name("process.py")
# Exit statuses that mean that a limit was reached.
_LIMITS = {-signal.SIGXCPU: "CPU time", -signal.SIGABRT: "memory", NO_MEMORY: "memory"}
# Only these variables are passed on: others have the keys of providers.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


class CheckExceeded(Exception):
    """A check that exceeded the limits of its process, or ended it twice."""


class SchemaProcesses:
    """The processes. The first check starts one; `close` ends them all."""

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._idle: list[asyncio.subprocess.Process] = []
        self._reaping: set[asyncio.Task[None]] = set()
        self._running: Counter[str] = Counter()
        # Tenants in the order in which they get the next process.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    async def ask(self, request: JsonObject, tenant: str) -> list[str | None]:
        """Send a request to a process, and return the reply of `process.py`. A cancelled call ends its process.

        Raises:
            CheckExceeded: The check exceeded its limits.
            Unavailable: No process can be started.
        """
        raw = json.dumps(request).encode()
        async with self._slot(tenant):
            for _ in range(2):
                answer = await self._once(raw, tenant)
                if answer is not None:
                    return answer
        raise CheckExceeded("the process that checks it died twice")

    async def close(self) -> None:
        """End all idle processes, and wait for the ends of all."""
        while self._idle:
            self._discard(self._idle.pop())
        await asyncio.gather(*self._reaping, return_exceptions=True)

    async def _once(self, raw: bytes, tenant: str) -> list[str | None] | None:
        """The reply; None if the process died for another reason than its limits."""
        process = self._idle.pop() if self._idle else await _start()
        is_whole = False
        try:
            async with asyncio.timeout(_WALL_SECONDS):
                answer: list[str | None] = json.loads(await exchange(process, raw))
            is_whole = True
        except TimeoutError:
            log.warning("schema_check_exceeded", tenant=tenant, limit="wall")
            raise CheckExceeded(f"it takes more than {_WALL_SECONDS:g} seconds") from None
        except (OSError, asyncio.IncompleteReadError):
            exceeded = _LIMITS.get(await process.wait())
            if exceeded is not None:
                log.warning("schema_check_exceeded", tenant=tenant, limit=exceeded)
                raise CheckExceeded(f"it takes too much {exceeded}") from None
            log.warning("schema_check_died", tenant=tenant, status=process.returncode)
            return None
        finally:
            if is_whole:
                self._idle.append(process)
            else:
                self._discard(process)
        return answer

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

    # --- ends

    def _discard(self, process: asyncio.subprocess.Process) -> None:
        """End a process, without waiting for its end."""
        reaping = in_background("end a checking process", end(process))
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)


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
        raise Unavailable(f"a schema cannot be checked now: no process can be started ({error.strerror})") from error
