"""Ends from outside: of responses whose run was terminated, timed out, failed or was deleted in Temporal.

Without this module a client would read `in_progress` for ever, the provider would go on with an answer that no response
uses, and the lock of a conversation or a slot of an API key would stay taken.

The process that finds such a run (a reader that queries Temporal, or a worker that looks for ended runs) writes the end
to the store and the event log in one step. The first end that is written stays. Before the log is read, its fence is
raised above the run's own writers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import orjson
import structlog
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from open_responses.conversations.payloads import RESPONSE_ENDED, ResponseEnd
from open_responses.events.assembler import Assembler
from open_responses.events.event_types import TERMINAL_EVENTS
from open_responses.events.fold import Fold
from open_responses.events.lifecycle import opening_events, terminal_events
from open_responses.events.trace import Op, Trace, count_events
from open_responses.io.log.encoding import encode
from open_responses.io.log.fences import END_FENCE
from open_responses.io.log.lives import NO_LIFE
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, RedisDown, script
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.telemetry.responses import response_ended_outside
from open_responses.io.temporal.run_progress import progress_of
from open_responses.io.temporal.webhook_deliveries import announce_end
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.finish import FinishedResponse, Progress, final_resource
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schedules.payloads import SCHEDULED_RESPONSE_ENDED

log = structlog.get_logger(__name__)

_FENCE_AND_READ = script("log/fence_and_read.lua")
_CONCLUDE = script("store/conclude.lua")
# The log has no other writer while it is read, so only a flush of Redis makes a second read necessary.
_LOOKS = 3
# A worker replays the ended run for the query, and there may be no worker.
_ANSWER_WITHIN = timedelta(seconds=3)

_FAILURES = {
    WorkflowExecutionStatus.TERMINATED: Ending(
        status="failed",
        error_code="run_terminated",
        error_message=(
            "The response's run was terminated in Temporal, by an operator or at a limit of Temporal. Send your "
            "request again."
        ),
    ),
    WorkflowExecutionStatus.TIMED_OUT: Ending(
        status="failed",
        error_code="run_timed_out",
        error_message="The response's run reached a timeout that was set for it in Temporal. Send your request again.",
    ),
    WorkflowExecutionStatus.FAILED: Ending(
        status="failed",
        error_code="run_failed",
        error_message=(
            "The response's run failed in Temporal before it could end the response. Report it with the response's id."
        ),
    ),
    # Earlier versions did not end a cancelled run themselves.
    WorkflowExecutionStatus.CANCELED: Ending(status="cancelled"),
}
DELETED = Ending(
    status="failed",
    error_code="run_deleted",
    error_message=(
        "Temporal no longer has the response's run: an operator deleted it, or it ended long ago, unseen. Send your "
        "request again."
    ),
)
OVERTAKEN = Ending(
    status="failed",
    error_code="run_reset",
    error_message=(
        "An operator reset the response's run to a point before the newest event of its stream. Send your request "
        "again."
    ),
)


def ending_of(status: WorkflowExecutionStatus | None) -> Ending | None:
    """The ending of a response whose run has this status; None for a run that is open or has a result."""
    return None if status is None else _FAILURES.get(status)


def statuses_with(ending: Callable[[Ending], bool]) -> list[WorkflowExecutionStatus]:
    """The statuses of runs that Temporal ended, whose response has such an ending."""
    return [status for status, known in _FAILURES.items() if ending(known)]


@dataclass(frozen=True, slots=True)
class _Known:
    """The state of a response without an end.

    Attributes:
        output: Its items.
        trace: How they were cut into events.
        closing: The events that close open items.
        usage: The tokens of its model turns.
        first: The sequence number of the next event; None if the log is lost.
        announced: The final response in the log's terminal event, if there is one.
    """

    output: list[JsonObject]
    trace: list[Op]
    closing: list[JsonObject]
    usage: TurnUsage | None
    first: int | None
    announced: JsonObject | None = None


class OutsideEnds:
    """Writes ends from outside. Several processes may do so at the same time."""

    def __init__(self, store: ResponseStore, temporal: Client) -> None:
        self._store = store
        self._temporal = temporal

    @property
    def _redis(self) -> Redis:
        return self._store.redis

    async def write(self, start: StartResponse, ending: Ending, ended_at: int) -> FinishedResponse | None:
        """Write the end. Returns it, or the end that was written first; None for a response that was erased.

        During an outage of Redis nothing is written, and each reader computes the same end. `ended_at` is in Unix
        seconds.
        """
        try:
            finished = await self._written(start, ending, ended_at)
        except RedisDown as error:
            log.info("end_not_written", response_id=start.response_id, reason=str(error))
            return _finished(start, ending, ended_at, await self._from_workflow(start, log_is_there=False))
        # After the end is written: this stops the response's activities, and the caller may be one of them.
        await self._release(start, finished)
        if finished is not None:
            with contextlib.suppress(RPCError):
                await announce_end(self._temporal, start, finished.response)
        return finished

    async def _written(self, start: StartResponse, ending: Ending, ended_at: int) -> FinishedResponse | None:
        for _ in range(_LOOKS):
            known = await self._known(start)
            if known is None:
                return None
            finished = _finished(start, ending, ended_at, known)
            code, response, trace = await self._conclude(start, finished, known)
            if code == 0:
                response_ended_outside(start, finished.response, known.usage)
                ended = finished.response
                metrics.response_ended(start, ended["status"], ended["error"], known.usage)
                return finished
            if code == 1:
                stored = FinishedResponse(
                    response=orjson.loads(response), trace=orjson.loads(trace), usage=finished.usage
                )
                return await self._announced(start, stored)
            if code == 2:
                return None
        raise ConnectionError("the log changes while it is read")

    async def _known(self, start: StartResponse) -> _Known | None:
        """Fence the log and read it. None if an erasure has closed the log."""
        log_key, state_key = key_names.log(start.response_id), key_names.state(start.response_id)
        refused, _, _, entries, _, _ = await self._redis.eval(
            _FENCE_AND_READ, 2, log_key, state_key, END_FENCE, self._store.ttl_seconds, "1-0", 0, "", NO_LIFE
        )
        if refused:
            return None
        events = [orjson.loads(fields[1]) for _, fields in entries]
        if not events:
            return await self._from_workflow(start, log_is_there=True)
        fields: Mapping[bytes, bytes] = await self._redis.hgetall(state_key)  # type: ignore[assignment]
        return _known_from(events, start.response_id, _usage_in(fields))

    async def _from_workflow(self, start: StartResponse, *, log_is_there: bool) -> _Known:
        """The finished items in the run's history, for a log that Redis lost; none if the history is deleted."""
        opening, trace = opening_events(start.initial()), Trace()
        progress: Progress | None = None
        with contextlib.suppress(RPCError):
            progress = await progress_of(self._temporal, start.response_id, within=_ANSWER_WITHIN)
        if progress is None or not progress.trace:
            for event in opening:
                trace.record(event)
            usage = progress.usage if progress is not None else None
            return _Known([], trace.ops, opening if log_is_there else [], usage, 0 if log_is_there else None)
        known = Fold(progress.output)
        for index, item in enumerate(progress.output):
            if item.get("status") == "in_progress":
                known.output[index] = {**item, "status": "incomplete"}
                trace.record({"type": "response.output_item.done", "output_index": index, "item": known.output[index]})
        return _Known(known.output, [*progress.trace, *trace.ops], [], progress.usage, None)

    async def _conclude(
        self, start: StartResponse, finished: FinishedResponse, known: _Known
    ) -> tuple[int, bytes, bytes]:
        events = [] if known.announced is not None else [*known.closing, *terminal_events(finished.response)]
        encoded = [encode(event, (known.first or 0) + i) for i, event in enumerate(events)]
        response_id = start.response_id
        code, response, trace = await self._redis.eval(
            _CONCLUDE,
            3,
            key_names.record(response_id),
            key_names.log(response_id),
            key_names.state(response_id),
            END_FENCE,
            -1 if known.first is None else known.first,
            key_names.channel(response_id),
            b"%d-%d" % (END_FENCE, known.first or 0),
            orjson.dumps(finished.response),
            orjson.dumps(finished.trace),
            self._store.ttl_seconds,
            int(start.request.is_stored),
            b"" if finished.usage is None else finished.usage.model_dump_json(exclude_defaults=True),
            *encoded,
        )
        return int(code), response, trace

    async def is_closed(self, response_id: str) -> bool:
        """Whether a process has fenced the log for such an end; it may have died since. Raises RedisDown."""
        owner = await self._redis.hget(key_names.state(response_id), "fence")
        return owner is not None and int(owner) == END_FENCE

    async def announce(self, start: StartResponse, stored: FinishedResponse) -> None:
        """Append the terminal event of a response whose end is stored, unless the log has one. Raises RedisDown."""
        await self._announced(start, stored)
        await self._release(start, stored)

    async def _announced(self, start: StartResponse, stored: FinishedResponse) -> FinishedResponse:
        """Append the terminal event of an end that another process stored: it may have died before it could."""
        known = await self._known(start)
        response, trace = stored.response, stored.trace
        first = count_events(trace)
        if known is not None and known.announced is None and known.first == first:
            await self._conclude(start, stored, _Known(response["output"], trace, [], None, first))
        return stored

    async def _release(self, start: StartResponse, finished: FinishedResponse | None) -> None:
        """Release what a running response holds: its slot of the API key, and the lock of its conversation.

        Workers that still run its activities are stopped, instead of at their next heartbeat.
        """
        with contextlib.suppress(*RedisDown):
            await self._store.tell_workers_to_stop(start.response_id)
            await self._store.release(start, finished)
            await self._store.age_log(start)
        if start.scheduled_run is not None and finished is not None:
            with contextlib.suppress(RPCError):
                run = self._temporal.get_workflow_handle(start.scheduled_run)
                await run.signal(SCHEDULED_RESPONSE_ENDED, finished.response["status"])
        if start.request.conversation_id is not None:
            with contextlib.suppress(RPCError):
                conversation = self._temporal.get_workflow_handle(start.request.conversation_id)
                await conversation.signal(RESPONSE_ENDED, ResponseEnd(response_id=start.response_id))


