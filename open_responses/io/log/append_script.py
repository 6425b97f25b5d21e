"""`append.lua` as a command in a pipeline, and which of its errors concern one stream only.

A comment makes the script of each process different. A Redis without this script was restarted, or is a promoted
replica: neither keeps scripts. It may have lost the newest fences of its logs, although it has their lives.
"""

from __future__ import annotations

import hashlib
import secrets

from open_responses.io.log.batch import Batch
from open_responses.io.log.lives import NO_LIFE
from open_responses.io.log.writer import Writer
from open_responses.io.redis import key_names
from open_responses.io.redis.client import (
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    Redis,
    ResponseError,
    script,
)
from open_responses.io.redis.packed_pipeline import Command

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
        self.ttl = ttl_seconds
        self._source = f"-- {secrets.token_hex(8)}\n{script('log/append.lua')}"
        self._sha = hashlib.sha1(self._source.encode(), usedforsecurity=False).hexdigest()

        self.servers = 0
        """Counts the Redis servers that this process has written to. The number rises when Redis may have lost data."""

    async def load(self, redis: Redis) -> None:
        """Give the script to a Redis that does not know it. Raises RedisDown.

        It sends a call that the fence rejects, instead of SCRIPT LOAD: Redis evicts the scripts of processes that have
        ended only if EVAL loaded them (beyond 500 scripts, from Valkey 8 and Redis 7.4 on).
        """
        await redis.eval(self._source, 2, key_names.log(""), key_names.state(""), -2)
        self.servers += 1

    def command(self, writer: Writer, batch: Batch, *, origin: bytes | None = None) -> Command:
        """The command that appends a batch; `origin` defaults to the writer's own."""
        fields = [part for pair in batch.fields.items() for part in pair] if batch.fields else ()
        is_unsure = writer.authority is not None and writer.server != self.servers
        return (
            "EVALSHA",
            self._sha,
            2,
            writer.log_key,
            writer.state_key,
            writer.fence,
            batch.first,
            self.ttl,
            writer.channel,
            writer.origin if origin is None else origin,
            NO_LIFE if is_unsure else writer.life,
            len(batch.fields),
            *fields,
            *batch.events,
        )
