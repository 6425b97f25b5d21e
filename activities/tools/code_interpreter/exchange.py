"""The two files without a name by which code and files come into the sandbox of `bubblewrap.py`, and state and files
go out.

The file that comes out may be the code's own work, and not that of `inside.py`: nothing in it is believed. What it can
do is what the code may do anyway: name the container's files, and their contents.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

from open_responses.tool_use.container_files import MOST_FILES

_BLOCK_BYTES = 4096
_CHUNK_BYTES = 1024 * 1024
_BEGUN = b"begun\n"
_ENDED = "The code ended before its variables and files were kept."
_LENGTH = struct.Struct("<Q")
# What a name or a path can do wrong that no disk has to do with.
_ODD_PATH = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


class NotLeft(Exception):
    """The run has left nothing that can be kept. The message says why, to the model."""


def write_given(
    given: IO[bytes],
    code: str,
    state: bytes | None,
    files: Path,
    resources: Mapping[str, int],
    most_state: int,
) -> None:
    """Write the code, the state and the files for `inside.py`."""
    paths = list(_files(files))
    head = {
        "code": code,
        "state": None if state is None else len(state),
        "files": [(path.relative_to(files).as_posix(), path.stat().st_size) for path in paths],
        "limits": resources,
        "most_state": most_state,
        "most_files": MOST_FILES,
    }
    given.write(json.dumps(head).encode() + b"\n" + (state or b""))
    for path in paths:
        with path.open("rb") as file:
            shutil.copyfileobj(file, given, _CHUNK_BYTES)
    given.seek(0)


def has_begun(left: IO[bytes]) -> bool:
    """Whether the sandbox has started."""
    return os.fstat(left.fileno()).st_size > 0


def size_on_disk(files: Path) -> int:
    """The bytes of all files, in whole blocks."""
    return sum(-(-path.stat().st_size // _BLOCK_BYTES) * _BLOCK_BYTES for path in _files(files))


def put_back(left: IO[bytes], files: Path, most_state: int, most_index: int) -> bytes:
    """Make the folder as the run has left it. Returns the state. Raises NotLeft.

    A file that the run has not changed stays as it is.
    """
    size, count, listed, room = _index(left, most_index)
    if size > most_state:
        raise NotLeft(f"The code ran, but its variables are lost: at most {most_state} bytes are kept.")
    if count > MOST_FILES or len(listed) > MOST_FILES:
        raise NotLeft(f"There would be {max(count, len(listed))} files, and at most {MOST_FILES} are kept.")
    if size + sum(length for _, length in listed if length is not None) > room:
        raise NotLeft(_ENDED)
    unchanged = {name for name, length in listed if length is None}
    for path in list(_files(files)):
        if path.relative_to(files).as_posix() not in unchanged:
            path.unlink()
    for parent, _, _ in os.walk(files, topdown=False):
        if Path(parent) != files:
            with contextlib.suppress(OSError):
                os.rmdir(parent)
    left.seek(len(_BEGUN))
    state = left.read(size)
    for name, length in listed:
        if length is not None:
            try:
                _write(files / name, left, length)
            except OSError as error:
                if error.errno not in _ODD_PATH:
                    raise
                raise NotLeft(f"The file {name[:200]!r} cannot be kept: {os.strerror(error.errno)}.") from error
    return state


def _index(left: IO[bytes], most_index: int) -> tuple[int, int, list[tuple[str, int | None]], int]:
    """The size of the state, the number of files, the path and size of each (None for one that has not changed), and
    the bytes before the index."""
    end = left.seek(0, os.SEEK_END) - _LENGTH.size
    try:
        left.seek(end)
        (length,) = _LENGTH.unpack(left.read())
        if not 0 < length <= most_index:
            raise ValueError
        left.seek(end - length)
        index = json.loads(left.read(length))
        size, count = index["state"], index["count"]
        listed = [(_inner(path), bytes_) for path, bytes_ in index["files"]]
        sizes = [size, count, *(bytes_ for _, bytes_ in listed if bytes_ is not None)]
        if not all(type(one) is int and one >= 0 for one in sizes):
            raise ValueError
    except (ValueError, TypeError, KeyError, OSError, struct.error, RecursionError) as error:
        raise NotLeft(_ENDED) from error
    return size, count, listed, end - length - len(_BEGUN)


def _inner(path: object) -> str:
    """Raises ValueError for a path that leads out of the folder."""
    if not isinstance(path, str) or "\0" in path or str(PurePosixPath(path)) != path:
        raise ValueError
    if path == "." or path.startswith("/") or ".." in path.split("/"):
        raise ValueError
    os.fsencode(path)
    return path


def _write(target: Path, left: IO[bytes], length: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        while length > 0:
            data = left.read(min(length, _CHUNK_BYTES))
            file.write(data)
            length -= len(data)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent, name)