def _finished(start: StartResponse, ending: Ending, ended_at: int, known: _Known) -> FinishedResponse:
    if known.announced is not None:
        return FinishedResponse(response=known.announced, trace=known.trace, usage=known.usage)
    response = final_resource(start, ending, known.output, known.usage, ended_at)
    return FinishedResponse(response=response, trace=known.trace, usage=known.usage)


def _known_from(events: Sequence[JsonObject], response_id: str, usage: TurnUsage | None) -> _Known:
    fold, trace, announced = Fold(), Trace(), None
    for event in events:
        if event["type"] in TERMINAL_EVENTS:
            announced = event["response"]
        elif event["type"] != "error":
            fold.apply(event)
            trace.record({name: value for name, value in event.items() if name != "sequence_number"})
    first = len(events)
    closing = [] if announced is not None else Assembler(fold, response_id=response_id).abandon()
    for event in closing:
        trace.record(event)
    return _Known(fold.output, trace.ops, closing, usage, first, announced)


def _usage_in(fields: Mapping[bytes, bytes]) -> TurnUsage | None:
    """The tokens in the log's state: of each complete model turn, and of the attempts at the incomplete one."""
    ended = {name[5:]: orjson.loads(value)["usage"] for name, value in fields.items() if name.startswith(b"turn:")}
    spent = {name[6:]: orjson.loads(value) for name, value in fields.items() if name.startswith(b"spent:")}
    total: TurnUsage | None = None
    for counted in [*ended.values(), *(value for turn, value in spent.items() if turn not in ended)]:
        usage = TurnUsage.model_validate(counted)
        total = usage if total is None else total.plus(usage)
    return total
