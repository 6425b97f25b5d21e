"""Talks to a child process in frames over its standard input and output, and ends it.

A frame is a length (4 bytes, big-endian) and that many bytes. Programs that import nothing of the application, such as
`schema_checks/process.py`, have the format written out.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

LENGTH = struct.Struct(">I")


async def exchange(process: asyncio.subprocess.Process, *frames: bytes) -> bytes:
    """Send frames, and return the next one. Raises OSError and IncompleteReadError where the process has died."""
    assert process.stdin is not None
    assert process.stdout is not None
    for frame in frames:
        process.stdin.write(LENGTH.pack(len(frame)))
        process.stdin.write(frame)
    await process.stdin.drain()
    (size,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return await process.stdout.readexactly(size)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill the process, unless it has ended, and wait for its end."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
