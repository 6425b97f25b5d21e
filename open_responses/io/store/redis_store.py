"""The records of responses in Redis: request, final response and trace.

Temporal has the durable copy. A reader that finds no record here restores it from there (`repository.py`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import orjson

from open_responses.events.trace import Op
from open_responses.io.log.state_fields import COST
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Pipeline, Redis, RedisDown, script
from open_responses.io.redis.rate_limits import Used, settle
from open_responses.io.redis.usage_counters import count
from open_responses.io.store.records import Deleted, Foreign, Record, TooLong, decoded, encoded_start
from open_responses.io.store.used_tokens import used_by
from open_responses.loop.payloads.finish import FinishedResponse, UsageRecord
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage

TOMBSTONE_SECONDS = 24 * 3600
"""Longer than any activity may run, so that a worker that was stalled cannot write to a deleted response."""
_ERASURE_NOTED_SECONDS = 3600
FENCE_SECONDS = 3600
"""The time for which writes to an erased response with `store: false` are rejected."""
_MISSING = script("store/missing.lua")
_OWNED = script("store/owned.lua")
_SIZES = script("store/sizes.lua")
_WRITE_RECORD = script("store/write_record.lua")
_DROP_RECORD = script("store/drop_record.lua")
_TOUCH_STATE = script("log/touch_state.lua")
# The key's time to live starts again with each entry, so entries that no process removed are dropped by their age.
_LIST_OPEN = """
local added = redis.call('ZADD', KEYS[1], 'NX', ARGV[2], ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[1])
return added
"""
_NAME_OWNER = "if redis.call('HEXISTS', KEYS[1], 'start') == 1 then redis.call('HSET', KEYS[1], 'tenant', ARGV[1]) end"
_DELETE_IF_EQUAL = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Stored(NamedTuple):
    """The outcome of `finish`. Not `is_kept`: the response was erased. Not `is_first`: it had its end already."""

    is_kept: bool
    is_first: bool


class ResponseStore:
    """Reads and writes records. Raises `RedisDown` during an outage."""

    def __init__(self, redis: Redis, *, ttl_seconds: int, log_ttl_seconds: int) -> None:
        self.redis = self._redis = redis
        self.ttl_seconds = self._ttl = ttl_seconds
        self._log_ttl = log_ttl_seconds

    async def begin(self, start: StartResponse, ancestors: Sequence[str]) -> bool:
        """Write the request, before the workflow starts, so that its first sample can read it.

        Returns False, and changes nothing, if the id has a record already or is that of a deleted response.
        """
        pipe = self._redis.pipeline(transaction=False)
        fields: dict[str, bytes | str] = {
            "start": encoded_start(start),
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

    async def list_open(self, start: StartResponse) -> None:
        """List a response that no request began as one without an end, before its first event.

        A response that is not in the list is taken for one that Redis has lost, with the events that clients have read.
        """
        oldest = start.created_at - self._ttl
        await self._redis.eval(_LIST_OPEN, 1, key_names.OPEN, self._ttl, start.created_at, start.response_id, oldest)

    async def retract(self, response_id: str, written: bytes) -> None:
        """Remove the record of a request that does not start.

        `written` is its start as JSON. The record of another request under the id stays, and so does a tombstone.
        """
        if await self._redis.eval(_DROP_RECORD, 1, key_names.record(response_id), written):
            await self._redis.zrem(key_names.OPEN, response_id)

    async def load(self, response_ids: Sequence[str], *, with_ancestors: bool = True) -> list[Record | Deleted | None]:
        """The records, in order; None for each that is missing. One round trip.

        For the records of one chain, leave the ancestors out: the caller has the list already.
        """
        pipe = self._redis.pipeline(transaction=False)
        fields = ["deleted", "start", "response", *(["ancestors"] if with_ancestors else [])]
        for response_id in response_ids:
            pipe.hmget(key_names.record(response_id), fields)
        return [decoded(*reply) for reply in await pipe.execute()]

    async def owned(
        self, response_id: str, tenant: str, *, most_bytes: int | None = None
    ) -> Record | Foreign | TooLong | None:
        """The record, if it is this tenant's and at most `most_bytes` long.

        One round trip, which takes as long for a record of another tenant as for a missing one. Records of earlier
        versions are returned whatever their length.
        """
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
        record = decoded(None, *fields)
        if what == b"found":
            assert isinstance(record, Record)
            return record
        # An earlier version wrote no tenant field. It is added, so that the next check need not read the record.
        assert isinstance(record, Record)
        await self._redis.eval(_NAME_OWNER, 1, key, record.start.tenant)
        return record if record.start.tenant == tenant else Foreign()

    async def size(self, response_ids: Sequence[str]) -> int:
        """The length of these records together, in bytes, without reading them. A missing one counts 0."""
        if not response_ids:
            return 0
        found: int = await self._redis.eval(_SIZES, 0, ",".join(map(key_names.record, response_ids)))
        return found

    async def missing(self, response_ids: Sequence[str]) -> set[str]:
        """The ids that have no record: they were deleted, or Redis lost them."""
        if not response_ids:
            return set()
        # One argument: to encode 500 takes this process longer than the look-up takes Redis.
        found = await self._redis.eval(_MISSING, 0, ",".join(map(key_names.record, response_ids)))
        return {response_ids[number - 1] for number in found}

    async def finish(
        self,
        start: StartResponse,
        response: bytes,
        trace: list[Op],
        used: Used,
        counted: UsageRecord | None = None,
        agents: TurnUsage | None = None,
    ) -> Stored:
        """Write the final response, or remove one with `store: false`, and count its tokens and its cost.

        The usage of its agents is kept, and not counted: their responses count for themselves.

        If Redis was flushed meanwhile, the record has no ancestors; a reader restores them. A response that was
        erased stays so.
        """
        response_id = start.response_id
        pipe = self._redis.pipeline(transaction=False)
        if start.request.store is False:
            pipe.eval(_DROP_RECORD, 1, key_names.record(response_id), "")
        else:
            fields: dict[str, bytes | str] = {
                "start": encoded_start(start),
                "tenant": start.tenant,
                "response": response,
                "trace": orjson.dumps(trace),
            }
            if counted is not None and counted.usage is not None:
                fields["usage"] = counted.usage.model_dump_json(exclude_defaults=True)
            if agents is not None:
                fields["agents"] = agents.model_dump_json(exclude_defaults=True)
            _write(pipe, response_id, self._ttl, fields)
        pipe.zrem(key_names.OPEN, response_id)
        if counted is not None:
            count(pipe, counted)
        if start.admitted is not None:
            settle(pipe, start.admitted, response_id, used)
        written, was_open, *_ = await pipe.execute()
        # A stored response is found by `ended`. Of one with `store: false`, only the entry in the list of open
        # responses shows whether it had ended.
        return Stored(is_kept=bool(written != -1), is_first=start.request.store is not False or bool(was_open))

    async def ended(self, response_id: str) -> FinishedResponse | None:
        """The stored end; None for a response that has none, or has `store: false`."""
        names = ["response", "trace", "usage", "agents"]
        response, trace, usage, agents = await self._redis.hmget(key_names.record(response_id), names)
        if response is None:
            return None
        return FinishedResponse(
            response=orjson.loads(response),
            trace=orjson.loads(trace or b"[]"),
            usage=None if usage is None else TurnUsage.model_validate_json(usage),
            agents=None if agents is None else TurnUsage.model_validate_json(agents),
        )

    async def cost(self, response_id: str) -> float | None:
        """The cost of a response that has ended and of its agents, in US dollars; None if a part of it is not known.

        The log has it as well, for a response that is not stored.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hmget(key_names.record(response_id), ["usage", "agents"])
        pipe.hget(key_names.state(response_id), COST)
        (usage, agents), cost = await pipe.execute()
        if usage is not None:
            own = TurnUsage.model_validate_json(usage)
            return (own if agents is None else own.plus(TurnUsage.model_validate_json(agents))).whole_cost
        return None if cost is None else float(cost)

    async def answers(self) -> bool:
        """Whether Redis answers at the moment."""
        try:
            return bool(await self._redis.ping())
        except RedisDown:
            return False

    async def has_ended(self, response_id: str) -> bool:
        """Whether the final response is stored."""
        return bool(await self._redis.hexists(key_names.record(response_id), "response"))

    async def has_log(self, response_id: str) -> bool:
        """Whether a run has written events of it."""
        return bool(await self._redis.hexists(key_names.state(response_id), "fence"))

    async def open_since(self, seconds: float, offset: int, count: int) -> list[str]:
        """The responses that began `seconds` ago or earlier, and have no end in the store; oldest first."""
        members: list[bytes] = await self._redis.zrangebyscore(  # type: ignore[assignment]
            key_names.OPEN, "-inf", time.time() - seconds, start=offset, num=count
        )
        return [member.decode() for member in members]

    async def close(self, response_id: str) -> None:
        """Remove a response from the list of those without an end."""
        await self._redis.zrem(key_names.OPEN, response_id)

    async def release(self, start: StartResponse, finished: FinishedResponse | None) -> None:
        """Free the slot of a response that has ended, and count its tokens and its cost. Safe to repeat."""
        pipe = self._redis.pipeline(transaction=False)
        if finished is not None:
            count(pipe, finished.used_by(start))
        pipe.zrem(key_names.OPEN, start.response_id)
        if start.admitted is not None:
            used = Used(0)
            if finished is not None:
                used = used_by(
                    finished.response,
                    context_tokens=start.context_tokens,
                    was_cut_off=True,
                    usage=finished.usage,
                )
            settle(pipe, start.admitted, start.response_id, used)
        await pipe.execute()

    async def age_log(self, start: StartResponse) -> None:
        """Let the log expire, after its terminal event. A later replay is rebuilt from the record."""
        ttl = 60 if start.request.store is False else self._log_ttl
        state, log = key_names.state(start.response_id), key_names.log(start.response_id)
        await self._redis.eval(_TOUCH_STATE, 2, state, log, key_names.CLOSED_FENCE, ttl)

    async def restore(
        self, start: StartResponse, ancestors: Sequence[str] | None, finished: FinishedResponse | None
    ) -> bool:
        """Write a record that Redis lost and Temporal still has. `ancestors` is None if they are not known.

        Returns False if the response was erased, which stays.
        """
        fields: dict[str, bytes | str] = {"start": encoded_start(start), "tenant": start.tenant}
        if ancestors is not None:
            fields["ancestors"] = ",".join(ancestors)
        if finished is not None:
            fields |= {"response": orjson.dumps(finished.response), "trace": orjson.dumps(finished.trace)}
            if finished.usage is not None:
                fields["usage"] = finished.usage.model_dump_json(exclude_defaults=True)
            if finished.agents is not None:
                fields["agents"] = finished.agents.model_dump_json(exclude_defaults=True)
        pipe = self._redis.pipeline(transaction=False)
        _write(pipe, start.response_id, self._ttl, fields)
        (written,) = await pipe.execute()
        return bool(written == 1)

    async def trace(self, response_id: str) -> list[Op] | None:
        """The trace of the finished response: how it was cut into events."""
        raw = await self._redis.execute_command("HGET", key_names.record(response_id), "trace")  # type: ignore[no-untyped-call]
        ops: list[Op] | None = None if raw is None else orjson.loads(raw)
        return ops

    async def delete(self, response_id: str) -> None:
        """Delete the record, and leave a tombstone: Temporal may have the response for some more seconds."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(key_names.record(response_id))
        _close_log(pipe, response_id, TOMBSTONE_SECONDS)
        pipe.hset(key_names.record(response_id), "deleted", "1")
        pipe.expire(key_names.record(response_id), TOMBSTONE_SECONDS)
        await pipe.execute()

    async def forget(self, response_id: str) -> None:
        """Delete the record without a new tombstone. One that is there already stays."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.eval(_DROP_RECORD, 1, key_names.record(response_id), "")
        _close_log(pipe, response_id, FENCE_SECONDS)
        await pipe.execute()

    async def note_erasure(self) -> None:
        """Note an erasure: the append-only file still has the content."""
        await self._redis.set(key_names.ERASED, "1", ex=_ERASURE_NOTED_SECONDS)

    async def take_erasures(self, *, every_seconds: int) -> bool:
        """Whether something was erased since this last returned True in any process, `every_seconds` ago or earlier."""
        if not await self._redis.exists(key_names.ERASED):
            return False
        if not await self._redis.set(key_names.REWRITTEN, "1", nx=True, ex=every_seconds):
            return False
        return bool(await self._redis.execute_command("GETDEL", key_names.ERASED))  # type: ignore[no-untyped-call]

    async def rewrite_append_only_file(self) -> None:
        """Start the rewrite, by a child process of Redis. Raises RedisError if one runs, or it is not allowed."""
        await self._redis.bgrewriteaof()

    async def hold_approval(self, approval_request_id: str, response_id: str, seconds: int) -> bool:
        """Hold an approval for a response until it has begun. Returns False if another response holds or has used it.

        The value of a hold differs from the mark of a used approval. A start that is given up must not remove the mark,
        also if the ids of both responses follow from one `Idempotency-Key`.
        """
        key, held = key_names.approval(approval_request_id), _held_by(response_id)
        holder = await self._redis.set(key, held, nx=True, get=True, ex=seconds)
        return holder is None or holder in (held.encode(), response_id.encode())

    async def let_go_of_approval(self, approval_request_id: str, response_id: str) -> None:
        """Release the hold of a response that does not begin. The mark of a used approval stays."""
        await self._redis.eval(_DELETE_IF_EQUAL, 1, key_names.approval(approval_request_id), _held_by(response_id))

    async def keep_approval(self, approval_request_id: str, response_id: str) -> None:
        """Mark an approval as used by this response, for as long as the response is stored."""
        await self._redis.set(key_names.approval(approval_request_id), response_id, ex=self._ttl)

    async def request_cancel(self, response_id: str) -> None:
        """Stop a running sample: set a flag that its next append reads, and publish `cancel` for one without events."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.eval(_TOUCH_STATE, 1, key_names.state(response_id), key_names.CLOSED_FENCE, self._ttl, "cancelled", "1")
        pipe.publish(key_names.CONTROL, f"cancel {response_id}")
        await pipe.execute()

    async def tell_workers_to_stop(self, response_id: str) -> None:
        """Publish `cancel`: workers stop the activities that still run for a response that has ended."""
        await self._redis.publish(key_names.CONTROL, f"cancel {response_id}")


def _held_by(response_id: str) -> str:
    return f"held {response_id}"


def _write(
    pipe: Pipeline, response_id: str, ttl: int, fields: Mapping[str, bytes | str], *, only_new: bool = False
) -> None:
    """Every write of content to a record goes through this script, which rejects it if there is a tombstone."""
    flat = [part for pair in fields.items() for part in pair]
    pipe.eval(_WRITE_RECORD, 1, key_names.record(response_id), ttl, "1" if only_new else "0", *flat)


def _close_log(pipe: Pipeline, response_id: str, seconds: int) -> None:
    """Delete the log and fence it, so that a worker that was stalled does not restore a log that it takes for lost."""
    pipe.delete(key_names.log(response_id), key_names.state(response_id))
    pipe.hset(key_names.state(response_id), "fence", key_names.CLOSED_FENCE)
    pipe.expire(key_names.state(response_id), seconds)
    pipe.zrem(key_names.OPEN, response_id)
