"""Large payloads as files, with a claim in the history: Temporal takes 2 MiB a payload, and 4 MB a gRPC message.

What this prevents: a request with a large image, or an activity with a long transcript, that Temporal rejects, or that
ends its workflow. A large payload is written to a file named by its hash, and the history has the hash and the size.
Files are written after the codec: compressed, and encrypted if there is a key. The files of one response share a
folder, which is removed with the response.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import structlog
from google.protobuf import json_format
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.converter import (
    DataConverter,
    ExternalStorage,
    StorageDriver,
    StorageDriverClaim,
    StorageDriverRetrieveContext,
    StorageDriverStoreContext,
    StorageDriverWorkflowInfo,
)
from typing_extensions import override

from open_responses.ids import is_id
from open_responses.io.private_files import sync
from open_responses.io.sealing import Sealer
from open_responses.io.temporal.codec import DATA_CONVERTER, converter_with
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.payload_keys import PayloadKeys, PayloadUnreadable, ResponseKeys

log = structlog.get_logger(__name__)

_DAY_SECONDS = 24 * 3600.0
# A sixteenth of Temporal's limit. Several such arguments fit one message, and some hundreds a history of 50 MB.
_KEEP_INLINE_BELOW_BYTES = 128 * 1024

_HASH = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = ".part"
_SWEPT = ".swept"
_TRIES = 5
_OWNERS = ("resp_", "conv_")


class ClaimBroken(Exception):
    """A payload whose file is missing or damaged. The message names the file, and has none of the content."""


ERASED = (PayloadUnreadable, ClaimBroken)
"""The errors of reading an erased response: a payload without its key, or a claim without its file."""


def data_converter(blob_dir: Path | None, encryption_keys: Sequence[bytes] = ()) -> DataConverter:
    """The data converter, with payloads of 128 KiB and more in `blob_dir`. All clients and workers need the same.

    The first key encrypts, each key decrypts. The keys of single responses are in `blob_dir` as well.
    """
    if blob_dir is None:
        return converter_with(PayloadKeys(encryption_keys)) if encryption_keys else DATA_CONVERTER
    storage = ExternalStorage(drivers=[FileStorageDriver(blob_dir)], payload_size_threshold=_KEEP_INLINE_BELOW_BYTES)
    keys = PayloadKeys(encryption_keys, response_keys(blob_dir, encryption_keys))
    return dataclasses.replace(converter_with(keys), external_storage=storage)


def response_keys(blob_dir: Path, encryption_keys: Sequence[bytes] = ()) -> ResponseKeys:
    """The keys of responses with `store: false`, sealed on disk if there are encryption keys."""
    return ResponseKeys(blob_dir / "keys", Sealer(encryption_keys) if encryption_keys else None)


async def opened(converter: DataConverter, payloads: Sequence[Payload]) -> list[Payload]:
    """Payloads of a history, fetched from files, decrypted and decompressed, but not converted to objects.

    Raises:
        ClaimBroken: The file of a payload is missing or damaged.
        PayloadUnreadable: The key of a payload is missing.
    """
    found = list(payloads)
    storage = converter.external_storage
    if storage is not None:
        (driver,) = storage.drivers
        for index, payload in enumerate(found):
            claim = _claim_in(payload, driver)
            if claim is not None:
                (found[index],) = await driver.retrieve(StorageDriverRetrieveContext(), [claim])
    return await converter.payload_codec.decode(found) if converter.payload_codec is not None else found


def _claim_in(payload: Payload, driver: StorageDriver) -> StorageDriverClaim | None:
    if payload.metadata.get("messageType") != ExternalStorageReference.DESCRIPTOR.full_name.encode():
        return None
    try:
        reference = json_format.Parse(payload.data, ExternalStorageReference())
    except (json_format.ParseError, UnicodeDecodeError):
        return None
    return StorageDriverClaim(dict(reference.claim_data)) if reference.driver_name == driver.name() else None


class FileStorageDriver(StorageDriver):
    """Files in a directory that all processes share, named by the SHA-256 of the payload's bytes.

    Those of a response are `resp_…/abcd…`. Any others are `ab/abcd…`, and so are those of earlier versions.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @override
    def name(self) -> str:
        return "files"

    @override
    def type(self) -> str:
        return "open_responses.files"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """Write the payloads, and sync them to disk. A file that exists is only touched, so that `sweep` spares it.

        The files of an erased owner are removed again: the writer came late, and no process will read them.
        """
        target = context.target
        owner = (target.id or "") if isinstance(target, StorageDriverWorkflowInfo) else ""
        if not _may_own(owner):
            owner = ""
        return await asyncio.gather(*(asyncio.to_thread(_store, self._directory, owner, one) for one in payloads))

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Read the payloads. Raises ClaimBroken for a file that is missing or damaged."""
        return await asyncio.gather(*(asyncio.to_thread(_retrieve, self._directory, claim) for claim in claims))


async def forget_payloads(directory: Path, owner: str) -> None:
    """Remove the large payloads of a response or a conversation. No other history refers to them."""
    if _may_own(owner):
        await asyncio.to_thread(shutil.rmtree, directory / owner, ignore_errors=True)


def _may_own(workflow_id: str) -> bool:
    """Whether the payloads of this workflow have their own folder."""
    return any(is_id(prefix, workflow_id) for prefix in _OWNERS)


async def sweep(directory: Path, older_than_seconds: float) -> int:
    """Remove payloads that were last stored more than `older_than_seconds` ago. Returns their number.

    Temporal does not report that a payload is no longer needed, so files go by age, which must exceed the longest run
    of a workflow and Temporal's retention together. Several processes may sweep and store at the same time.
    """
    return await asyncio.to_thread(_sweep, directory, time.time() - older_than_seconds)


async def sweep_daily(directory: Path, older_than_seconds: float) -> None:
    """Call `sweep` now and every day, until cancelled. After an OSError, the next day's call tries again."""
    while True:
        try:
            removed = await sweep(directory, older_than_seconds)
        except OSError as error:
            log.warning("blobs_not_swept", directory=str(directory), reason=str(error))
        else:
            if removed:
                log.info("blobs_swept", directory=str(directory), removed=removed)
        await asyncio.sleep(_DAY_SECONDS)


