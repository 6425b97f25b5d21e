"""The folder in which the code of one call finds a container's files, and leaves those that it writes.

It is a copy: the files themselves are never opened by the code. After the run, what has changed is read back, and
becomes part of the container's next version. The folder is removed with the run. A worker that is killed in the middle
leaves its folder. The next worker on the machine removes it as it starts, and each worker does before it makes one: a
folder is locked (`flock`) for as long as its worker lives. The id of a process would not say so: it is the same after
each restart of a container, and another one in each container that shares the directory.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import structlog

from open_responses.contracts import ToolError
from open_responses.ids import new_id
from open_responses.io.files.file_store import FileStore, StoredFile
from open_responses.io.store.containers import Containers
from open_responses.tool_use.container_files import MOST_FILES, ContainerFile, FilesRefused, check_files, shortened_name

log = structlog.get_logger(__name__)

_PREFIX = "open_responses-container-"
# In bytes. A file system takes 255; an upload's name has as many characters.
_LONGEST_NAME = 255
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
# The time of each file that the code has not written, in nanoseconds since 1970.
_UNCHANGED_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Changes:
    """The container's files after a run, and those among them that it has written."""

    files: Sequence[ContainerFile]
    written: Sequence[ContainerFile]


@dataclass(slots=True)
class CodeFolder:
    """The folder of one run. `known` are its files by their paths, each with its number on the disk."""

    path: Path
    tenant: str
    container_id: str
    containers: Containers
    most_bytes: int
    most_tenant_bytes: int
    known: dict[str, tuple[ContainerFile, int]] = field(default_factory=dict)
    _contents: list[str] = field(default_factory=list)

    async def changes(self) -> Changes:
        """Read back what the code has left, and write the contents of new files.

        Raises FilesRefused for files that the container cannot have.
        """
        return await asyncio.to_thread(self._changes)

    async def discard(self) -> None:
        """Remove the contents that `changes` has written: no version lists them."""
        await asyncio.to_thread(self.containers.remove_contents, self.container_id, self._contents)
        self._contents.clear()

    def _changes(self) -> Changes:
        found: list[tuple[Path, ContainerFile, bool]] = []
        now = int(time.time())
        for path, status in _listed(self.path):
            name = _checked_path(path.relative_to(self.path).as_posix())
            before, number = self.known.get(name, (None, -1))
            is_same = before is not None and (status.st_mtime_ns, status.st_ino) == (_UNCHANGED_NS, number)
            if is_same and before is not None:
                found.append((path, before, False))
                continue
            # A copy of a file of `/v1/files` that was written is a file of its own.
            keeps_id = before is not None and before.file_id is None
            file_id = before.id if keeps_id and before is not None else new_id("cfile_")
            found.append((path, ContainerFile(file_id, name, status.st_size, now, "assistant"), True))
        check_files([file for _, file, _ in found], self.most_bytes)
        new_bytes = sum(file.bytes for _, file, is_new in found if is_new)
        # Code that only removes files may do so where the tenant has no room.
        if new_bytes or not self.known:
            self.containers.take_room(self.tenant, new_bytes, most=self.most_tenant_bytes)
        files, written = list[ContainerFile](), list[ContainerFile]()
        for path, file, is_new in found:
            if is_new:
                data = _read(path)
                content = self.containers.write_content(self.tenant, self.container_id, data)
                self._contents.append(content)
                file = replace(file, content=content, bytes=len(data))
                written.append(file)
            files.append(file)
        return Changes(sorted(files, key=lambda one: one.path), sorted(written, key=lambda one: one.path))


