"""The response store: request, output and final response, in Redis, for as long as it lasts.

Temporal is the truth. What is missing here is rebuilt from there by whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from open_responses.io import keys
from open_responses.io.limits import Used, settle
from open_responses.io.redis import Pipeline, Redis, script
from open_responses.json_types import JsonObject
from open_responses.payloads import FinishedResponse, StartResponse
from open_responses.trace import Op


@dataclass(frozen=True)
class Record:
    """One response. `written` is its start as JSON, `response` the final resource, encoded, or None while it runs.
    `ancestors` is empty where the record was loaded without.

    The start is read when it is first asked for: of the 500 records behind a response nobody asks.
    """

    written: bytes
    ancestors: tuple[str, ...]
    response: bytes | None

    @classmethod
    def of(cls, start: StartResponse, ancestors: tuple[str, ...], response: bytes | None) -> Record:
        return cls(_encode(start), ancestors, response)

    @property
    def size(self) -> int:
        """In bytes of JSON."""
        return len(self.written) + len(self.response or b"")

    @cached_property
    def start(self) -> StartResponse:
        return StartResponse.model_validate_json(self.written)

    @cached_property
    def output(self) -> list[JsonObject]:
        if self.response is None:
            return []
        output: list[JsonObject] = orjson.loads(self.response)["output"]
        return output


@dataclass(frozen=True, slots=True)
class Deleted:
    """A tombstone: do not look further."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """Another tenant's, or a tombstone, which may be: do not look further."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """A record with more bytes than were wanted; it was not read."""

    size: int


_TOMBSTONE_SECONDS = 24 * 3600
_ERASURE_NOTED_SECONDS = 3600
_FENCE_SECONDS = 3600
_NOBODY_MAY_WRITE = 2**53 - 1
_MISSING = script("missing")
_OWNED = script("owned")
_SIZES = script("sizes")
_DELETE_IF_EQUAL = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


