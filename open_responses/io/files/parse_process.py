"""The program of the processes that read files: one file each, within limits on memory and CPU time.

It writes one JSON object for each chunk of the text to standard output, and one at the end that says how it ended. The
kernel enforces the limits. What this prevents: a file that takes a worker's memory (a small archive may hold
gigabytes), keeps it busy, or makes a library fail in an unforeseen way.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from open_responses.io.files.chunking import chunks_of, estimated_tokens
from open_responses.io.files.text_of_files import Unreadable, text_of_file

NO_MEMORY = 3
"""The exit status after a MemoryError."""


def main() -> None:
    """Read the order from standard input: `path`, `name`, and the limits."""
    order = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memory, seconds = order["memory_bytes"], order["seconds"]
    with contextlib.suppress(OSError, ValueError):
        # macOS has no such limit.
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        os.nice(10)
    end: dict[str, str | None] = {"error": None}
    try:
        texts = _within(text_of_file(Path(order["path"]), order["name"]), order["text_bytes"])
        for text, overlap in chunks_of(texts, order["chunk_tokens"], order["overlap_tokens"], estimated_tokens):
            _write({"text": text, "overlap": overlap})
    except Unreadable as error:
        end = {"error": error.reason, "message": str(error)}
    _write(end)


def _within(texts: Iterable[str], most: int) -> Iterator[str]:
    """The texts, as UTF-8 can have them. Raises Unreadable for a text without letters, and for one that is too long."""
    size, has_text = 0, False
    for text in texts:
        clean = text.replace("\0", "").encode("utf-8", "replace").decode()
        size += len(clean.encode())
        has_text = has_text or bool(clean.strip())
        if size > most:
            raise Unreadable("invalid_file", f"The text of the file has more than {most} bytes. Split the file.")
        yield clean
    if not has_text:
        raise Unreadable("invalid_file", "The file has no text. If it has pictures of pages, run OCR on it first.")


def _write(value: dict[str, object] | dict[str, str | None]) -> None:
    sys.stdout.buffer.write(json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    try:
        main()
    except MemoryError:
        os._exit(NO_MEMORY)
    sys.stdout.flush()
