"""Runs one call of the code interpreter: the model's code, on the state that earlier calls left."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from activities.tools.code_interpreter.last_value import with_last_value
from activities.tools.code_interpreter.sandbox import MIB, Limits, Printed, Sandbox
from open_responses.tool_use.container_files import FOLDER

_SHOWN_CHARACTERS = 4000

LOST = "[Variables and functions of earlier calls are gone.]\n"
UNCHANGED = "Variables, functions and files are as they were before this call."


@dataclass(frozen=True, slots=True)
class Ran:
    """The outcome of a call.

    Attributes:
        logs: What the code printed, and its error's traceback.
        failed: The code ended with an error.
        state: The state after the call; None if the call left none, and the state before it stands.
    """

    logs: str
    failed: bool
    state: bytes | None


class Python(Protocol):
    """What runs the code: the embedded interpreter, or CPython in a sandbox."""

    async def run(self, code: str, state: bytes | None, files: Path) -> Ran:
        """Run the code on a state. Every outcome is logs that the model can read. Raises Busy."""
        ...

    async def close(self) -> None:
        """End the processes."""
        ...


class EmbeddedPython:
    """The embedded interpreter."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def run(self, code: str, state: bytes | None, files: Path) -> Ran:
        """Run the code. Raises Busy."""
        return await run_code(self._sandbox, code, state, files)

    async def close(self) -> None:
        """End the processes."""
        await self._sandbox.close()


class _StateLost(Exception):
    """The state cannot be loaded."""


async def run_code(sandbox: Sandbox, code: str, state: bytes | None, files: Path | None = None) -> Ran:
    """Run the code on a state. Every outcome, also a crash of the interpreter, is logs that the model can read.

    Args:
        sandbox: The processes.
        code: The code.
        state: The state, from a `Ran` of this server: a foreign one is code that the interpreter trusts.
        files: A folder with the container's files, in which the code reads and writes; none if None.
    """
    from pydantic_monty import MontyCrashedError, MontyError, MontyRuntimeError, MontySyntaxError, MountDir

    # In a thread: a hundred thousand tokens take a third of a second.
    prepared = await asyncio.to_thread(with_last_value, code)
    limits, printed = sandbox.limits, Printed(sandbox.limits.output_bytes)
    mount = None
    if files is not None:
        mount = MountDir(
            host_path=files,
            virtual_path=FOLDER,
            mode="read-write",
            write_bytes_limit=limits.written_bytes,
            memory_usage_limit=limits.memory_bytes,
        )
    try:
        async with sandbox.session() as session:
            if state is not None:
                try:
                    await session.load_session(state)
                except MontyRuntimeError as error:
                    raise _StateLost from error
            failure = ""
            try:
                async with asyncio.timeout(limits.longest_seconds):
                    await session.feed_run(prepared, print_callback=printed, mount=mount)
            except (MontyRuntimeError, MontySyntaxError) as error:
                if _is_spent(error):
                    return _failure(printed, shown_error(error, limits))
                failure = shown_error(error, limits)
            left = await session.dump()
    except _StateLost:
        # It is of another version of the interpreter.
        ran = await run_code(sandbox, code, None, files)
        return replace(ran, logs=f"{LOST}{ran.logs}")
    except MontyCrashedError as error:
        return _failure(printed, why_crashed(error.timed_out, limits))
    except TimeoutError:
        # Reading and writing files does not count as the code's own time.
        return _failure(printed, why_crashed(timed_out=True, limits=limits))
    except MontyError as error:
        return _failure(printed, f"The interpreter could not run the code: {str(error)[:2000]}")
    if len(left) > limits.state_bytes:
        too_large = (
            f"The code ran, but its variables take {len(left)} bytes, and at most {limits.state_bytes} are kept."
        )
        return _failure(printed, too_large)
    return Ran(joined(printed.text, failure), bool(failure), left)


def _failure(printed: Printed, message: str) -> Ran:
    """A call after which the state before it stands."""
    return Ran(unchanged(joined(printed.text, message)), failed=True, state=None)


def unchanged(logs: str) -> str:
    """The output of a call after which the state before it stands."""
    return f"{logs} {UNCHANGED}"


def joined(text: str, message: str) -> str:
    """The output, and a message behind it in a line of its own."""
    return f"{text}\n{message}" if text and message and not text.endswith("\n") else text + message


def _is_spent(error: Exception) -> bool:
    """Whether a limit ended the run. The heap may then be broken off in the middle of an operation."""
    inner = error.exception() if hasattr(error, "exception") else error
    return isinstance(inner, TimeoutError | MemoryError | RecursionError) or "suspension" in str(inner)


def _why_spent(error: Exception, limits: Limits) -> str:
    inner = error.exception() if hasattr(error, "exception") else error
    if isinstance(inner, TimeoutError):
        return f"The code may run for {limits.seconds:g} seconds."
    if isinstance(inner, MemoryError):
        return f"The code may use {limits.memory_bytes // MIB} MiB of memory."
    return "The code reached a limit of the interpreter."


def why_crashed(timed_out: bool, limits: Limits) -> str:
    """The message about an interpreter whose process is gone."""
    if timed_out:
        return f"The code did not end within its limit of {limits.seconds:g} seconds, and was stopped."
    return "The interpreter's process died while it ran this code."


def shown_error(error: Exception, limits: Limits) -> str:
    """The traceback as the model reads it, and the limit that the code reached, if it did."""
    display = getattr(error, "display", None)
    text = str(display("traceback") if display is not None else error)
    if len(text) > _SHOWN_CHARACTERS:
        text = f"{text[: _SHOWN_CHARACTERS // 2]}\n…\n{text[-_SHOWN_CHARACTERS // 2 :]}"
    return f"{text}\n{_why_spent(error, limits)}" if _is_spent(error) else text
