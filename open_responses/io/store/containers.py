"""The state of the code interpreter's containers, in the folder that all processes share.

What this prevents: variables of a model's code that are gone when another worker runs the next call, or when Redis is
flushed; and a call that runs a second time on the state that it left itself.

A container belongs to the response that began it, and its id names that response. Its files lie in the response's
folder and are deleted with it. Each change writes the file of the next version, which only one process can create, so
that two calls at the same time cannot lose each other's state. The content is sealed, and bound to tenant and
container: a state is code that the interpreter trusts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import zstandard

from open_responses.ids import member_id, position_of
from open_responses.io.private_files import sync
from open_responses.io.sealing import SealBroken, Sealer
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import write_file
from open_responses.io.temporal.payload_keys import PayloadKeys, PayloadUnreadable, ResponseKeys

_PREFIX = "cntr_"
_FILE = re.compile(r"container-(\d{8})")
_LARGEST_BYTES = 1 << 30
# A call whose worker died is repeated within seconds; others of the same container may have ended meanwhile.
_KEPT_CALLS = 16


@dataclass(frozen=True, slots=True)
class Kept:
    """A container's state after a call.

    Attributes:
        version: Counts the calls, from 1.
        calls: The outputs of the newest calls that this state has the effects of, by their idempotency keys.
        state: The interpreter's state; None if there is none yet.
        is_sealed: There is a state that cannot be opened. It may be another tenant's.
    """

    version: int = 0
    calls: Mapping[str, str] = field(default_factory=dict)
    state: bytes | None = None
    is_sealed: bool = False


class Containers:
    """Reads and writes the states.

    Args:
        directory: The folder that all processes share.
        sealer: Seals the states.
        response_keys: The keys of responses with `store: false`, whose containers are encrypted with them.
        idle_seconds: A container that was not used for so long is empty.
    """

    def __init__(self, directory: Path, sealer: Sealer, response_keys: ResponseKeys, *, idle_seconds: float) -> None:
        self._directory = directory
        self._sealer = sealer
        self._keys = PayloadKeys(responses=response_keys)
        self._idle_seconds = idle_seconds

    async def load(self, tenant: str, container_id: str) -> Kept:
        """The container's state; an empty one for a container that is new, expired, deleted or another tenant's."""
        return await asyncio.to_thread(self._load, tenant, container_id)

    async def exists(self, tenant: str, container_id: str) -> bool:
        """Whether the tenant has a container with this id that is not empty. Raises ValueError for a malformed id."""
        return (await self.load(tenant, container_id)).state is not None

    async def keep_after(
        self,
        tenant: str,
        container_id: str,
        version: int,
        *,
        call_key: str,
        logs: str,
        state: bytes,
        calls: Mapping[str, str] | None = None,
    ) -> bool:
        """Write the state after a call. It is synced to disk when this returns.

        The state of a container whose response was deleted is not written.

        Args:
            tenant: The owner of the container.
            container_id: The container.
            version: The version of the state that the call began with.
            call_key: The idempotency key of the call.
            logs: The output of the call.
            state: The interpreter's state after the call.
            calls: The outputs of earlier calls, as the state before had them.

        Returns:
            False if another call has changed the container since `version` was read.
        """
        newest = [*(calls or {}).items(), (call_key, logs)][-_KEPT_CALLS:]
        kept = Kept(version + 1, dict(newest), state)
        return await asyncio.to_thread(self._keep, tenant, container_id, kept)

    def is_begun_by(self, container_id: str, response_id: str) -> bool:
        """Whether the container began in this response."""
        return owner_of(container_id) == response_id

    def _load(self, tenant: str, container_id: str) -> Kept:
        owner = owner_of(container_id)
        for _ in range(5):
            newest = max(self._versions(owner), default=None)
            if newest is None:
                return Kept()
            path = self._path(owner, newest)
            try:
                is_idle = path.stat().st_mtime < time.time() - self._idle_seconds
                content = path.read_bytes()
            except FileNotFoundError:
                # A newer version has taken its place.
                continue
            # The next version's number stays free of those that another process may write.
            return Kept(version=newest) if is_idle else self._opened(tenant, container_id, newest, content)
        return Kept()

    def _opened(self, tenant: str, container_id: str, version: int, content: bytes) -> Kept:
        try:
            sealed = self._sealer.unseal(content.decode("ascii"), bound_to=_bound_to(tenant, container_id))
            name, _, data = sealed.partition(b"\n")
            plain = self._keys.decrypt(name.decode(), data) if name else data
            head, _, state = (
                zstandard.ZstdDecompressor().decompress(plain, max_output_size=_LARGEST_BYTES).partition(b"\n")
            )
            told = orjson.loads(head)
        except (SealBroken, PayloadUnreadable, UnicodeDecodeError, zstandard.ZstdError, orjson.JSONDecodeError):
            return Kept(version=version, is_sealed=True)
        return Kept(version, told.get("calls", {}), state if told["state"] else None)

    def _keep(self, tenant: str, container_id: str, kept: Kept) -> bool:
        owner = owner_of(container_id)
        folder = self._directory / owner
        if ErasureMarks(self._directory).is_marked(owner):
            return True
        head = {"calls": kept.calls, "state": kept.state is not None}
        plain = zstandard.ZstdCompressor(level=3).compress(orjson.dumps(head) + b"\n" + (kept.state or b""))
        name, data = self._keys.encrypt(plain, owner) or ("", plain)
        sealed = self._sealer.seal(name.encode() + b"\n" + data, bound_to=_bound_to(tenant, container_id))
        written = folder / f"container-{os.urandom(8).hex()}.new"
        write_file(written, sealed.encode())
        try:
            os.link(written, self._path(owner, kept.version))
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
        if any(version > kept.version for version in versions):
            # The file of this version was there, and was removed as an old one.
            self._path(owner, kept.version).unlink(missing_ok=True)
            return ErasureMarks(self._directory).is_marked(owner)
        for version in versions:
            if version < kept.version:
                self._path(owner, version).unlink(missing_ok=True)
        # Checked after the write. An erasure marks the owner before it removes the folder, so one of the two removes
        # the file.
        if ErasureMarks(self._directory).is_marked(owner):
            shutil.rmtree(folder, ignore_errors=True)
        return True

    def _versions(self, owner: str) -> list[int]:
        try:
            names = os.listdir(self._directory / owner)
        except FileNotFoundError:
            return []
        return [int(found[1]) for name in names if (found := _FILE.fullmatch(name))]

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


def _bound_to(tenant: str, container_id: str) -> str:
    return f"container:{tenant}:{container_id}"
