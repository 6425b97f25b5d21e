"""Reads a file's text in a process of its own (`parse_process.py`), and cuts it into chunks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import open_responses
from open_responses.config_tables.vector_stores import VectorStoresConfig
from open_responses.io.child_processes import end
from open_responses.io.files.parse_process import NO_MEMORY
from open_responses.io.files.storage import Chunk
from open_responses.schema.vector_store_bodies import IngestionErrorCode

_ROOT = Path(open_responses.__file__).parents[1]
# Only these variables are passed on: others have the keys of providers.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
_LONGEST_LINE = 16 * 1024 * 1024
_WALL_PER_CPU = 4
"""A process that is stopped uses no CPU time: it is ended after so much more time by the clock."""
_LIMITS = {-signal.SIGXCPU: "time", -signal.SIGKILL: "time or memory", NO_MEMORY: "memory", -signal.SIGABRT: "memory"}


class FileUnreadable(Exception):
    """A file that cannot be ingested, for a reason that another attempt does not change."""

    def __init__(self, code: IngestionErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: IngestionErrorCode = code


async def read_chunks(
    path: Path, name: str, chunk_tokens: int, overlap_tokens: int, limits: VectorStoresConfig
) -> list[Chunk]:
    """Read a file, and cut its text into chunks.

    Args:
        path: The file.
        name: The name that its uploader gave it.
        chunk_tokens: The most tokens of a chunk.
        overlap_tokens: The most tokens that a chunk repeats of the one before it.
        limits: The limits on memory, CPU time and text.

    Raises:
        FileUnreadable: The file has no text, or exceeds a limit.
        OSError: No process can be started.
    """
    order = {
        "path": str(path),
        "name": name,
        "memory_bytes": limits.parse_memory_bytes,
        "seconds": limits.parse_seconds,
        "text_bytes": limits.max_text_bytes,
        "chunk_tokens": chunk_tokens,
        "overlap_tokens": overlap_tokens,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "open_responses.io.files.parse_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | {"PYTHONPATH": _python_path()},
        limit=_LONGEST_LINE,
    )
    try:
        async with asyncio.timeout(limits.parse_seconds * _WALL_PER_CPU):
            return await _answer(process, json.dumps(order).encode())
    except TimeoutError:
        raise FileUnreadable("invalid_file", "The file takes too much time to read. Split it.") from None
    finally:
        await end(process)


async def _answer(process: asyncio.subprocess.Process, order: bytes) -> list[Chunk]:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(ConnectionError):
        process.stdin.write(order + b"\n")
        await process.stdin.drain()
    chunks: list[Chunk] = []
    async for line in process.stdout:
        found = json.loads(line)
        if "text" in found:
            chunks.append(Chunk(found["text"], found["overlap"]))
        elif found["error"] is None:
            return chunks
        else:
            raise FileUnreadable(found["error"], found["message"])
    status = await process.wait()
    what = _LIMITS.get(status)
    raise FileUnreadable(
        "invalid_file",
        "The file cannot be read: it is broken in a way that ends its reader."
        if what is None
        else f"The file takes too much {what} to read. Split it.",
    )


def _python_path() -> str:
    """Where this package is, and what the process that reads was given beside."""
    given = os.environ.get("PYTHONPATH")
    return str(_ROOT) if not given else f"{_ROOT}{os.pathsep}{given}"
