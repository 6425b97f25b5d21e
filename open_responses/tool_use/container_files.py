"""The files of a container of the code interpreter, as its state lists them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

FOLDER = "/mnt/data"
"""The folder that the code sees. It is the code's current directory."""

MOST_FILES = 500
"""In one container."""
_LONGEST_SUFFIX = 20
"""In bytes, with its dot."""


@dataclass(frozen=True, slots=True)
class ContainerFile:
    """A file of a container.

    Attributes:
        id: `cfile_` and 48 hexadecimal digits. A file that is written again keeps its id.
        path: The path below `FOLDER`.
        bytes: The size.
        created_at: When it was written last, in Unix seconds.
        source: `user` for a file that a request or an upload has brought, `assistant` for one that code has written.
        content: The name under which the content is kept; None for a file of `/v1/files`.
        file_id: The file of `/v1/files` that it is. Its content is read from there, and ends with it.
    """

    id: str
    path: str
    bytes: int
    created_at: int
    source: Literal["user", "assistant"]
    content: str | None = None
    file_id: str | None = None


@dataclass(frozen=True, slots=True)
class ContainerCall:
    """A call whose effects a state has: its output, and the ids of the files that it has written."""

    logs: str
    written: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ContainerState:
    """A container after a call, or after a change of its files.

    Attributes:
        version: Counts the changes, from 1.
        calls: The newest calls whose effects it has, by their idempotency keys.
        state: The interpreter's state; None if there is none yet.
        files: The files.
        is_sealed: There is a state that cannot be opened. It may be another tenant's.
        is_deleted: A client has deleted the container, or it has expired.
        name: The name that its client has given.
        created_at: When it began, in Unix seconds.
        idle_minutes: It expires when it was not used for so long; None for the configuration's time.
    """

    version: int = 0
    calls: Mapping[str, ContainerCall] = field(default_factory=dict)
    state: bytes | None = None
    files: Sequence[ContainerFile] = ()
    is_sealed: bool = False
    is_deleted: bool = False
    name: str = ""
    created_at: int = 0
    idle_minutes: int | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a container that its tenant can use."""
        return self.version > 0 and not self.is_sealed and not self.is_deleted


class FilesRefused(Exception):
    """Files that cannot be kept. The message says why, to the model or the client."""


class FileGone(Exception):
    """The content of a file is gone: another change of the container has replaced it."""


def shortened_name(name: str, most_bytes: int) -> str:
    """Return a file's name of at most so many bytes of UTF-8. It keeps its suffix if that is a short one."""
    if len(name.encode("utf-8", "replace")) <= most_bytes:
        return name
    stem, suffix = os.path.splitext(name)
    if len(suffix.encode("utf-8", "replace")) > _LONGEST_SUFFIX:
        stem, suffix = name, ""
    end = len(suffix.encode("utf-8", "replace"))
    return stem.encode("utf-8", "replace")[: most_bytes - end].decode("utf-8", "ignore") + suffix


def check_files(files: Sequence[ContainerFile], most_bytes: int) -> None:
    """Raises FilesRefused for files that a container cannot have."""
    if len(files) > MOST_FILES:
        raise FilesRefused(f"There would be {len(files)} files, and at most {MOST_FILES} are kept.")
    size = sum(file.bytes for file in files)
    if size > most_bytes:
        raise FilesRefused(f"The files would take {size} bytes, and at most {most_bytes} are kept.")
