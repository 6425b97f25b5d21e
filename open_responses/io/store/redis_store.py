"""The response store: request, output and final response, in Redis, for as long as it lasts.

Temporal is the truth. What is missing here is rebuilt from there by whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import orjson

from open_responses.events.trace import Op
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Pipeline, Redis, script
from open_responses.io.redis.rate_limits import Used, settle
from open_responses.json_types import JsonObject
from open_responses.loop.payloads import FinishedResponse, StartResponse
from open_responses.schema.off_loop import collector_paused


@dataclass(frozen=True)
class Record:
    """One response. `written` is its start as JSON, `response` the final resource, encoded, or None while it runs.
    `ancestors` is empty where they are not known: the record was loaded without, or Redis has lost them.

    The start is read when it is first asked for: of the 500 records behind a response nobody asks.
    """

    written: bytes
    ancestors: tuple[str, ...]
    response: bytes | None
    knows_ancestors: bool = True

    @classmethod
    def of(cls, start: StartResponse, ancestors: tuple[str, ...], response: bytes | None) -> Record:
        return cls(_encode(start), ancestors, response)

    @property
    def size(self) -> int:
        """In bytes of JSON."""
        return len(self.written) + len(self.response or b"")

    @cached_property
    def start(self) -> StartResponse:
        with collector_paused():
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


TOMBSTONE_SECONDS = 24 * 3600
"""Longer than any activity may run: a worker that was stalled writes nothing of a deleted response again."""
_ERASURE_NOTED_SECONDS = 3600
FENCE_SECONDS = 3600
"""How long a response that was not to be stored is kept from being written again."""
_MISSING = script("store/missing.lua")
_OWNED = script("store/owned.lua")
_SIZES = script("store/sizes.lua")
_WRITE_RECORD = script("store/write_record.lua")
_DROP_RECORD = script("store/drop_record.lua")
_TOUCH_STATE = script("log/touch_state.lua")
# An entry that nobody removed must not live for as long as others are added.
_LIST_OPEN = """
local added = redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return added
"""
_NAME_OWNER = "if redis.call('HEXISTS', KEYS[1], 'start') == 1 then redis.call('HSET', KEYS[1], 'tenant', ARGV[1]) end"
_DELETE_IF_EQUAL = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


def tokens_of(item: JsonObject) -> int:
    """An estimate for an item as it is stored: four characters a token."""
    return len(orjson.dumps(item)) // 4


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
    tokens = sum(map(tokens_of, unreported))
    if not known and unreported:
        known = context_tokens + tokens
    return Used(known, cut_off=tokens)


class ResponseStore:
    """Reads and writes records. Raises `RedisDown` during an outage."""

    def __init__(self, redis: Redis, *, ttl_seconds: int, log_ttl_seconds: int) -> None:
        self.redis = self._redis = redis
        self.ttl_seconds = self._ttl = ttl_seconds
        self._log_ttl = log_ttl_seconds

    async def begin(self, start: StartResponse, ancestors: Sequence[str]) -> bool:
        """Keep the request. Written before the workflow starts, so that its first sample finds its context.

        False: this id has begun already, or is that of a response that was deleted; nothing is changed.
        """
        pipe = self._redis.pipeline(transaction=False)
        fields: dict[str, bytes | str] = {
            "start": _encode(start),
            "tenant": start.tenant,
            "ancestors": ",".join(ancestors),
        }
        _write(pipe, start.response_id, self._ttl, fields, only_new=True)
        oldest = start.created_at - self._ttl
        pipe.eval(_LIST_OPEN, 1, key_names.OPEN, self._ttl, start.created_at, start.response_id, oldest)
        written, is_listed = await pipe.execute()
        if written != 1 and is_listed:
            await self._redis.zrem(key_names.OPEN, start.response_id)
        return bool(written == 1)

    async def retract(self, response_id: str, written: bytes) -> None:
        """Take back what `begin` kept of this request: it does not begin. `written` is the start as JSON: another
        request's record stays, and so does a tombstone."""
        if await self._redis.eval(_DROP_RECORD, 1, key_names.record(response_id), written):
            await self._redis.zrem(key_names.OPEN, response_id)

    async def load(self, response_ids: Sequence[str], *, with_ancestors: bool = True) -> list[Record | Deleted | None]:
        """The records, in order, None for each that is not there. One round trip.

        Those of one chain are to be had without ancestors: each has all that came before it.
        """
        pipe = self._redis.pipeline(transaction=False)
        fields = ["deleted", "start", "response", *(["ancestors"] if with_ancestors else [])]
        for response_id in response_ids:
            pipe.hmget(key_names.record(response_id), fields)
        return [_decode(*reply) for reply in await pipe.execute()]

    async def owned(
        self, response_id: str, tenant: str, *, most_bytes: int | None = None
    ) -> Record | Foreign | TooLong | None:
        """The record, if it is this tenant's and no longer than that. One round trip, which takes as long for a record
        of another tenant as for none. `most_bytes` does not hold for records of earlier versions."""
        key = key_names.record(response_id)
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
        await self._redis.eval(_NAME_OWNER, 1, key, record.start.tenant)
        return record if record.start.tenant == tenant else Foreign()

    async def size(self, response_ids: Sequence[str]) -> int:
        """How many bytes these records are together, without reading them. Those that are not there count as none."""
        if not response_ids:
            return 0
        found: int = await self._redis.eval(_SIZES, 0, ",".join(map(key_names.record, response_ids)))
        return found

    async def missing(self, response_ids: Sequence[str]) -> set[str]:
        """Those of these that are not in the store: deleted, or lost."""
        if not response_ids:
            return set()
        # One argument: to write 500 takes this process longer than Redis has to look for them.
        found = await self._redis.eval(_MISSING, 0, ",".join(map(key_names.record, response_ids)))
        return {response_ids[number - 1] for number in found}

    async def finish(self, start: StartResponse, response: bytes, trace: list[Op], used: Used) -> bool:
        """Keep the final response, or forget one that is not to be stored; and count what it has used. False: it was
        erased, and stays so. Where Redis was flushed meanwhile, the record has no ancestors: a reader restores them."""
        response_id = start.response_id
        pipe = self._redis.pipeline(transaction=False)
        if start.request.store is False:
            pipe.eval(_DROP_RECORD, 1, key_names.record(response_id), "")
        else:
            fields: dict[str, bytes | str] = {
                "start": _encode(start),
                "tenant": start.tenant,
                "response": response,
                "trace": orjson.dumps(trace),
            }
            _write(pipe, response_id, self._ttl, fields)
        pipe.zrem(key_names.OPEN, response_id)
        if start.admitted is not None:
            settle(pipe, start.admitted, response_id, used)
        written, *_ = await pipe.execute()
        return bool(written != -1)

    async def ended(self, response_id: str) -> FinishedResponse | None:
        """The end that is stored; None for a response that has none, or is not to be stored."""
        response, trace = await self._redis.hmget(key_names.record(response_id), ["response", "trace"])
        if response is None:
            return None
        return FinishedResponse(response=orjson.loads(response), trace=orjson.loads(trace or b"[]"))

    async def has_ended(self, response_id: str) -> bool:
        return bool(await self._redis.hexists(key_names.record(response_id), "response"))

    async def has_log(self, response_id: str) -> bool:
        """Whether a run has written anything of it."""
        return bool(await self._redis.hexists(key_names.state(response_id), "fence"))

    async def open_since(self, seconds: float, offset: int, count: int) -> list[str]:
        """Responses that began this long ago, or earlier, and have no end in the store; oldest first."""
        members: list[bytes] = await self._redis.zrangebyscore(  # type: ignore[assignment]
            key_names.OPEN, "-inf", time.time() - seconds, start=offset, num=count
        )
        return [member.decode() for member in members]

    async def close(self, response_id: str) -> None:
        """It is not among the open ones any more."""
        await self._redis.zrem(key_names.OPEN, response_id)

    async def release(self, start: StartResponse, response: JsonObject | None) -> None:
        """The response runs no more: its slot is free, and its tokens are counted. Safe to do twice."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zrem(key_names.OPEN, start.response_id)
        if start.admitted is not None:
            used = used_by(response, context_tokens=start.context_tokens, was_cut_off=True) if response else Used(0)
            settle(pipe, start.admitted, start.response_id, used)
        await pipe.execute()

    async def age_log(self, start: StartResponse) -> None:
        """After the terminal event: the log has served. A replay is rebuilt from the record from then on."""
        ttl = 60 if start.request.store is False else self._log_ttl
        state, log = key_names.state(start.response_id), key_names.log(start.response_id)
        await self._redis.eval(_TOUCH_STATE, 2, state, log, key_names.CLOSED_FENCE, ttl)

    async def restore(
        self, start: StartResponse, ancestors: Sequence[str] | None, finished: FinishedResponse | None
    ) -> bool:
        """Put back what Redis lost and Temporal still has. `ancestors` is None where they are not known. False: it was
        erased, and stays so."""
        fields: dict[str, bytes | str] = {"start": _encode(start), "tenant": start.tenant}
        if ancestors is not None:
            fields["ancestors"] = ",".join(ancestors)
        if finished is not None:
            fields |= {"response": orjson.dumps(finished.response), "trace": orjson.dumps(finished.trace)}
        pipe = self._redis.pipeline(transaction=False)
        _write(pipe, start.response_id, self._ttl, fields)
        (written,) = await pipe.execute()
        return bool(written == 1)

    async def trace(self, response_id: str) -> list[Op] | None:
        """How the finished response was cut into events."""
        raw = await self._redis.execute_command("HGET", key_names.record(response_id), "trace")  # type: ignore[no-untyped-call]
        ops: list[Op] | None = None if raw is None else orjson.loads(raw)
        return ops

    async def delete(self, response_id: str) -> None:
        """Forget it, and remember that: Temporal may know it for some seconds more."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(key_names.record(response_id))
        _close_log(pipe, response_id, TOMBSTONE_SECONDS)
        pipe.hset(key_names.record(response_id), "deleted", "1")
        pipe.expire(key_names.record(response_id), TOMBSTONE_SECONDS)
        await pipe.execute()

    async def forget(self, response_id: str) -> None:
        """Delete all of it, and leave no more than a tombstone that was there already."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.eval(_DROP_RECORD, 1, key_names.record(response_id), "")
        _close_log(pipe, response_id, FENCE_SECONDS)
        await pipe.execute()

    async def note_erasure(self) -> None:
        """Something was erased that an append-only file still has."""
        await self._redis.set(key_names.ERASED, "1", ex=_ERASURE_NOTED_SECONDS)

    async def take_erasures(self, *, every_seconds: int) -> bool:
        """Whether something was erased since this was last true, for any process, which is that long ago at least."""
        if not await self._redis.exists(key_names.ERASED):
            return False
        if not await self._redis.set(key_names.REWRITTEN, "1", nx=True, ex=every_seconds):
            return False
        return bool(await self._redis.execute_command("GETDEL", key_names.ERASED))  # type: ignore[no-untyped-call]

    async def rewrite_append_only_file(self) -> None:
        """In the background, by a child of Redis. Raises RedisError where one is under way, or it is not allowed."""
        await self._redis.bgrewriteaof()

    async def hold_approval(self, approval_request_id: str, response_id: str, seconds: int) -> bool:
        """Keep others off an approval until the response has begun. False: another response has it, or holds it.

        A hold has another value than the mark of a response that has acted on it: giving up a start must not remove
        that, also where the id of both responses follows from one `Idempotency-Key`.
        """
        key, held = key_names.approval(approval_request_id), _held_by(response_id)
        holder = await self._redis.set(key, held, nx=True, get=True, ex=seconds)
        return holder is None or holder in (held.encode(), response_id.encode())

    async def let_go_of_approval(self, approval_request_id: str, response_id: str) -> None:
        """The response that holds it does not begin. One that has acted on it keeps it."""
        await self._redis.eval(_DELETE_IF_EQUAL, 1, key_names.approval(approval_request_id), _held_by(response_id))

    async def keep_approval(self, approval_request_id: str, response_id: str) -> None:
        """The response has acted on it: for as long as it is stored, nobody else may."""
        await self._redis.set(key_names.approval(approval_request_id), response_id, ex=self._ttl)

    async def request_cancel(self, response_id: str) -> None:
        """The fast way to a running sample: a flag that its next append sees, and a word to a silent one."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.eval(_TOUCH_STATE, 1, key_names.state(response_id), key_names.CLOSED_FENCE, self._ttl, "cancelled", "1")
        pipe.publish(key_names.CONTROL, f"cancel {response_id}")
        await pipe.execute()

    async def tell_workers_to_stop(self, response_id: str) -> None:
        """Whatever still runs for a response that has ended."""
        await self._redis.publish(key_names.CONTROL, f"cancel {response_id}")


