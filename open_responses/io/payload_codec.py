"""How payloads look on their way to Temporal: pydantic's JSON, compressed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import zstandard
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)

from open_responses.payloads import TASK_QUEUE

_ENCODING = b"binary/zstd"
# Below this the frame costs more than it saves, and the UI shows small payloads without a codec endpoint.
_COMPRESS_FROM_BYTES = 2048


class ZstdCodec(PayloadCodec, WithSerializationContext):
    """Compresses payloads: history is bounded by bytes, and transcripts shrink about fourfold.

    But not those of activities on another fleet's task queue, whose workers know nothing of our codec.
    """

    def __init__(self, *, is_ours: bool = True) -> None:
        self._is_ours = is_ours

    def with_context(self, context: SerializationContext) -> ZstdCodec:
        if not isinstance(context, ActivitySerializationContext):
            return self
        return ZstdCodec(is_ours=context.activity_task_queue in (None, TASK_QUEUE))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._compress(payload) for payload in payloads] if self._is_ours else list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._decompress(payload) for payload in payloads]

    @staticmethod
    def _compress(payload: Payload) -> Payload:
        if payload.ByteSize() < _COMPRESS_FROM_BYTES:
            return payload
        data = zstandard.ZstdCompressor(level=3).compress(payload.SerializeToString())
        return Payload(metadata={"encoding": _ENCODING}, data=data)

    @staticmethod
    def _decompress(payload: Payload) -> Payload:
        if payload.metadata.get("encoding") != _ENCODING:
            return payload
        return Payload.FromString(zstandard.ZstdDecompressor().decompress(payload.data))


DATA_CONVERTER: DataConverter = dataclasses.replace(pydantic_data_converter, payload_codec=ZstdCodec())
