"""Runs a model's code in CPython, in a sandbox of the kernel's that `bwrap` makes: namespaces of its own for users,
processes, files, network and IPC.

What this prevents: what `sandbox.py` prevents, for a Python that could do it. The code is no user of the machine, sees
no process but its own, has no network, and reads only the paths that the configuration names. All that it may write to
is the folder of its container, its own state, and a small `/tmp`. Everything ends with the run: the kernel ends all
processes of the sandbox with the first, and that one with the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from activities.tools.code_interpreter.code import LOST, Ran, joined, unchanged, why_crashed
from activities.tools.code_interpreter.sandbox import MIB, Limits, Printed, Slots, limits_of, wait_seconds_of
from open_responses.config_tables.interpreter import CodeInterpreterConfig
from open_responses.tool_use.container_files import FOLDER

_INSIDE = Path(__file__).with_name("inside.py")
_WORK, _PROGRAM = "/run/code", "/run/inside.py"
_STATE = b"cpython:1\n"
_NOBODY = 65534
# Of util-linux. The event loop of a worker cannot change the user of a child.
_AS_NOBODY = ("setpriv", "--reuid", str(_NOBODY), "--regid", str(_NOBODY), "--clear-groups") if os.getuid() == 0 else ()
_CHILD = re.compile(rb'"child-pid":\s*(\d+)')
_TMP_BYTES = 64 * MIB
_LOOK_SECONDS = 0.1
_BLOCK_BYTES = 4096
# Of the interpreter itself, beside the memory that the code may use.
_OWN_BYTES = 96 * MIB
_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """The sandbox.

    Attributes:
        command: The program `bwrap`.
        python: The Python inside.
        read_only: The paths of the machine that are in the sandbox.
        processes: The most processes and threads of a run.
    """

    command: str
    python: str
    read_only: tuple[str, ...]
    processes: int


class BubblewrapPython:
    """Runs code. Each run has a sandbox of its own.

    Args:
        sandbox: The sandbox.
        limits: The limits of each run.
        at_once: The most runs at a time; further runs wait for one.
        wait_seconds: The longest wait.
    """

    def __init__(self, sandbox: Bubblewrap, limits: Limits, *, at_once: int, wait_seconds: float) -> None:
        self._sandbox = sandbox
        self._limits = limits
        self._slots = Slots(at_once, wait_seconds=wait_seconds)

    async def run(self, code: str, state: bytes | None, files: Path) -> Ran:
        """Run the code on a state. Every outcome is logs that the model can read. Raises Busy."""
        async with self._slots.one(), _work_folder() as work:
            return await self._run(code, state, files, work)

    async def close(self) -> None:
        """There is nothing to end: no process outlives its run."""

    async def _run(self, code: str, state: bytes | None, files: Path, work: Path) -> Ran:
        limits, printed = self._limits, Printed(self._limits.output_bytes)
        await asyncio.to_thread((work / "code.py").write_text, code, "utf-8", "surrogatepass")
        lost = state is not None and not state.startswith(_STATE)
        if state is not None and not lost:
            await asyncio.to_thread((work / "state").write_bytes, state[len(_STATE) :])
        await asyncio.to_thread(_give_away, files, work)
        running = await _Running.start(self._sandbox.command, self._arguments(files, work))
        watching = asyncio.create_task(self._is_filling(files, work))
        printing = asyncio.create_task(running.print(printed))
        try:
            async with asyncio.timeout(limits.longest_seconds):
                await asyncio.wait([watching, printing], return_when=asyncio.FIRST_COMPLETED)
                status = None if watching.done() else await running.process.wait()
        except TimeoutError:
            return self._failure(printed, why_crashed(timed_out=True, limits=limits), lost)
        finally:
            watching.cancel()
            printing.cancel()
            await running.end()
            await asyncio.gather(watching, printing, return_exceptions=True)
        if not await asyncio.to_thread(os.path.lexists, work / "begun"):
            raise RuntimeError(f"the sandbox could not be started: {printed.text[:500]}")
        if status is None:
            return self._failure(printed, f"The code may write {limits.written_bytes} bytes to files.", lost)
        if status not in (0, 1):
            memory = f"{limits.memory_bytes // MIB} MiB of memory in each process"
            why = f"The code was stopped: it may use {memory}, and {limits.seconds:g} seconds of a processor."
            return self._failure(printed, why, lost)
        left = await asyncio.to_thread(_read_state, work / "state", limits.state_bytes)
        if left is None:
            most = f"The code ran, but its variables are lost: at most {limits.state_bytes} bytes are kept."
            return self._failure(printed, most, lost)
        return Ran(f"{LOST if lost else ''}{printed.text}", failed=status == 1, state=_STATE + left)

    def _failure(self, printed: Printed, message: str, lost: bool) -> Ran:
        return Ran(f"{LOST if lost else ''}{unchanged(joined(printed.text, message))}", failed=True, state=None)

    async def _is_filling(self, files: Path, work: Path) -> None:
        """Return once the run fills the disk. Each file has a limit of its own; this is for all of them."""
        most = await asyncio.to_thread(_size, files) + self._limits.written_bytes + self._limits.state_bytes + MIB
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            if await asyncio.to_thread(_size, files, work) > most:
                return

    def _arguments(self, files: Path, work: Path) -> list[str]:
        sandbox, limits = self._sandbox, self._limits
        seconds, memory = max(1, round(limits.seconds)), limits.memory_bytes + _OWN_BYTES
        resources = {
            "RLIMIT_AS": memory,
            "RLIMIT_CPU": seconds,
            "RLIMIT_FSIZE": limits.written_bytes + limits.state_bytes,
            "RLIMIT_NPROC": sandbox.processes,
            "RLIMIT_NOFILE": 256,
            "RLIMIT_CORE": 0,
        }
        shown = [option for path in sandbox.read_only for option in ("--ro-bind-try", path, path)]
        return [
            *(
                "--unshare-all",
                "--unshare-user",
                "--disable-userns",
                "--die-with-parent",
                "--new-session",
                "--cap-drop",
                "ALL",
            ),
            *("--uid", str(_NOBODY), "--gid", str(_NOBODY), "--hostname", "sandbox", "--clearenv"),
            *("--setenv", "HOME", "/tmp", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8"),
            *shown,
            *("--proc", "/proc", "--dev", "/dev", "--size", str(_TMP_BYTES), "--tmpfs", "/tmp"),
            *("--bind", str(files), FOLDER, "--bind", str(work), _WORK, "--ro-bind", str(_INSIDE), _PROGRAM),
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", FOLDER),
            *(sandbox.python, "-I", "-B", "-u", _PROGRAM, json.dumps(resources)),
        ]


def bubblewrap_of(table: CodeInterpreterConfig, *, written_bytes: int) -> BubblewrapPython:
    """What runs the code with the limits of the configuration."""
    given = table.bubblewrap
    sandbox = Bubblewrap(given.command, given.python, given.read_only, given.max_processes)
    limits = limits_of(table, written_bytes=written_bytes)
    at_once = table.processes or os.cpu_count() or 1
    return BubblewrapPython(sandbox, limits, at_once=at_once, wait_seconds=wait_seconds_of(table))


@dataclass(slots=True)
class _Running:
    """A sandbox that runs. `info` has the id of the first process in it: the kernel ends all others with that one."""

    process: asyncio.subprocess.Process
    info: int

    @classmethod
    async def start(cls, command: str, arguments: list[str]) -> _Running:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            process = await asyncio.create_subprocess_exec(
                *(*_AS_NOBODY, command, "--info-fd", str(writing), *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                pass_fds=[writing],
                # The first process in the sandbox has this environment, and the code can read it.
                env={},
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return cls(process, reading)

    async def print(self, printed: Printed) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(_CHUNK_BYTES):
            printed("stdout", data.decode("utf-8", "replace"))

    async def end(self) -> None:
        """End all processes. Killing `bwrap` itself first would leave the others to the machine's first process."""
        told = b""
        with contextlib.suppress(OSError):
            told = os.read(self.info, 4096)
        os.close(self.info)
        found = _CHILD.search(told)
        with contextlib.suppress(ProcessLookupError):
            if self.process.returncode is None and found is not None:
                os.kill(int(found[1]), signal.SIGKILL)
            elif self.process.returncode is None:
                self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def _work_folder() -> AsyncIterator[Path]:
    """A folder for the code and the state of one run, beside those of `activities/tool_calls/code_folders.py`, whose
    sweep removes it as well if the worker dies."""
    work = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix=f"open_responses-code-{os.getpid()}-"))
    try:
        yield work
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


def _give_away(*folders: Path) -> None:
    """Where the worker is root, the code's processes belong to nobody: root has no limit on its processes."""
    if not _AS_NOBODY:
        return
    for folder in folders:
        for parent, _, names in os.walk(folder):
            os.chown(parent, _NOBODY, _NOBODY)
            for name in names:
                os.chown(os.path.join(parent, name), _NOBODY, _NOBODY, follow_symlinks=False)


def _read_state(path: Path, most: int) -> bytes | None:
    """The state that the run has left, if it is a file of its own and small enough. The code may have put a link to a
    file of the worker's there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(most + 1)
    return data if len(data) <= most else None


def _size(*folders: Path) -> int:
    """The bytes of all files, each of them as one block at least."""
    total = 0
    for folder in folders:
        for parent, inner, names in os.walk(folder):
            for name in (*inner, *names):
                with contextlib.suppress(OSError):
                    total += max(_BLOCK_BYTES, os.lstat(os.path.join(parent, name)).st_size)
    return total