def _store(directory: Path, owner: str, payload: Payload) -> StorageDriverClaim:
    data = payload.SerializeToString(deterministic=True)
    digest = hashlib.sha256(data).hexdigest()
    path = _path(directory, owner, digest)
    if not touch_file(path):
        write_file(path, data)
    # Checked after the write. An erasure marks the owner before it removes the folder, so one of the two removes the
    # file.
    if owner and ErasureMarks(directory).is_marked(owner):
        shutil.rmtree(path.parent, ignore_errors=True)
    claim = {"sha256": digest, "size": str(len(data))}
    return StorageDriverClaim(claim_data={**claim, "of": owner} if owner else claim)


def touch_file(path: Path) -> bool:
    """Set the file's time. Returns whether the file exists after that: a sweep may have moved it meanwhile."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return path.exists()


def write_file(path: Path, data: bytes, *, sync_directories: bool = True) -> None:
    """Write a file that appears complete or not at all, and survives a loss of power: a history will refer to it.

    A caller that writes several files may sync the directories once, itself.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}{_TEMPORARY}")
    try:
        with _created(part) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if sync_directories:
        sync(path.parent)
        sync(path.parent.parent)


def _created(path: Path) -> BinaryIO:
    """Create the file, and its folder, which a sweep may remove before the file is in it."""
    for _ in range(_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return path.open("xb")
    raise FileNotFoundError(path)


def _retrieve(directory: Path, claim: StorageDriverClaim) -> Payload:
    digest = claim.claim_data.get("sha256", "")
    if not _HASH.fullmatch(digest):
        raise ClaimBroken(f"a claim on a stored payload names no SHA-256: {digest[:80]!r}")
    owner = claim.claim_data.get("of", "")
    if owner and not _may_own(owner):
        raise ClaimBroken(f"a claim on a stored payload names no owner: {owner[:80]!r}")
    try:
        data = _path(directory, owner, digest).read_bytes()
    except FileNotFoundError:
        raise ClaimBroken(
            f"stored payload {digest} is not in {directory}: "
            "every process must see the same directory: OPEN_RESPONSES_BLOB_DIR; or its response was deleted"
        ) from None
    if hashlib.sha256(data).hexdigest() != digest:
        size = claim.claim_data.get("size")
        raise ClaimBroken(f"stored payload {digest} in {directory} is damaged: {len(data)} bytes, {size} were stored")
    return Payload.FromString(data)


def _path(directory: Path, owner: str, digest: str) -> Path:
    return directory / (owner or digest[:2]) / digest


def _sweep(directory: Path, before: float) -> int:
    removed = 0
    for folder in (
        *directory.glob("[0-9a-f][0-9a-f]"),
        *(path for prefix in _OWNERS for path in directory.glob(f"{prefix}*")),
    ):
        for path in folder.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    removed += _remove(path, before)
        if folder.name.startswith(_OWNERS):
            with contextlib.suppress(OSError):
                folder.rmdir()
    return removed


def _remove(path: Path, before: float) -> int:
    """Remove a file, unless it was touched meanwhile. Returns 1 for a payload that was removed.

    The file is renamed first, then checked again. Without that, a `store` that has just touched the file would lose it.
    A `store` after the rename does not find the file, and writes it again. The process that removes the renamed file
    counts it.
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
