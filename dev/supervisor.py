"""Starts all parts in order, restarts what dies, stops all in reverse."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dev.services import Service, serving, stop, wait_ready

_START_SECONDS = 60.0
_POLL_SECONDS = 0.02
_LINES_OF_A_LOG = 12
_ANNOUNCE_SECONDS = 0.5
# A process that starts takes a core for seconds, and the one that takes over needs it now.
_NEXT_SPARE_SECONDS = 2.0
# A part that dies this often in ten seconds is broken: keep trying, but not in a frenzy.
_FRENZY = 5


class StartFailed(Exception):
    """A part did not come up. Its text says which, and the end of its log."""


@dataclass(slots=True, eq=False)
class Part:
    """A supervised service. `make` gives the service for each start, so that a restarted worker gets a new id.

    `spare` is a process that takes over by itself when this one dies, and then has its name; a new spare is started.
    `is_spare`: it is one, and has no pid file, since it serves no requests yet.
    """

    make: Callable[[], Service]
    on_death: Callable[[Service], Coroutine[Any, Any, None]] | None = None
    spare: Part | None = None
    is_spare: bool = False
    due: float | None = None
    """When a spare is to be started, after the one before has taken over."""
    service: Service = field(init=False)
    process: subprocess.Popen[bytes] = field(init=False)
    log_file: Path = field(init=False)
    log_start: int = 0
    """The length of the log before this start: what other starts have written is not shown."""
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=_FRENZY))


class Supervisor:
    """Starts the parts of each stage together, once those of the stages before are ready.

    `say` gets one line for each thing that a watcher would want to know.
    """

    def __init__(self, stages: Sequence[Sequence[Part]], data: Path, say: Callable[[str], None]) -> None:
        self._stages = stages
        self._data = data
        self._say = say
        self._started: list[Part] = []
        self._in_background: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start all parts, and wait until all but spare ones are ready. Raises StartFailed."""
        for stage in self._stages:
            for part in stage:
                self._launch(part)
                self._started.append(part)
                self._say(f"{part.service.name:<10} starting …")
            await self._all_ready([part for part in stage if not part.is_spare])
            for part in stage:
                if part.is_spare:
                    self._keep(self._say_ready(part, "ready", time.monotonic()))

    async def _all_ready(self, parts: Sequence[Part]) -> None:
        """Wait for the parts of a stage, and for the early end of any part. Raises StartFailed."""
        dying = asyncio.create_task(self._first_death())
        starting = {asyncio.create_task(self._start_of(part)) for part in parts}
        try:
            while waiting := {task for task in starting if not task.done()}:
                done, _ = await asyncio.wait({*waiting, dying}, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (dying, *starting):
                task.cancel()
            await asyncio.gather(dying, *starting, return_exceptions=True)

    async def _first_death(self) -> None:
        while True:
            for part in self._started:
                if part.process.poll() is not None:
                    how = _how(part.process.returncode)
                    raise StartFailed(f"{part.service.name} ended before it was ready ({how}). {self._tail(part)}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _start_of(self, part: Part) -> None:
        began = time.monotonic()
        if await wait_ready(part.service, part.process, _START_SECONDS):
            self._say(f"{part.service.name:<10} ready in {time.monotonic() - began:.1f} s")
        elif part.process.poll() is None:
            raise StartFailed(f"{part.service.name} is not ready after {_START_SECONDS:.0f} s. {self._tail(part)}")

    async def watch(self, stopping: asyncio.Event) -> None:
        """Restart each service that dies, until `stopping` is set."""
        while not stopping.is_set():
            for part in self._started:
                if part.due is not None:
                    self._launch_if_due(part, part.due)
                elif part.process.poll() is not None:
                    await self._revive(part)
            await asyncio.sleep(_POLL_SECONDS)

    async def stop(self) -> None:
        """Stop the services in reverse order, so that none loses one that it needs."""
        for task in self._in_background:
            task.cancel()
        for part in reversed(self._started):
            await stop(part.process)
            self._pid_file(part).unlink(missing_ok=True)
            self._say(f"{part.service.name:<10} stopped")

    async def _revive(self, part: Part) -> None:
        dead, code = part.service, part.process.returncode
        died = time.monotonic()
        part.deaths.append(died)
        frenzied = len(part.deaths) == _FRENZY and part.deaths[-1] - part.deaths[0] < 10
        self._say(f"{dead.name:<10} died ({_how(code)}); restarting{' in 5 s' if frenzied else ''}")
        if part.on_death is not None:
            await self._announce(part.on_death(dead))
        if frenzied:
            self._say(self._tail(part))
            await asyncio.sleep(5)
        if part.spare is not None and self._is_running(part.spare):
            self._promote(part, part.spare)
            self._keep(self._say_ready(part, "ready again, by the standby,", died))
        else:
            self._launch(part)
            self._keep(self._say_ready(part, "ready again", died))

    async def _say_ready(self, part: Part, what: str, since: float) -> None:
        """Say that a part is ready. If its process ends before, its next start is announced by itself."""
        process, service = part.process, part.service
        if await wait_ready(service, process, _START_SECONDS):
            self._say(f"{service.name:<10} {what} after {time.monotonic() - since:.1f} s")
        elif process.poll() is None:
            self._say(f"{service.name:<10} is not ready after {_START_SECONDS:.0f} s. {self._tail(part)}")

    def _keep(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._in_background.add(task)
        task.add_done_callback(self._in_background.discard)
        return task

    async def _announce(self, announcement: Coroutine[Any, Any, None]) -> None:
        """Before the start of another process, which takes long; but a server that is away holds up no restart."""
        await asyncio.wait({self._keep(announcement)}, timeout=_ANNOUNCE_SECONDS)

    def _is_running(self, part: Part) -> bool:
        return part in self._started and part.due is None and part.process.poll() is None

    def _promote(self, part: Part, spare: Part) -> None:
        """The spare goes on under the dead part's name; its log stays where it began."""
        part.process, part.service = spare.process, replace(serving(spare.service), name=part.service.name)
        part.log_file, part.log_start = spare.log_file, spare.log_start
        self._write_pid(part)
        spare.due = time.monotonic() + _NEXT_SPARE_SECONDS

    def _launch_if_due(self, part: Part, due: float) -> None:
        if time.monotonic() >= due:
            part.due = None
            self._launch(part)
            self._keep(self._say_ready(part, "ready", time.monotonic()))

    def _launch(self, part: Part) -> None:
        part.service = part.make()
        part.log_file = self._data / "logs" / f"{part.service.name}.log"
        part.log_start = part.log_file.stat().st_size if part.log_file.exists() else 0
        part.process = part.service.start(self._data / "logs")
        self._write_pid(part)

    def _write_pid(self, part: Part) -> None:
        if part.is_spare:
            return
        file = self._pid_file(part)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(part.process.pid))

    def _pid_file(self, part: Part) -> Path:
        return self._data / "pids" / f"{part.service.name}.pid"

    def _tail(self, part: Part) -> str:
        """The last lines that the process has logged."""
        with part.log_file.open("rb") as log:
            log.seek(part.log_start)
            lines = log.read().decode(errors="replace").splitlines()[-_LINES_OF_A_LOG:]
        if not lines:
            return f"Its log is empty: {part.log_file}"
        return "\n".join([f"The end of its log, {part.log_file}:", *(f"    {line}" for line in lines)])


def new_worker_id(index: int) -> str:
    """Never used twice: a restarted worker is another one."""
    return f"worker-{index}-{secrets.token_hex(4)}"


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