def used_by(response: JsonObject, *, context_tokens: int, was_cut_off: bool) -> Used:
    """Tokens of an ended response, for limits and budgets.

    Args:
        response: The final resource.
        context_tokens: An estimate of what its first model turn has sent, for when Redis has lost the better one.
        was_cut_off: No provider reported the end of its last model turn. What it sent is counted all the same, unless
            the turn failed before anything came.
    """
    known = response["usage"]["total_tokens"] if response["usage"] is not None else 0
    unreported = [item for item in response["output"] if not known or item.get("status") == "incomplete"]
    if not was_cut_off or (response["status"] == "failed" and not unreported):
        return Used(known)
    tokens = sum(len(orjson.dumps(item)) // 4 for item in unreported)
    if not known and unreported:
        known = context_tokens + tokens
    return Used(known, cut_off=tokens)


class ResponseStore:
    """Reads and writes records. Raises `RedisDown` during an outage."""

    def __init__(self, redis: Redis, *, ttl_seconds: int, log_ttl_seconds: int) -> None:
        self._redis = redis
        self._ttl = ttl_seconds
        self._log_ttl = log_ttl_seconds

    async def begin(self, start: StartResponse, ancestors: Sequence[str]) -> bool:
        """Keep the request. Written before the workflow starts, so that its first sample finds its context.

        False: this id has begun already, or is that of a response that was deleted; nothing is changed.
        """
        key = keys.record(start.response_id)
        pipe = self._redis.pipeline(transaction=True)
        pipe.hexists(key, "deleted")
        pipe.hsetnx(key, "start", _encode(start))
        pipe.hsetnx(key, "tenant", start.tenant)
        pipe.hsetnx(key, "ancestors", ",".join(ancestors))
        pipe.expire(key, self._ttl)
        pipe.zadd(keys.OPEN, {start.response_id: start.created_at})
        pipe.expire(keys.OPEN, self._ttl)
        deleted, is_first, *_ = await pipe.execute()
        return bool(is_first) and not deleted

    async def retract(self, response_id: str) -> None:
        """Take back what `begin` kept: Temporal has another request under this id."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.delete(keys.record(response_id))
        pipe.zrem(keys.OPEN, response_id)
        await pipe.execute()

    async def load(self, response_ids: Sequence[str], *, with_ancestors: bool = True) -> list[Record | Deleted | None]:
        """The records, in order, None for each that is not there. One round trip.

        Those of one chain are to be had without ancestors: each has all that came before it.
        """
        pipe = self._redis.pipeline(transaction=False)
        fields = ["deleted", "start", "response", *(["ancestors"] if with_ancestors else [])]
        for response_id in response_ids:
            pipe.hmget(keys.record(response_id), fields)
        return [_decode(*reply) for reply in await pipe.execute()]

    async def owned(
        self, response_id: str, tenant: str, *, most_bytes: int | None = None
    ) -> Record | Foreign | TooLong | None:
        """The record, if it is this tenant's and no longer than that. One round trip, which takes as long for a record
        of another tenant as for none. `most_bytes` does not hold for records of earlier versions."""
        key = keys.record(response_id)
        what, *found = await self._redis.eval(
            _OWNED, 1, key, tenant, max(1, most_bytes) if most_bytes is not None else 0
        )
        if what == b"none":
            return None
        if what in (b"deleted", b"foreign"):
            return Foreign()
        size, *fields = found
        if what == b"large":
            return TooLong(size)
        record = _decode(None, *fields)
        if what == b"found":
            assert isinstance(record, Record)
            return record
        # Written by an earlier version: from now on its owner is known without reading it.
        assert isinstance(record, Record)
        await self._redis.hset(key, "tenant", record.start.tenant)
        return record if record.start.tenant == tenant else Foreign()

    async def size(self, response_ids: Sequence[str]) -> int:
        """How many bytes these records are together, without reading them. Those that are not there count as none."""
        if not response_ids:
            return 0
        found: int = await self._redis.eval(_SIZES, 0, ",".join(map(keys.record, response_ids)))
        return found

    async def missing(self, response_ids: Sequence[str]) -> set[str]:
        """Those of these that are not in the store: deleted, or lost."""
        if not response_ids:
            return set()
        # One argument: to write 500 takes this process longer than Redis has to look for them.
        places = await self._redis.eval(_MISSING, 0, ",".join(map(keys.record, response_ids)))
        return {response_ids[place - 1] for place in places}

    async def finish(self, start: StartResponse, response: bytes, trace: list[Op], used: Used) -> None:
        """Keep the final response, or forget one that is not to be stored; and count what it has used."""
        response_id = start.response_id
        key = keys.record(response_id)
        pipe = self._redis.pipeline(transaction=False)
        if start.request.store is False:
            pipe.delete(key)
        else:
            pipe.hset(key, mapping={"start": _encode(start), "response": response, "trace": orjson.dumps(trace)})
            pipe.hset(key, "tenant", start.tenant)
            pipe.expire(key, self._ttl)
        pipe.zrem(keys.OPEN, response_id)
        if start.admitted is not None:
            settle(pipe, start.admitted, response_id, used)
        await pipe.execute()

    async def age_log(self, start: StartResponse) -> None:
        """After the terminal event: the log has served. A replay is rebuilt from the record from then on."""
        ttl = 60 if start.request.store is False else self._log_ttl
        pipe = self._redis.pipeline(transaction=False)
        pipe.expire(keys.log(start.response_id), ttl)
        pipe.expire(keys.state(start.response_id), ttl)
        await pipe.execute()

    async def restore(self, start: StartResponse, ancestors: Sequence[str], finished: FinishedResponse | None) -> None:
        """Put back what Redis lost and Temporal still has."""
        mapping: dict[str, bytes | str] = {
            "start": _encode(start),
            "tenant": start.tenant,
            "ancestors": ",".join(ancestors),
        }
        if finished is not None:
            mapping |= {"response": orjson.dumps(finished.response), "trace": orjson.dumps(finished.trace)}
        key = keys.record(start.response_id)
        pipe = self._redis.pipeline(transaction=False)
        pipe.execute_command("HSET", key, *[part for pair in mapping.items() for part in pair])
        pipe.expire(key, self._ttl)
        await pipe.execute()

    async def trace(self, response_id: str) -> list[Op] | None:
        """How the finished response was cut into events."""
        raw = await self._redis.execute_command("HGET", keys.record(response_id), "trace")  # type: ignore[no-untyped-call]
        ops: list[Op] | None = None if raw is None else orjson.loads(raw)
        return ops

    async def delete(self, response_id: str) -> None:
        """Forget it, and remember that: Temporal may know it for some seconds more."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(keys.record(response_id))
        _close_log(pipe, response_id)
        pipe.hset(keys.record(response_id), "deleted", "1")
        pipe.expire(keys.record(response_id), _TOMBSTONE_SECONDS)
        await pipe.execute()

    async def forget(self, response_id: str) -> None:
        """Delete all of it, and leave no more than a tombstone that was there already."""
        is_tombstone = await self._redis.hexists(keys.record(response_id), "deleted")
        pipe = self._redis.pipeline(transaction=True)
        if not is_tombstone:
            pipe.delete(keys.record(response_id))
        _close_log(pipe, response_id)
        await pipe.execute()

    async def note_erasure(self) -> None:
        """Something was erased that an append-only file still has."""
        await self._redis.set(keys.ERASED, "1", ex=_ERASURE_NOTED_SECONDS)

    async def take_erasures(self, *, every_seconds: int) -> bool:
        """Whether something was erased since this was last true, for any process, which is that long ago at least."""
        if not await self._redis.exists(keys.ERASED):
            return False
        if not await self._redis.set(keys.REWRITTEN, "1", nx=True, ex=every_seconds):
            return False
        return bool(await self._redis.execute_command("GETDEL", keys.ERASED))  # type: ignore[no-untyped-call]

    async def rewrite_append_only_file(self) -> None:
        """In the background, by a child of Redis. Raises RedisError where one is under way, or it is not allowed."""
        await self._redis.bgrewriteaof()

    async def hold_approval(self, approval_request_id: str, response_id: str, seconds: int) -> bool:
        """Keep others off an approval until the response has begun. False: another response has it, or holds it."""
        holder = await self._redis.set(keys.approval(approval_request_id), response_id, nx=True, get=True, ex=seconds)
        return holder is None or holder == response_id.encode()

    async def let_go_of_approval(self, approval_request_id: str, response_id: str) -> None:
        """The response that holds it does not begin."""
        await self._redis.eval(_DELETE_IF_EQUAL, 1, keys.approval(approval_request_id), response_id)

    async def keep_approval(self, approval_request_id: str, response_id: str) -> None:
        """The response has acted on it: for as long as it is stored, nobody else may."""
        await self._redis.set(keys.approval(approval_request_id), response_id, ex=self._ttl)

    async def request_cancel(self, response_id: str) -> None:
        """The fast way to a running sample: a flag that its next append sees, and a word to a silent one."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.hset(keys.state(response_id), "cancelled", "1")
        pipe.expire(keys.state(response_id), self._ttl)
        pipe.publish(keys.CONTROL, f"cancel {response_id}")
        await pipe.execute()

    async def tell_workers_to_stop(self, response_id: str) -> None:
        """Whatever still runs for a response that has ended."""
        await self._redis.publish(keys.CONTROL, f"cancel {response_id}")


def _close_log(pipe: Pipeline, response_id: str) -> None:
    """No log any more, and none again: a worker that was stalled would restore what it thinks has been lost."""
    pipe.delete(keys.log(response_id), keys.state(response_id))
    pipe.hset(keys.state(response_id), "fence", _NOBODY_MAY_WRITE)
    pipe.expire(keys.state(response_id), _FENCE_SECONDS)
    pipe.zrem(keys.OPEN, response_id)


def _encode(start: StartResponse) -> bytes:
    return start.model_dump_json(exclude_unset=True, exclude={"carried"}).encode()


def _decode(
    deleted: bytes | None, start: bytes | None, response: bytes | None, ancestors: bytes | None = None
) -> Record | Deleted | None:
    if deleted is not None:
        return Deleted()
    if start is None:
        return None
    chain = tuple((ancestors or b"").decode().split(",")) if ancestors else ()
    return Record(start, chain, response)
