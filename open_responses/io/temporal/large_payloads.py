"""A claim check for what Temporal would refuse: 2 MiB a payload, 4 MB a gRPC message.

What this prevents: a request with a large image, or an activity with a long transcript, that the server answers with
`BadRequest` or that ends its workflow. Such a payload is written to a file named by its hash, and the history holds
hash and size. The files come after the codec, so they hold what Temporal would have held: compressed, and encrypted
where there is a key. Those of one response share a folder, so that they go when it is deleted.
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

from open_responses.ids import is_id
from open_responses.io.private_files import sync
from open_responses.io.sealing import Sealer
from open_responses.io.temporal.codec import DATA_CONVERTER, converter_with
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.payload_keys import PayloadKeys, PayloadUnreadable, ResponseKeys

log = structlog.get_logger(__name__)

_DAY_SECONDS = 24 * 3600.0
# A sixteenth of what Temporal takes: several such arguments fit one message, and some hundreds a history of 50 MB.
_KEEP_INLINE_BELOW_BYTES = 128 * 1024

_HASH = re.compile(r"[0-9a-f]{64}")
_TEMPORARY = ".part"
_SWEPT = ".swept"
_TRIES = 5
_OWNERS = ("resp_", "conv_")


class ClaimBroken(Exception):
    """A payload whose file is missing or damaged. The message says which and where, and nothing of the content."""


ERASED = (PayloadUnreadable, ClaimBroken)
"""What is left of a response that was erased: a payload without its key, or a claim without its file."""


def data_converter(blob_dir: Path | None, encryption_keys: Sequence[bytes] = ()) -> DataConverter:
    """Ours, with payloads of 128 KiB and more in `blob_dir`; every client, worker and replayer needs the same.

    The first of the keys encrypts, any decrypts. The keys of single responses are in `blob_dir` as well.
    """
    if blob_dir is None:
        return converter_with(PayloadKeys(encryption_keys)) if encryption_keys else DATA_CONVERTER
    storage = ExternalStorage(drivers=[FileStorageDriver(blob_dir)], payload_size_threshold=_KEEP_INLINE_BELOW_BYTES)
    keys = PayloadKeys(encryption_keys, response_keys(blob_dir, encryption_keys))
    return dataclasses.replace(converter_with(keys), external_storage=storage)


def response_keys(blob_dir: Path, encryption_keys: Sequence[bytes] = ()) -> ResponseKeys:
    """The keys of responses that are not to be stored, sealed on disk if there is anything to seal them with."""
    return ResponseKeys(blob_dir / "keys", Sealer(encryption_keys) if encryption_keys else None)


async def opened(converter: DataConverter, payloads: Sequence[Payload]) -> list[Payload]:
    """Payloads as they are in a history, fetched, decrypted and decompressed, but still payloads.

    Raises ClaimBroken, PayloadUnreadable.
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
    """Files under one directory that all processes see, named by the SHA-256 of the payload's bytes: `resp_…/abcd…` for
    those of a response, `ab/abcd…` for others (and for what was written before responses had folders)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def name(self) -> str:
        return "files"

    def type(self) -> str:
        return "open_responses.files"

    async def store(self, context: StorageDriverStoreContext, payloads: Sequence[Payload]) -> list[StorageDriverClaim]:
        """On disk for good when it returns. What is there already is only touched, so that `sweep` spares it.

        Of an owner that was erased nothing stays on disk: its writer came late, and nobody reads what it claims.
        """
        target = context.target
        owner = (target.id or "") if isinstance(target, StorageDriverWorkflowInfo) else ""
        if not _may_own(owner):
            owner = ""
        return await asyncio.gather(*(asyncio.to_thread(_store, self._directory, owner, one) for one in payloads))

    async def retrieve(
        self, context: StorageDriverRetrieveContext, claims: Sequence[StorageDriverClaim]
    ) -> list[Payload]:
        """Raises ClaimBroken for a file that is missing or is not what was stored."""
        return await asyncio.gather(*(asyncio.to_thread(_retrieve, self._directory, claim) for claim in claims))


async def forget_payloads(directory: Path, owner: str) -> None:
    """Remove the large payloads of a response, or of a conversation. Nobody else's history refers to them."""
    if _may_own(owner):
        await asyncio.to_thread(shutil.rmtree, directory / owner, ignore_errors=True)


def _may_own(workflow_id: str) -> bool:
    """Whether this workflow's payloads have a folder of their own."""
    return any(is_id(prefix, workflow_id) for prefix in _OWNERS)


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


def _store(directory: Path, owner: str, payload: Payload) -> StorageDriverClaim:
    data = payload.SerializeToString(deterministic=True)
    digest = hashlib.sha256(data).hexdigest()
    path = _path(directory, owner, digest)
    if not touch_file(path):
        write_file(path, data)
    # Looked at after the write, and the mark is there before the folder is removed: one of the two takes the file away.
    if owner and ErasureMarks(directory).is_marked(owner):
        shutil.rmtree(path.parent, ignore_errors=True)
    claim = {"sha256": digest, "size": str(len(data))}
    return StorageDriverClaim(claim_data={**claim, "of": owner} if owner else claim)


def touch_file(path: Path) -> bool:
    """Whether it is there, and stays: a sweep that set it aside while we touched it may not have seen that."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return path.exists()


def write_file(path: Path, data: bytes, *, sync_directories: bool = True) -> None:
    """The file appears whole or not at all, and outlives a loss of power: its hash goes into a history next.

    For several files the caller may sync the directories, once.
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
    """A sweep may remove the folder between its making and the first file in it."""
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
