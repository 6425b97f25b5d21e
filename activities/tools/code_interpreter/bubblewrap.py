"""Runs a model's code in CPython, in a sandbox of the kernel's that `bwrap` makes: namespaces of its own for users,
processes, files, network and IPC.

What this prevents: what `sandbox.py` prevents, for a Python that could do it. The code is no user of the machine, sees
no process but its own, has no network, and reads only the paths that the configuration names. Everything ends with the
run: the kernel ends all processes of the sandbox with the first, and that one with the worker.

No file system of the machine can be written in the sandbox: the code could fill it with files that it hides from a
count (in a directory that nobody may list, or without a name), and leave what the worker cannot remove. The container's
folder and `/tmp` are in memory, and the kernel bounds their sizes. The files come in and go out by two files without a
name (`exchange.py`).
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
import shutil
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from activities.tools.code_interpreter.code import LOST, Ran, joined, unchanged, why_crashed
from activities.tools.code_interpreter.exchange import NotLeft, has_begun, put_back, size_on_disk, write_given
from activities.tools.code_interpreter.sandbox import MIB, Limits, Printed, Slots, limits_of, wait_seconds_of
from open_responses.config_tables.interpreter import CodeInterpreterConfig
from open_responses.tool_use.container_files import FOLDER

_INSIDE = Path(__file__).with_name("inside.py")
_PROGRAM = "/run/inside.py"
_STATE = b"cpython:1\n"
_NOBODY = 65534
# Of util-linux. The event loop of a worker cannot change the user of a child.
_AS_NOBODY = ("--reuid", str(_NOBODY), "--regid", str(_NOBODY), "--clear-groups")
_CHILD = re.compile(rb'"child-pid":\s*(\d+)')
_TMP_BYTES = 64 * MIB
# For the index of the files that the code leaves.
_INDEX_BYTES = 8 * MIB
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
        # The sandbox starts without an environment, and so without the worker's PATH. Where the worker is root, the
        # code's processes belong to nobody: root has no limit on its processes.
        self._command = [_program(sandbox.command)]
        if os.getuid() == 0:
            self._command = [_program("setpriv"), *_AS_NOBODY, *self._command]
        self._limits = limits
        self._slots = Slots(at_once, wait_seconds=wait_seconds)

    async def run(self, code: str, state: bytes | None, files: Path) -> Ran:
        """Run the code on a state. Every outcome is logs that the model can read. Raises Busy."""
        async with self._slots.one():
            return await self._run(code, state, files)

    async def close(self) -> None:
        """There is nothing to end: no process outlives its run."""

    async def _run(self, code: str, state: bytes | None, files: Path) -> Ran:
        limits, printed = self._limits, Printed(self._limits.output_bytes)
        lost = state is not None and not state.startswith(_STATE)
        earlier = state[len(_STATE) :] if state is not None and not lost else None
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as left:
            most = await asyncio.to_thread(size_on_disk, files) + limits.written_bytes + MIB
            resources = self._resources(most)
            await asyncio.to_thread(write_given, given, code, earlier, files, resources, limits.state_bytes)
            status = None
            running = await _Running.start(self._command, self._arguments(most, left.fileno()), given, left)
            try:
                async with asyncio.timeout(limits.longest_seconds):
                    await running.print(printed)
                    status = await running.process.wait()
            except TimeoutError:
                return self._failure(printed, why_crashed(timed_out=True, limits=limits), lost)
            finally:
                await running.end()
            if not await asyncio.to_thread(has_begun, left):
                raise RuntimeError(f"the sandbox could not be started: {printed.text[:500]}")
            if status not in (0, 1):
                memory = f"{limits.memory_bytes // MIB} MiB of memory in each process"
                why = f"The code was stopped: it may use {memory}, and {limits.seconds:g} seconds of a processor."
                return self._failure(printed, why, lost)
            try:
                kept = await asyncio.to_thread(put_back, left, files, limits.state_bytes, _INDEX_BYTES)
            except NotLeft as why_not:
                return self._failure(printed, str(why_not), lost)
        return Ran(f"{LOST if lost else ''}{printed.text}", failed=status == 1, state=_STATE + kept)

    def _failure(self, printed: Printed, message: str, lost: bool) -> Ran:
        return Ran(f"{LOST if lost else ''}{unchanged(joined(printed.text, message))}", failed=True, state=None)

    def _resources(self, most_bytes: int) -> dict[str, int]:
        """The limits of each process. `most_bytes` is the size of the container's folder."""
        return {
            "RLIMIT_AS": self._limits.memory_bytes + _OWN_BYTES,
            "RLIMIT_CPU": max(1, round(self._limits.seconds)),
            # The file by which the state and the files go out is on the machine's disk.
            "RLIMIT_FSIZE": most_bytes + self._limits.state_bytes + 2 * _INDEX_BYTES,
            "RLIMIT_NPROC": self._sandbox.processes,
            "RLIMIT_NOFILE": 256,
            "RLIMIT_CORE": 0,
        }

    def _arguments(self, most_bytes: int, left: int) -> list[str]:
        sandbox = self._sandbox
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
            *("--size", str(most_bytes), "--tmpfs", FOLDER, "--ro-bind", str(_INSIDE), _PROGRAM),
            *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", FOLDER),
            *(sandbox.python, "-I", "-B", "-u", _PROGRAM, str(left)),
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
    """A sandbox that runs. `first` is a descriptor of the first process in it: the kernel ends all others with that
    one. It is None if there is no such process."""

    process: asyncio.subprocess.Process
    first: int | None = None

    @classmethod
    async def start(cls, command: list[str], arguments: list[str], given: IO[bytes], left: IO[bytes]) -> _Running:
        with contextlib.ExitStack() as ours:
            with contextlib.ExitStack() as theirs:
                info, tells = _pipe(reader=ours, writer=theirs)
                waits, goes_on = _pipe(reader=theirs, writer=ours)
                process = await asyncio.create_subprocess_exec(
                    *(*command, "--info-fd", str(tells), "--block-fd", str(waits), *arguments),
                    stdin=given,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    pass_fds=[tells, waits, left.fileno()],
                    # The first process in the sandbox has this environment, and the code can read it.
                    env={},
                )
            running = cls(process)
            try:
                told = b""
                while b"}" not in told:
                    await _readable(info)
                    data = os.read(info, 4096)
                    if not data:
                        break
                    told += data
                found = _CHILD.search(told)
                if found is not None:
                    # The process waits, so that its id is no other one's.
                    with contextlib.suppress(ProcessLookupError):
                        running.first = os.pidfd_open(int(found[1]))
                with contextlib.suppress(BrokenPipeError):
                    os.write(goes_on, b"1")
            except BaseException:
                await running.end()
                raise
        return running

    async def print(self, printed: Printed) -> None:
        assert self.process.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await self.process.stdout.read(_CHUNK_BYTES):
            printed("stdout", decoder.decode(data))
        printed("stdout", decoder.decode(b"", final=True))

    async def end(self) -> None:
        """End all processes, and return once the last is gone. Killing `bwrap` itself first would leave the others to
        the machine's first process."""
        if self.first is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        else:
            try:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.first, signal.SIGKILL)
                await _readable(self.first)
            finally:
                os.close(self.first)
        assert self.process.stdout is not None
        while await self.process.stdout.read(_CHUNK_BYTES):
            # asyncio waits for the end of an output that nobody reads, and does not see it.
            pass
        await self.process.wait()


def _pipe(*, reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe. Each stack closes its end."""
    reads, writes = os.pipe()
    reader.callback(os.close, reads)
    writer.callback(os.close, writes)
    return reads, writes


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _program(command: str) -> str:
    found = shutil.which(command)
    return command if found is None else os.path.abspath(found)
