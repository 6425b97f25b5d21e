"""The containers of the code interpreter, in the folder that all processes share: variables and files.

What this prevents: variables and files of a model's code that are gone when another worker runs the next call, or when
Redis is flushed; and a call that runs a second time on the state that it left itself.

A container belongs to the response that began it, and its id names that response. Its files lie in the response's
folder and are deleted with it. A container that a client has made has a folder of its own, named in the same way. Each
change writes the file of the next version, which only one process can create, so that two changes at the same time
cannot lose each other's. A version lists the container's files; their contents lie beside it, and are written before
it. So a crash leaves the version before, with all of its contents.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import orjson

from open_responses.errors import InvalidRequest
from open_responses.ids import member_id, new_id, position_of
from open_responses.io.private_files import sync
from open_responses.io.sealing import Sealer
from open_responses.io.store.container_encoding import decoded, encoded
from open_responses.io.store.container_index import ContainerIndex, Entry
from open_responses.io.store.container_room import ContainerRoom
from open_responses.io.store.container_seals import ContainerSeals, Unreadable
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import write_file
from open_responses.io.temporal.payload_keys import ResponseKeys
from open_responses.tool_use.container_files import ContainerCall, ContainerFile, ContainerState, FileGone

_PREFIX = "cntr_"
_VERSION = re.compile(r"container-(\d{8})")
_CONTENT = re.compile(r"content-[0-9a-f]{32}")
# A call whose worker died is repeated within seconds; others of the same container may have ended meanwhile.
_KEPT_CALLS = 16
# Contents that no version lists. A call that has written them may still run: no attempt takes so long.
_ORPHAN_SECONDS = 2 * 3600.0
_TRIES = 8


class ContainersBusy(Exception):
    """Other changes of the same container keep coming first."""


class Containers:
    """Reads and writes the containers.

    Args:
        directory: The folder that all processes share.
        sealer: Seals the states and the files.
        response_keys: The keys of responses with `store: false`, whose containers are encrypted with them.
        idle_seconds: A container that was not used for so long is gone.
        call_seconds: The longest time of a call. A container does not expire while one runs.
    """

    def __init__(
        self,
        directory: Path,
        sealer: Sealer,
        response_keys: ResponseKeys,
        *,
        idle_seconds: float,
        call_seconds: float = 0,
    ) -> None:
        self._directory = directory
        self._seals = ContainerSeals(sealer, response_keys)
        self._index = ContainerIndex(directory)
        self._room = ContainerRoom(directory)
        self.idle_seconds = idle_seconds
        self._call_seconds = call_seconds

    async def load(self, tenant: str, container_id: str) -> ContainerState:
        """The container; an empty one if it is new, expired, deleted or another tenant's.

        Raises ValueError for a malformed id.
        """
        return await asyncio.to_thread(self.read, tenant, container_id)

    async def begin(self, tenant: str, container_id: str) -> ContainerState:
        """As `load`, for a call that begins: the container does not expire before the call has ended."""
        return await asyncio.to_thread(self._begin, tenant, container_id)

    async def exists(self, tenant: str, container_id: str) -> bool:
        """Whether the tenant has this container. Raises ValueError for a malformed id."""
        return (await self.load(tenant, container_id)).exists

    async def keep_after(
        self,
        tenant: str,
        container_id: str,
        before: ContainerState,
        *,
        call_key: str,
        call: ContainerCall,
        state: bytes,
        files: Sequence[ContainerFile],
    ) -> bool:
        """Write the container after a call that began with `before`. It is synced to disk when this returns.

        A container whose response was deleted is not written.

        Args:
            tenant: The owner of the container.
            container_id: The container.
            before: The container as the call found it.
            call_key: The idempotency key of the call.
            call: The outcome of the call.
            state: The interpreter's state after the call.
            files: The files after the call.

        Returns:
            False if another change of the container came first.
        """
        newest = [*before.calls.items(), (call_key, call)][-_KEPT_CALLS:]
        # A container that was deleted, or has expired, begins anew.
        base = before if before.exists else ContainerState(version=before.version)
        after = replace(base, calls=dict(newest), state=state, files=tuple(files))
        return await asyncio.to_thread(self.write, tenant, container_id, after, before.files)

    def is_begun_by(self, container_id: str, response_id: str) -> bool:
        """Whether the container began in this response."""
        return owner_of(container_id) == response_id

    # --- blocking, for threads

    def read(self, tenant: str, container_id: str) -> ContainerState:
        """As `load`, and blocks."""
        owner = owner_of(container_id)
        for _ in range(_TRIES):
            newest = max(self._versions(owner), default=None)
            if newest is None:
                return ContainerState()
            path = self._path(owner, newest)
            try:
                used_at = path.stat().st_mtime
                content = path.read_bytes()
            except FileNotFoundError:
                # A newer version has taken its place.
                continue
            # Opened before its time is looked at: an expired container is still its tenant's alone.
            found = self._opened(tenant, container_id, newest, content)
            idle_seconds = self.idle_seconds
            if found.idle_minutes is not None:
                idle_seconds = min(idle_seconds, 60 * found.idle_minutes)
            if not found.is_sealed and used_at < time.time() - idle_seconds:
                # The next version's number stays free of those that another process may write.
                return ContainerState(version=newest, is_deleted=True)
            return found
        return ContainerState()

    def used_at(self, container_id: str) -> int | None:
        """When the container was last used, in Unix seconds; None if there is none."""
        owner = owner_of(container_id)
        for _ in range(_TRIES):
            newest = max(self._versions(owner), default=None)
            if newest is None:
                return None
            with contextlib.suppress(FileNotFoundError):
                # The time of a container with a running call is that of the call's latest end.
                return min(int(self._path(owner, newest).stat().st_mtime), int(time.time()))
        return None

    def create(
        self, tenant: str, *, name: str, idle_minutes: int | None, files: Sequence[ContainerFile], most: int
    ) -> str:
        """Make a container that belongs to no response. Returns its id.

        Raises InvalidRequest if the tenant has `most` containers or more.
        """
        if self.count(tenant) >= most:
            raise InvalidRequest(
                f"You have {most} containers or more, and cannot make another one. Delete some, or let them expire "
                "('expires_after').",
                code="container_quota_exceeded",
            )
        container_id = container_of(new_id("resp_"))
        self.write(tenant, container_id, ContainerState(name=name, idle_minutes=idle_minutes, files=tuple(files)))
        return container_id

    def delete(self, tenant: str, container_id: str) -> bool:
        """Delete variables and files. Returns False if the tenant has no such container.

        The deletion is a version of its own: a call that runs meanwhile begins again, on the empty container.
        """
        for _ in range(_TRIES):
            found = self.read(tenant, container_id)
            if not found.exists:
                return False
            gone = ContainerState(version=found.version, created_at=found.created_at, is_deleted=True)
            if self.write(tenant, container_id, gone, found.files):
                self._index.remove(tenant, container_id, found.created_at)
                return True
        raise ContainersBusy

    def take_room(self, tenant: str, more: int, *, most: int) -> None:
        """Raises FilesRefused if all containers of the tenant would have more than `most` bytes with `more` of them."""
        self._room.take(tenant, more, most=most)

    def count(self, tenant: str) -> int:
        """How many containers the tenant has, those among them that have expired within the last minute."""
        return len(self._index.entries(tenant))

    def page(
        self, tenant: str, *, limit: int, after: str | None, name: str | None, newest_first: bool
    ) -> tuple[list[tuple[str, ContainerState]], bool] | None:
        """Up to `limit` of the tenant's containers, and whether more follow; None if `after` is none of them."""
        entries = self._index.entries(tenant)
        if newest_first:
            entries.reverse()
        if after is not None:
            ids = [container_id for _, container_id in entries]
            if after not in ids:
                return None
            entries = entries[ids.index(after) + 1 :]
        found: list[tuple[str, ContainerState]] = []
        for created_at, container_id in entries:
            container = self.read(tenant, container_id)
            if not container.exists or container.created_at != created_at:
                # The container is gone, or began anew since.
                self._index.remove(tenant, container_id, created_at)
            elif name is None or container.name == name:
                found.append((container_id, container))
                if len(found) > limit:
                    return found[:limit], True
        return found, False

    def write(
        self, tenant: str, container_id: str, after: ContainerState, replaced: Sequence[ContainerFile] = ()
    ) -> bool:
        """Write the next version: `after`, whose version is still that of the state before it.

        Contents of `replaced` files that it no longer lists are removed. Returns False if another change came first.
        """
        owner, now = owner_of(container_id), int(time.time())
        folder, version = self._directory / owner, after.version + 1
        if ErasureMarks(self._directory).is_marked(owner):
            shutil.rmtree(folder, ignore_errors=True)
            return True
        after = replace(after, version=version, created_at=after.created_at or now)
        written = folder / f"container-{os.urandom(8).hex()}.new"
        bound_to = _bound_to(tenant, container_id)
        write_file(written, self._seals.pack(encoded(after), owner=owner, bound_to=bound_to))
        try:
            os.link(written, self._path(owner, version))
        except FileExistsError:
            return False
        except FileNotFoundError:
            # The response was deleted with its folder.
            return True
        finally:
            written.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            sync(folder)
        versions = self._versions(owner)
        if any(other > version for other in versions):
            # The file of this version was there, and was removed as an old one.
            self._path(owner, version).unlink(missing_ok=True)
            return ErasureMarks(self._directory).is_marked(owner)
        if not after.is_deleted:
            self._index.add(tenant, container_id, after.created_at, after.idle_minutes)
        for other in versions:
            if other < version:
                self._path(owner, other).unlink(missing_ok=True)
        listed = {file.content for file in after.files}
        self._spare(folder, listed)
        self.remove_contents(container_id, [file.content for file in replaced if file.content not in listed])
        self._remove_orphans(folder, listed)
        # Checked after the write. An erasure marks the owner before it removes the folder, so one of the two removes
        # the file.
        if ErasureMarks(self._directory).is_marked(owner):
            shutil.rmtree(folder, ignore_errors=True)
            self._index.remove(tenant, container_id, after.created_at)
        return True

    def write_content(self, tenant: str, container_id: str, data: bytes) -> str:
        """Write a file's content, before a version lists it. Returns its name."""
        owner, name = owner_of(container_id), f"content-{os.urandom(16).hex()}"
        packed = self._seals.pack(data, owner=owner, bound_to=_bound_to(tenant, container_id, name))
        write_file(self._directory / owner / name, packed)
        if ErasureMarks(self._directory).is_marked(owner):
            shutil.rmtree(self._directory / owner, ignore_errors=True)
        return name

    def copy_content(self, tenant: str, container_id: str, name: str, target: IO[bytes]) -> None:
        """Write a file's content into another file. Raises FileGone. The sweep by age spares it from now on.

        A large file takes a multiple of its bytes in memory meanwhile: callers bound how many run at a time.
        """
        path = self._directory / owner_of(container_id) / name
        try:
            with path.open("rb") as content:
                self._seals.unpack_file(content, target, bound_to=_bound_to(tenant, container_id, name))
            os.utime(path)
        except (FileNotFoundError, Unreadable):
            raise FileGone from None

    def remove_contents(self, container_id: str, names: Iterable[str | None]) -> None:
        """Remove contents that no version lists."""
        for name in names:
            if name is not None:
                (self._directory / owner_of(container_id) / name).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove containers that have expired, and entries without a container. Returns how many."""
        removed, now = 0, time.time()
        for entry in self._index.everything():
            owner = owner_of(entry.container_id)
            seen, used_at = self._versions(owner), self.used_at(entry.container_id)
            idle_seconds = self.idle_seconds
            if entry.idle_minutes is not None:
                idle_seconds = min(idle_seconds, 60 * entry.idle_minutes)
            if used_at is not None and used_at >= now - idle_seconds:
                continue
            listed = [file.content for version in seen for file in self._files_of(entry, version)]
            # A version that is written meanwhile has a higher number, and stays.
            for version in seen:
                self._path(owner, version).unlink(missing_ok=True)
            if not self._versions(owner):
                self.remove_contents(entry.container_id, listed)
                if self._remove_orphans(self._directory / owner, set()):
                    # A call runs that has found the container expired, or it has died: a later sweep removes them.
                    continue
                self._index.remove(entry.tenant, entry.container_id, entry.created_at)
                with contextlib.suppress(OSError):
                    (self._directory / owner).rmdir()
                removed += 1
        return removed

    def _begin(self, tenant: str, container_id: str) -> ContainerState:
        for _ in range(_TRIES):
            found = self.read(tenant, container_id)
            if not found.exists:
                return found
            path, until = self._path(owner_of(container_id), found.version), time.time() + self._call_seconds
            with contextlib.suppress(FileNotFoundError):
                os.utime(path, (until, until))
                # A sweep, or another call, may have removed the version meanwhile.
                if path.exists():
                    return found
        raise ContainersBusy

    def _files_of(self, entry: Entry, version: int) -> Sequence[ContainerFile]:
        try:
            content = self._path(owner_of(entry.container_id), version).read_bytes()
        except FileNotFoundError:
            return ()
        return self._opened(entry.tenant, entry.container_id, version, content).files

    def _opened(self, tenant: str, container_id: str, version: int, content: bytes) -> ContainerState:
        try:
            return decoded(version, self._seals.unpack(content, bound_to=_bound_to(tenant, container_id)))
        except (Unreadable, orjson.JSONDecodeError):
            return ContainerState(version=version, is_sealed=True)

    def _spare(self, folder: Path, listed: set[str | None]) -> None:
        """Make the contents as young as the version that lists them: the sweep by age looks at each file alone."""
        for name in listed:
            if name is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.utime(folder / name)

    def _remove_orphans(self, folder: Path, listed: set[str | None]) -> int:
        """Remove contents that no version lists: those of calls that have died. Returns how many are too young."""
        before, young = time.time() - _ORPHAN_SECONDS, 0
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(folder):
                if _CONTENT.fullmatch(name) and name not in listed:
                    with contextlib.suppress(FileNotFoundError):
                        if (folder / name).stat().st_mtime < before:
                            (folder / name).unlink()
                        else:
                            young += 1
        return young

    def _versions(self, owner: str) -> list[int]:
        try:
            names = os.listdir(self._directory / owner)
        except FileNotFoundError:
            return []
        return [int(found[1]) for name in names if (found := _VERSION.fullmatch(name))]

    def _path(self, owner: str, version: int) -> Path:
        return self._directory / owner / f"container-{version:08}"


def container_of(response_id: str) -> str:
    """The id of the container that a response begins."""
    return member_id(_PREFIX, response_id, 0)


def owner_of(container_id: str) -> str:
    """The response that began a container. Raises ValueError for a text that is no container's id."""
    found = position_of(container_id) if container_id.startswith(_PREFIX) else None
    if found is None or found[1] != 0:
        raise ValueError(f"{container_id[:80]!r} is not the id of a container")
    return found[0]


def _bound_to(tenant: str, container_id: str, content: str | None = None) -> str:
    return f"container:{tenant}:{container_id}" + ("" if content is None else f":{content}")