def _held_by(response_id: str) -> str:
    return f"held {response_id}"


def _write(
    pipe: Pipeline, response_id: str, ttl: int, fields: Mapping[str, bytes | str], *, only_new: bool = False
) -> None:
    """Every write of a response's content to its record goes this way, since only the script sees a tombstone."""
    flat = [part for pair in fields.items() for part in pair]
    pipe.eval(_WRITE_RECORD, 1, key_names.record(response_id), ttl, "1" if only_new else "0", *flat)


def _close_log(pipe: Pipeline, response_id: str, seconds: int) -> None:
    """No log any more, and none again: a worker that was stalled would restore what it thinks has been lost."""
    pipe.delete(key_names.log(response_id), key_names.state(response_id))
    pipe.hset(key_names.state(response_id), "fence", key_names.CLOSED_FENCE)
    pipe.expire(key_names.state(response_id), seconds)
    pipe.zrem(key_names.OPEN, response_id)


def _encode(start: StartResponse) -> bytes:
    return start.model_dump_json(exclude_unset=True, exclude={"carried"}).encode()


def _decode(
    deleted: bytes | None, start: bytes | None, response: bytes | None, ancestors: bytes | None = None
) -> Record | Deleted | None:
    if deleted is not None:
        return Deleted()
    if start is None:
        return None
    chain = tuple(ancestors.decode().split(",")) if ancestors else ()
    # A response without any has the field all the same, and it is empty.
    return Record(start, chain, response, knows_ancestors=ancestors is not None)
