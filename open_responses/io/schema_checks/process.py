"""The program of the processes that compile schemas and validate texts.

It reads one request after the other from standard input, and writes each reply to standard output. Both are frames of a
length (4 bytes, big-endian) and JSON. The kernel bounds its memory, and its CPU time for each request. A process that
exceeds a bound dies, which the parent reports as the result. The process ends when standard input ends, so it outlives
its parent by one request at most.

The module imports nothing of the application, so a process starts in some 50 ms and takes some 20 MB.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

import jsonschema_rs

LENGTH = struct.Struct(">I")
MEMORY_BYTES = 512 * 1024 * 1024
"""The address space. A new process uses some 50 MB of it, and a check of a megabyte of text 100 MB."""
CPU_SECONDS = 2
"""The CPU time of one request: wall time would reject valid answers on a busy machine. The kernel counts whole seconds,
so the limit is between this and one more."""

NO_MEMORY = 3
"""The exit status after a MemoryError of Python. If the validator gets no memory, it aborts the process."""

_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000, size_limit=1_000_000, dfa_size_limit=1_000_000)
_SHOWN = 300
_BROKEN = (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError)


def schema_problem(schema: dict[str, Any]) -> str | None:
    """Why a schema cannot be used; None if it can."""
    try:
        _validator(schema)
    except _BROKEN as error:
        return str(error).splitlines()[0][:_SHOWN]
    return None


def text_problem(schema: dict[str, Any] | None, text: str) -> str | None:
    """Why a text is not JSON that is valid against a schema; None if it is. Without a schema it must be an object."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return f"it is not JSON ({error})"
    if schema is None:
        return None if isinstance(value, dict) else "it is not a JSON object"
    try:
        validator = _validator(schema)
        misfit = None if validator.is_valid(value) else next(iter(validator.iter_errors(value)), None)
    except _BROKEN as broken:
        return f"the schema cannot be used: {str(broken)[:_SHOWN]}"
    if misfit is None:
        return None
    at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in misfit.instance_path)
    return f"at ${at}: {misfit.message[:_SHOWN]}"


def is_valid(schema: dict[str, Any], text: str) -> bool:
    """Whether a text is JSON that is valid against a schema. Faster than `text_problem`, which finds the reason."""
    try:
        return _validator(schema).is_valid(json.loads(text, parse_constant=_refuse_constant))
    except (*_BROKEN, RecursionError):
        return False


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a value of JSON")


def _validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(schema, pattern_options=_PATTERNS, offline=True)


def _answer(request: dict[str, Any]) -> list[str | None]:
    """One problem, or none, for each text; without texts, for each schema."""
    schemas = request["schemas"]
    if "text" in request:
        return [text_problem(schemas[0] if schemas else None, request["text"])]
    return [schema_problem(schema) for schema in schemas]


def _allow_cpu(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, hard))


def _read(stream: BinaryIO) -> bytes | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    body = stream.read(size)
    return body if len(body) == size else None


def main() -> None:
    """Set the limits, and answer requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        # macOS has no such limit.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A large answer is a million objects without a cycle, and to scan them takes longer than to parse them.
    gc.disable()
    gc.freeze()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (raw := _read(source)) is not None:
        _allow_cpu(CPU_SECONDS)
        answer = json.dumps(_answer(json.loads(raw))).encode()
        sink.write(LENGTH.pack(len(answer)) + answer)
        sink.flush()
        gc.collect()


if __name__ == "__main__":
    try:
        main()
    except MemoryError:
        sys.exit(NO_MEMORY)
