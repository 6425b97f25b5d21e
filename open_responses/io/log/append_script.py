"""`append.lua` as a command in a pipeline, and which of its errors concern one stream only."""

from __future__ import annotations

import hashlib

from open_responses.io.log.batch import Batch
from open_responses.io.log.writer import Writer
from open_responses.io.redis import key_names
from open_responses.io.redis.client import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    Pipeline,
    ReadOnlyError,
    Redis,
    ResponseError,
    script,
)

# Error codes with which Redis answers every command while its cause lasts, whatever the stream.
_OF_ALL_STREAMS = (
    *("LOADING", "BUSY", "MISCONF", "READONLY", "OOM", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN"),
    *("NOAUTH", "NOPERM", "WRONGPASS", "NOSCRIPT", "UNBLOCKED"),
)


def is_of_one_stream(error: ResponseError) -> bool:
    """Whether Redis refuses one stream's events, and not all: a key of the wrong type, an error in the script."""
    text = str(error).upper()
    return not isinstance(error, NoScriptError | ReadOnlyError | OutOfMemoryError | BusyLoadingError) and not any(
        code in text for code in _OF_ALL_STREAMS
    )


class AppendScript:
    """The script that appends a batch to a log: it checks the fence and the length, writes, and publishes."""

    def __init__(self, *, ttl_seconds: int) -> None:
        self._ttl = str(ttl_seconds)
        self._source = script("log/append.lua")
        self._sha = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    async def load(self, redis: Redis) -> None:
        """Give the script to a Redis that has lost it. Raises RedisDown."""
        await redis.script_load(self._source)

    def add_to(self, pipe: Pipeline, writer: Writer, batch: Batch, *, origin: bytes | None = None) -> None:
        """Add the append of a batch to a pipeline; `origin` defaults to the writer's own."""
        response_id = writer.response_id
        pipe.execute_command(
            "EVALSHA",
            self._sha,
            2,
            key_names.log(response_id),
            key_names.state(response_id),
            writer.fence,
            batch.first,
            self._ttl,
            key_names.channel(response_id),
            writer.origin if origin is None else origin,
            len(batch.fields),
            *(part for pair in batch.fields.items() for part in pair),
            *batch.events,
        )
