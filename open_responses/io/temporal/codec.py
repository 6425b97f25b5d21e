"""The codec of payloads in Temporal: pydantic's JSON, compressed, and encrypted if there is a key."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, cast

import zstandard
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)
from typing_extensions import override

from open_responses.io.temporal.failures import ReadableFailures, SealedFailures
from open_responses.io.temporal.payload_keys import PayloadKeys, PayloadUnreadable
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.schema.off_loop import collector_paused

_COMPRESSED = b"binary/zstd"
_ENCRYPTED = b"binary/encrypted"
_KEY_ID = "encryption-key-id"
# Below this, compression saves less than its frame costs, and the UI shows the payload without a codec endpoint.
_COMPRESS_FROM_BYTES = 2048
# No payload of this server is as long. A longer one would be an attack on the memory of the process.
_LARGEST_BYTES = 1 << 30
_NO_KEYS = PayloadKeys()
# A megabyte of JSON is compressed in three milliseconds.
_LARGE_BYTES = 256 * 1024


class Codec(PayloadCodec, WithSerializationContext):
    """Compresses payloads, then encrypts them. Temporal bounds a history in bytes, and compression divides it by four.

    Payloads of activities on another fleet's task queue stay as they are: its workers do not have this codec.
    """

    def __init__(self, keys: PayloadKeys = _NO_KEYS, *, workflow_id: str | None = None, is_ours: bool = True) -> None:
        self._keys = keys
        self._workflow_id = workflow_id
        self._is_ours = is_ours

    @override
    def with_context(self, context: SerializationContext) -> Codec:
        if isinstance(context, ActivitySerializationContext):
            is_ours = context.activity_task_queue in (None, TASK_QUEUE)
            return Codec(self._keys, workflow_id=context.workflow_id, is_ours=is_ours)
        if isinstance(context, WorkflowSerializationContext):
            return Codec(self._keys, workflow_id=context.workflow_id)
        return self

    @override
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        if not self._is_ours:
            return list(payloads)
        return await _off_loop(self._encoded, payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decode payloads, also those that were written before there were keys. Raises PayloadUnreadable."""
        return await _off_loop(self._decoded, payloads)

    def _encoded(self, payload: Payload) -> Payload:
        return self._encrypted(_compressed(payload))

    def _decoded(self, payload: Payload) -> Payload:
        return _decompressed(self._decrypted(payload))

    def _encrypted(self, payload: Payload) -> Payload:
        sealed = self._keys.encrypt(payload.SerializeToString(), self._workflow_id)
        if sealed is None:
            return payload
        name, data = sealed
        return Payload(metadata={"encoding": _ENCRYPTED, _KEY_ID: name.encode()}, data=data)

    def _decrypted(self, payload: Payload) -> Payload:
        name = encryption_key(payload)
        return payload if name is None else _parsed(self._keys.decrypt(name, payload.data))


async def _off_loop(work: Callable[[Payload], Payload], payloads: Sequence[Payload]) -> list[Payload]:
    """Run the work in a thread if the payloads are large: compression releases the interpreter."""
    if sum(len(payload.data) for payload in payloads) <= _LARGE_BYTES:
        return [work(payload) for payload in payloads]
    return await asyncio.to_thread(lambda: [work(payload) for payload in payloads])


def encryption_key(payload: Payload) -> str | None:
    """The name of the key that a payload is encrypted with; None for one in clear."""
    if payload.metadata.get("encoding") != _ENCRYPTED:
        return None
    return payload.metadata.get(_KEY_ID, b"").decode("utf-8", "replace")


def _compressed(payload: Payload) -> Payload:
    if payload.ByteSize() < _COMPRESS_FROM_BYTES:
        return payload
    data = zstandard.ZstdCompressor(level=3).compress(payload.SerializeToString())
    return Payload(metadata={"encoding": _COMPRESSED}, data=data)


def _decompressed(payload: Payload) -> Payload:
    if payload.metadata.get("encoding") != _COMPRESSED:
        return payload
    try:
        if zstandard.frame_content_size(payload.data) > _LARGEST_BYTES:
            raise PayloadUnreadable("a compressed payload is larger than the limit of 1 GiB")
        return _parsed(zstandard.ZstdDecompressor().decompress(payload.data))
    except zstandard.ZstdError:
        raise PayloadUnreadable("a compressed payload is damaged") from None


def _parsed(data: bytes) -> Payload:
    try:
        return Payload.FromString(data)
    except DecodeError:
        raise PayloadUnreadable("a payload is damaged") from None


class Converter(PydanticPayloadConverter):
    """Pydantic's converter. The garbage collector is paused while a large payload becomes objects.

    A process has one. The SDK makes a converter for each payload, in the context of its workflow or its activity, and
    a new one of Pydantic's has to build the validators of all types again.
    """

    _only: ClassVar[Any] = None

    def __new__(cls) -> Self:
        """Return the process's converter."""
        if cls._only is None:
            only = super().__new__(cls)
            PydanticPayloadConverter.__init__(only)
            cls._only = only
        return cast(Self, cls._only)

    def __init__(self) -> None:
        """Leave the converter as it is: `__new__` has made it."""

    @override
    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        if sum(len(payload.data) for payload in payloads) <= _LARGE_BYTES:
            return super().from_payloads(payloads, type_hints)
        with collector_paused():
            return super().from_payloads(payloads, type_hints)


def converter_with(keys: PayloadKeys) -> DataConverter:
    """The data converter. Messages and traces of failures are encoded as well: they may quote a model or a tool."""
    failures = SealedFailures if keys.has_shared else ReadableFailures
    return dataclasses.replace(
        pydantic_data_converter,
        payload_converter_class=Converter,
        payload_codec=Codec(keys),
        failure_converter_class=failures,
    )


DATA_CONVERTER: DataConverter = converter_with(_NO_KEYS)
"""The converter for histories without encryption and large payloads."""