class CodeFolders:
    """Makes the folders.

    Args:
        files: The files of `/v1/files`.
        containers: The containers.
        most_bytes: The size of all files of a container together.
        most_tenant_bytes: The size of all containers of a tenant together, on disk.
    """

    def __init__(self, files: FileStore, containers: Containers, *, most_bytes: int, most_tenant_bytes: int) -> None:
        self._files = files
        self._containers = containers
        self._most_bytes = most_bytes
        self._most_tenant_bytes = most_tenant_bytes
        remove_left_folders()

    @asynccontextmanager
    async def folder(
        self, tenant: str, container_id: str, kept: Sequence[ContainerFile], lent: Sequence[str]
    ) -> AsyncIterator[CodeFolder]:
        """A folder with the container's files, and those files of `/v1/files` that the request names.

        A file of `/v1/files` that was deleted is left out. Raises FileGone if the container was changed meanwhile, and
        ToolError for files that are together too large.
        """
        await asyncio.to_thread(remove_left_folders)
        path, lock = await asyncio.to_thread(_make_locked)
        made = CodeFolder(path, tenant, container_id, self._containers, self._most_bytes, self._most_tenant_bytes)
        try:
            await asyncio.to_thread(self._fill, made, kept, lent)
            yield made
        finally:
            await asyncio.to_thread(_remove, path, lock)

    def _fill(self, folder: CodeFolder, kept: Sequence[ContainerFile], lent: Sequence[str]) -> None:
        there = {file.file_id for file in kept}
        asked = [file_id for file_id in dict.fromkeys(lent) if file_id not in there]
        ids = [file.file_id for file in kept if file.file_id is not None] + asked
        found = self._files.get_all(ids, folder.tenant) if ids else {}
        size = sum(file.bytes for file in kept if file.file_id is None) + sum(file.bytes for file in found.values())
        if size > self._most_bytes:
            raise ToolError(
                f"The container's files are together larger than {self._most_bytes} bytes, the most that code may "
                "read. The user must name fewer or smaller files."
            )
        for file in kept:
            if file.content is not None:
                target = _target(folder, file)
                with target.open("wb") as opened:
                    self._containers.copy_content(folder.tenant, folder.container_id, file.content, opened)
                _note(folder, file, target)
            elif file.file_id in found:
                _copy(folder, file, found[file.file_id])
        for file_id in asked:
            if file_id in found and len(folder.known) < MOST_FILES:
                stored = found[file_id]
                name = _free_name(stored.filename, file_id, folder.path)
                made = int(time.time())
                _copy(
                    folder,
                    ContainerFile(new_id("cfile_"), name, stored.bytes, made, "user", file_id=file_id),
                    stored,
                )


def _copy(folder: CodeFolder, file: ContainerFile, stored: StoredFile) -> None:
    target = _target(folder, file)
    try:
        shutil.copyfile(stored.path, target)
    except FileNotFoundError:
        # The file was deleted meanwhile.
        target.unlink(missing_ok=True)
        return
    _note(folder, file, target)


def _target(folder: CodeFolder, file: ContainerFile) -> Path:
    target = folder.path / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _note(folder: CodeFolder, file: ContainerFile, target: Path) -> None:
    os.utime(target, ns=(_UNCHANGED_NS, _UNCHANGED_NS))
    folder.known[file.path] = (file, target.stat().st_ino)


def _regular_files(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Each file that is no link, pipe or device: the code cannot make those."""
    for parent, _, names in os.walk(folder, onerror=_raise):
        for name in names:
            path = Path(parent) / name
            status = path.lstat()
            if stat.S_ISREG(status.st_mode):
                yield path, status


def _listed(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Raises FilesRefused if a directory cannot be listed: without a sign, its files would be lost."""
    try:
        return list(_regular_files(folder))
    except PermissionError as error:
        raise FilesRefused("A directory that the code has left cannot be listed.") from error


def _read(path: Path) -> bytes:
    """Raises FilesRefused."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise FilesRefused("A file that the code has left cannot be read.") from error


def _raise(error: OSError) -> None:
    raise error


def _checked_path(path: str) -> str:
    """Raises FilesRefused for a path that no list can show."""
    if _UNPRINTABLE.search(path):
        raise FilesRefused("The name of a file has characters that are not printable.")
    if len(path.encode()) > _LONGEST_NAME:
        raise FilesRefused(f"The path of a file is longer than {_LONGEST_NAME} bytes.")
    return path


def _free_name(filename: str, file_id: str, folder: Path) -> str:
    """A name for a file of `/v1/files` that no other file of the folder has."""
    name = PurePosixPath(filename.replace("\\", "/")).name.replace("\0", "") or file_id
    name = shortened_name(name, _LONGEST_NAME)
    if name in (".", "..") or (folder / name).exists():
        return f"{file_id}-{shortened_name(name.strip('.'), _LONGEST_NAME - len(file_id) - 1)}"
    return name


def remove_left_folders() -> None:
    """Remove the folders of workers that have died."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            # It is gone, or another user's.
            continue
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_all(folder)
        except BlockingIOError:
            # Its worker lives.
            continue
        finally:
            os.close(lock)


def _make_locked() -> tuple[Path, int]:
    """A new folder, and the descriptor that locks it until it is closed or the process ends."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            # The sweep of another worker came first.
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_same(path, lock):
            return path, lock
        os.close(lock)


def _is_same(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(path: Path, lock: int) -> None:
    _remove_all(path)
    os.close(lock)


def _remove_all(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        # Another worker has removed it.
        return
    except OSError as error:
        log.warning("container_folder_not_removed", folder=str(folder), reason=str(error))
