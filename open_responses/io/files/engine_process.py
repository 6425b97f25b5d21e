"""The program of the process that embeds and searches, for one API or worker process.

It reads one request after the other from standard input, and writes each answer to standard output: frames of a length
(4 bytes, big-endian) and JSON. It ends when standard input does. What this prevents: the API and the worker would load
the model and numpy, hold the event loop while they compute, and die with a library that fails.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import sqlite3
import sys
from typing import Any, BinaryIO

from open_responses.io.child_processes import LENGTH
from open_responses.io.files.embedding import EmbeddingFailed, vectors_of
from open_responses.io.files.storage import Weights
from open_responses.io.files.vector_search import VectorSearch


def _answer(request: dict[str, Any], search: VectorSearch) -> dict[str, Any]:
    provider = request["provider"]
    try:
        if request["do"] == "embed":
            vectors = vectors_of(request["texts"], provider)
            return {"vectors": [base64.b64encode(row.tobytes()).decode() for row in vectors]}
        vectors = vectors_of(request["queries"], provider)
        weights = Weights(request["embedding_weight"], request["text_weight"])
        found: list[tuple[int, str, float, str]] = []
        for number, index in enumerate(request["indexes"]):
            hits = search.search(
                index["path"], index["file_ids"], request["queries"], vectors, weights, request["most"]
            )
            found += [(number, *hit) for hit in hits]
        found.sort(key=lambda hit: -hit[2])
        return {"found": found[: request["most"]]}
    except EmbeddingFailed as error:
        return {"error": str(error), "is_final": error.is_final}
    except ValueError as error:
        return {"error": str(error), "is_final": True}
    except (sqlite3.Error, OSError) as error:
        return {"error": f"the index cannot be read: {error}", "is_final": False}


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = stream.read(size)
    return body if len(body) == size else None


def main() -> None:
    """Answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if len(sys.argv) > 1:
        with contextlib.suppress(OSError):
            os.nice(int(sys.argv[1]))
    search = VectorSearch()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (raw := _read(source)) is not None:
        answer = json.dumps(_answer(json.loads(raw), search)).encode()
        sink.write(LENGTH.pack(len(answer)) + answer)
        sink.flush()


if __name__ == "__main__":
    main()
