"""The processes in which a model's code runs, and the limits that they keep.

What this prevents: code of a model that stops or fills the worker's process. Each run has a process of its own, which
ends with it, so that no run finds anything of another one. The code has no file system, no network and no other
process: the interpreter has no such calls (`SECURITY.md`, *Code of a model*).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from open_responses.config_tables.interpreter import InterpreterConfig

if TYPE_CHECKING:
    from pydantic_monty import AsyncMonty, AsyncMontySession, OSPolicy, ResourceLimits

MIB = 1024 * 1024
# Names that the code does not define, and calls to the host. The code cannot make the worker answer without end.
_MOST_SUSPENSIONS = 20_000
_RECURSION = 500
# The interpreter ends a run itself. After this time more, its process is killed.
_GRACE_SECONDS = 2.0
# For the state's way from and to the disk. The configuration leaves room for it.
_BESIDE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one run.

    Attributes:
        seconds: The longest time that the code runs, without the time in which it waits for tools.
        memory_bytes: The largest heap.
        output_bytes: The longest output, in UTF-8; the rest is left out, and the model reads so.
        state_bytes: The largest state: variables, functions and the code itself, as bytes.
        written_bytes: What the code may write to files in one run.
    """

    seconds: float = 30
    memory_bytes: int = 128 * MIB
    output_bytes: int = 100_000
    state_bytes: int = 4 * MIB
    written_bytes: int = 64 * MIB

    @property
    def longest_seconds(self) -> float:
        """The longest time of a run, with the time in which it sleeps, or reads and writes files."""
        return 2 * self.seconds + _GRACE_SECONDS


class Busy(Exception):
    """All processes are in use, and none became free in time."""


class Slots:
    """Bounds how many runs there are at a time.

    Args:
        at_once: The most runs; the number of processors if None.
        wait_seconds: The longest wait for a slot.
    """

    def __init__(self, at_once: int | None = None, *, wait_seconds: float = 60) -> None:
        self._free = asyncio.Semaphore(at_once or os.cpu_count() or 1)
        self._wait_seconds = wait_seconds

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """A slot. Raises Busy."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._free.acquire()
        except TimeoutError:
            raise Busy(f"no interpreter became free within {self._wait_seconds:.0f} seconds") from None
        try:
            yield
        finally:
            self._free.release()


class Sandbox:
    """A pool of interpreter processes. A process serves one run, and ends after it.

    Args:
        limits: The limits of each run.
        processes: The most processes at a time; further runs wait for one.
        wait_seconds: The longest wait for a process.
    """

    def __init__(self, limits: Limits, *, processes: int | None = None, wait_seconds: float = 60) -> None:
        self.limits = limits
        self._slots = Slots(processes, wait_seconds=wait_seconds)
        self._processes = processes or os.cpu_count() or 1
        self._wait_seconds = wait_seconds
        self._pool: AsyncMonty | None = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncMontySession]:
        """A process for one run. Raises Busy."""
        async with self._slots.one():
            pool = await self._opened()
            async with pool.checkout(script_name="code.py", limits=self._resources(), os_policy=self._policy()) as one:
                yield one

    async def close(self) -> None:
        """End the processes."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.__aexit__(None, None, None)

    async def _opened(self) -> AsyncMonty:
        async with self._opening:
            if self._pool is None:
                # Imported for the first run: a tenth of a second and ten megabytes that other workers do not need.
                from pydantic_monty import AsyncMonty

                pool = AsyncMonty(
                    min_processes=0,
                    max_processes=self._processes,
                    max_checkouts_per_worker=1,
                    checkout_timeout=self._wait_seconds,
                    request_timeout=self.limits.longest_seconds,
                    feed_duration_limit_grace=_GRACE_SECONDS,
                    turn_duration_limit_grace=_GRACE_SECONDS,
                )
                self._pool = await pool.__aenter__()
            return self._pool

    def _resources(self) -> ResourceLimits:
        return {
            "max_feed_duration_secs": self.limits.seconds,
            "max_turn_duration_secs": self.limits.seconds,
            "max_memory": self.limits.memory_bytes,
            "max_recursion_depth": _RECURSION,
            "max_suspensions": _MOST_SUSPENSIONS,
            "max_total_sleep_secs": self.limits.seconds,
        }

    def _policy(self) -> OSPolicy:
        return {"sleep": "system", "sleep_system_max": self.limits.seconds}


def sandbox_of(table: InterpreterConfig, *, written_bytes: int = 0) -> Sandbox:
    """The sandbox with the limits of a table of the configuration, in which code may write so much to files."""
    limits = limits_of(table, written_bytes=written_bytes)
    return Sandbox(limits, processes=table.processes, wait_seconds=wait_seconds_of(table))


def limits_of(table: InterpreterConfig, *, written_bytes: int) -> Limits:
    """The limits of a run."""
    return Limits(
        seconds=table.run_seconds,
        memory_bytes=table.memory_mb * MIB,
        output_bytes=table.max_output_kb * 1024,
        state_bytes=table.max_state_mb * MIB,
        written_bytes=written_bytes,
    )


def wait_seconds_of(table: InterpreterConfig) -> float:
    """The longest wait for a process. A run that has begun ends before the attempt's time does."""
    return table.timeout_seconds - 2 * table.run_seconds - _BESIDE_SECONDS


class Printed:
    """Takes the output of a run, up to a number of bytes. Further output is counted and dropped.

    `earlier_bytes` were printed in earlier steps of a program, of the same number.
    """

    def __init__(self, most_bytes: int, earlier_bytes: int = 0) -> None:
        self._limit = most_bytes
        self._most = max(0, most_bytes - earlier_bytes)
        self._kept: list[str] = []
        self._size = 0
        self._dropped = 0

    def __call__(self, stream: Literal["stdout", "stderr"], text: str) -> None:
        data = text.encode("utf-8", "replace")
        room = self._most - self._size
        if len(data) > room:
            self._dropped += len(data) - room
            data = data[:room]
            text = data.decode("utf-8", "ignore")
        self._size += len(data)
        if text:
            self._kept.append(text)

    @property
    def text(self) -> str:
        """The output, with a last line about the part that was dropped, unless an earlier step has said so."""
        text = "".join(self._kept)
        if self._dropped and self._most:
            text += f"\n[The output is longer than {self._limit} bytes; the rest is left out.]\n"
        return text
