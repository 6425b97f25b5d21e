"""A claim check for what Temporal would refuse: 2 MiB a payload, 4 MB a gRPC message.

What this prevents: a request with a large image, or an activity with a long transcript, that the server answers with
`BadRequest` or that ends its workflow. Such a payload is written to a file named by its hash, and the history holds
hash and size. The files come after the codec, so they hold what Temporal would have held: compressed, not sealed.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path

import structlog
from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
)

from open_responses.io.payload_codec import DATA_CONVERTER

log = structlog.get_logger(__name__)

_DAY_SECONDS = 24 * 3600.0
# A sixteenth of what Temporal takes: several such arguments fit one message, and some hundreds a history of 50 MB.
_KEEP_INLINE_BELOW_BYTES = 128 * 1024

_HASH = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = ".part"
_SWEPT = ".swept"


class ClaimBroken(Exception):
    """A payload whose file is missing or damaged. The message says which and where, and nothing of the content."""


def data_converter(blob_dir: Path | None) -> DataConverter:
    """Ours, with payloads of 128 KiB and more in `blob_dir`; every client, worker and replayer needs the same."""
    if blob_dir is None:
        return DATA_CONVERTER
    storage = ExternalStorage(drivers=[FileStorageDriver(blob_dir)], payload_size_threshold=_KEEP_INLINE_BELOW_BYTES)
    return dataclasses.replace(DATA_CONVERTER, external_storage=storage)


class FileStorageDriver(StorageDriver):
    """Files under one directory that all processes see, `ab/abcd…` by the SHA-256 of the payload's bytes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def name(self) -> str:
        return "files"

    def type(self) -> str:
        return "open_responses.files"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """On disk for good when it returns. What is there already is only touched, so that `sweep` spares it."""
        return await asyncio.gather(*(asyncio.to_thread(_store, self._directory, payload) for payload in payloads))

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Raises ClaimBroken for a file that is missing or is not what was stored."""
        return await asyncio.gather(*(asyncio.to_thread(_retrieve, self._directory, claim) for claim in claims))


async def sweep(directory: Path, older_than_seconds: float) -> int:
    """Remove what was last stored longer ago than that; returns how many payloads went.

    Temporal never says that a payload is no longer needed, so age decides: it must exceed the longest run of a workflow
    and Temporal's retention together. Any number of processes may sweep and store at once.
    """
    return await asyncio.to_thread(_sweep, directory, time.time() - older_than_seconds)


async def sweep_daily(directory: Path, older_than_seconds: float) -> None:
    """`sweep` now and every day, until cancelled. A folder that cannot be swept today is tried again tomorrow."""
    while True:
        try:
            removed = await sweep(directory, older_than_seconds)
        except OSError as error:
            log.warning("blobs_not_swept", directory=str(directory), reason=str(error))
        else:
            if removed:
                log.info("blobs_swept", directory=str(directory), removed=removed)
        await asyncio.sleep(_DAY_SECONDS)


def _store(directory: Path, payload: Payload) -> StorageDriverClaim:
    data = payload.SerializeToString(deterministic=True)
    digest = hashlib.sha256(data).hexdigest()
    path = _path(directory, digest)
    if not _touch(path):
        _write(path, data)
    return StorageDriverClaim(claim_data={"sha256": digest, "size": str(len(data))})


def _touch(path: Path) -> bool:
    """Whether it is there, and stays: a sweep that set it aside while we touched it may not have seen that."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return path.exists()


def _write(path: Path, data: bytes) -> None:
    """The file appears whole or not at all, and outlives a loss of power: its hash goes into a history next."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}{_TEMPORARY}")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)
    _sync_directory(path.parent.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _retrieve(directory: Path, claim: StorageDriverClaim) -> Payload:
    digest = claim.claim_data.get("sha256", "")
    if not _HASH.fullmatch(digest):
        raise ClaimBroken(f"a claim on a stored payload names no SHA-256: {digest[:80]!r}")
    try:
        data = _path(directory, digest).read_bytes()
    except FileNotFoundError:
        raise ClaimBroken(
            f"stored payload {digest} is not in {directory}: "
            "every process must see the same directory: OPEN_RESPONSES_BLOB_DIR"
        ) from None
    if hashlib.sha256(data).hexdigest() != digest:
        size = claim.claim_data.get("size")
        raise ClaimBroken(f"stored payload {digest} in {directory} is damaged: {len(data)} bytes, {size} were stored")
    return Payload.FromString(data)


def _path(directory: Path, digest: str) -> Path:
    return directory / digest[:2] / digest


def _sweep(directory: Path, before: float) -> int:
    removed = 0
    for path in directory.glob("[0-9a-f][0-9a-f]/*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before:
                removed += _remove(path, before)
    return removed


def _remove(path: Path, before: float) -> int:
    """1 for a payload that went.

    It is set aside first and looked at again: a `store` that touched it since would else lose what it was just told is
    there; one that comes later does not find it, and writes it anew. Whoever removes what was set aside counts it.
    """
    if not _HASH.fullmatch(path.name):
        path.unlink()
        return int(path.suffix == _SWEPT)
    aside = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}{_SWEPT}")
    path.rename(aside)
    touched = aside.stat().st_mtime >= before
    if touched:
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    aside.unlink()
    return int(not touched)
