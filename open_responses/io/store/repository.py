"""Loads responses by id: from Redis, or from Temporal if Redis has lost them or never had them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import orjson
import structlog
from temporalio.client import Client, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.redis.client import RedisDown
from open_responses.io.store.conversation_pieces import ConversationPieces
from open_responses.io.store.outside_ends import DELETED, OutsideEnds, ending_of
from open_responses.io.store.records import Deleted, Foreign, Record, TooLong
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.temporal.earlier_runs import earlier_runs
from open_responses.io.temporal.ends_of_runs import end_of_run
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import ERASED
from open_responses.io.temporal.owners import Owners
from open_responses.io.temporal.run_progress import progress_of
from open_responses.io.temporal.task_in_doubt import has_task_in_doubt
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.finish import FinishedResponse, Progress
from open_responses.loop.payloads.names import WORKFLOW
from open_responses.loop.payloads.start import StartResponse

log = structlog.get_logger(__name__)

# The next task of a workflow waits for some seconds for a worker that died.
_QUERY_TIMEOUT = timedelta(seconds=15)
# Another worker repeats a dead worker's workflow task after three seconds (`WORKFLOW_TASK_TIMEOUT`).
_DECIDED_WITHIN_SECONDS = 15.0
# During an outage of Redis, the task that ends a response waits. Reads then return the state in Temporal, as all others
# do.
_WITHOUT_REDIS_SECONDS = 2.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.02, 0.32
# Far longer than a start may take (`start_patience_seconds`).
_START_TAKES_SECONDS = 120.0


class NotInTemporal(ConnectionError):
    """Redis cannot be reached, and Temporal does not have the response.

    Redis may have it, since Temporal keeps runs for a shorter time. `RedisDown` includes this error.
    """

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Redis does not answer, and Temporal does not have response {response_id}")
        self.response_id = response_id


class EndUnknown(ConnectionError):
    """The response may have ended: its workflow's task was begun, and no worker completes it."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"no worker completes the workflow task of response {response_id}, which may have ended it")


class Records:
    """Loads records, and restores into Redis those that came from Temporal.

    If neither Redis nor Temporal can be read, that is an error, and never a missing or an empty response: a model would
    otherwise read a conversation without one of its parts.

    All methods raise RPCError if they need Temporal and it cannot be reached, and NotInTemporal.
    """

    def __init__(
        self, store: ResponseStore, temporal: Client, pieces: ConversationPieces, marks: ErasureMarks | None = None
    ) -> None:
        self.store = store
        self.pieces = pieces
        self.owners = Owners(temporal)
        self.outside_ends = OutsideEnds(store, temporal)
        self._temporal = temporal
        self._marks = marks

    async def load(self, response_id: str) -> Record | None:
        """The record with its ancestors; None if there is no such response."""
        return (await self._load([response_id], with_ancestors=True))[0]

    async def owned(self, response_id: str, tenant: str, *, most_bytes: int | None = None) -> Record | TooLong | None:
        """The record, if it is this tenant's. Its ancestors may not be known.

        A record of another tenant takes as long as a missing one: only its owner is read, in Redis and in Temporal, and
        Temporal is called in both cases.
        """
        redis_is_away = False
        try:
            found = await self.store.owned(response_id, tenant, most_bytes=most_bytes)
        except RedisDown:
            found, redis_is_away = None, True
        if isinstance(found, Foreign):
            await self.owners.none()
            return None
        if found is None:
            if await self.owners.owned(response_id, tenant) is not None:
                return await self._from_temporal(response_id, redis_is_away)
            if redis_is_away and not await self._is_hidden(response_id):
                raise NotInTemporal(response_id)
            return None
        return found

    async def size(self, response_ids: Sequence[str]) -> int:
        """The length of these records together, in bytes. A record that only Temporal has counts 0."""
        try:
            return await self.store.size(response_ids)
        except RedisDown:
            return 0

    async def settled(self, record: Record, *, decided: bool = False, must_be_known: bool = False) -> Record:
        """The record, with the final response that the store lacks.

        The workflow may have ended during an outage of Redis, or just before a flush. While Temporal or Redis cannot be
        reached, a response without an end counts as running, unless its state `must_be_known`.

        If `decided`, a response whose end clients have received never counts as running (`decided_outcome`). Raises
        EndUnknown then, if no worker completes the task that may have ended it.
        """
        if record.response is not None:
            return record
        start = record.start
        try:
            look = self.decided_outcome if decided else self.outcome
            finished = await look(start.response_id)
        except (RPCError, NotInTemporal):
            if must_be_known:
                raise
            return record
        if not isinstance(finished, FinishedResponse) or not start.request.is_stored:
            return record
        return await self._restored(start, record.ancestors if record.knows_ancestors else None, finished) or record

    async def load_ended(self, response_ids: Sequence[str]) -> list[Record | None]:
        """Responses that others continue, with their ends and without ancestors, in order; None for one that is gone.

        Raises:
            ConnectionError: The end of a response is not known yet. It is a moment later.
        """
        records = await self._load(response_ids, with_ancestors=False) if response_ids else []
        return [record and await self._ended(record) for record in records]

    async def _ended(self, record: Record) -> Record | None:
        if record.response is not None:
            return record
        response_id = record.start.response_id
        outcome = await self.outcome(response_id)
        if outcome == "running":
            raise ConnectionError(f"the end of response {response_id}, earlier in a chain, is not known yet")
        return None if outcome == "gone" else await self._restored(record.start, None, outcome)

    async def _load(self, response_ids: Sequence[str], *, with_ancestors: bool) -> list[Record | None]:
        redis_is_away = False
        try:
            found = await self.store.load(response_ids, with_ancestors=with_ancestors)
        except RedisDown:
            found, redis_is_away = [None] * len(response_ids), True
        records: list[Record | None] = []
        for response_id, one in zip(response_ids, found, strict=True):
            record = None if isinstance(one, Deleted) else one or await self._from_temporal(response_id, redis_is_away)
            records.append(await self.with_ancestors(record) if record is not None and with_ancestors else record)
        return records

    async def missing(self, response_ids: Sequence[str]) -> set[str]:
        """The ids that have no record in the store. During an outage of Redis, all of them."""
        try:
            return await self.store.missing(response_ids)
        except RedisDown:
            return set(response_ids)

    async def finished(self, response_id: str) -> FinishedResponse | None:
        """The result of the workflow; None while it runs, or if there is no workflow."""
        outcome = await self.outcome(response_id)
        return outcome if isinstance(outcome, FinishedResponse) else None

    async def outcome(self, response_id: str) -> FinishedResponse | Literal["running", "gone"]:
        """The result of the workflow, or its state.

        If the run ended from outside, this writes the response's end and returns it. `gone`: the response was erased,
        or was never started. Raises RPCError.
        """
        found = await self._outcome(response_id)
        return "running" if isinstance(found, WorkflowExecutionDescription) else found

    async def decided_outcome(self, response_id: str) -> FinishedResponse | Literal["running", "gone"]:
        """Do the same as `outcome`, but wait for the decision of a workflow task that is under way.

        The task may have announced the response's end already: `finish` runs within it. Redis, where it has stored the
        end, may have lost it since. Raises RPCError, and EndUnknown where no worker completes the task.
        """
        began, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
        while True:
            found = await self._outcome(response_id)
            if not isinstance(found, WorkflowExecutionDescription):
                return found
            if not await has_task_in_doubt(self._temporal, found):
                return "running"
            waited = time.monotonic() - began
            if waited > _WITHOUT_REDIS_SECONDS and not await self.store.answers():
                return "running"
            if waited > _DECIDED_WITHIN_SECONDS:
                raise EndUnknown(response_id)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _outcome(self, response_id: str) -> FinishedResponse | WorkflowExecutionDescription | Literal["gone"]:
        """Do the same as `outcome`, and return the description of an open run as well."""
        try:
            description = await self._temporal.get_workflow_handle(response_id).describe()
            for run in [*await earlier_runs(self._temporal, description, only_ended=True), description]:
                # The first end stays: an operator reset the response, or started it again, after it had ended.
                finished = await end_of_run(self._temporal, run)
                if finished is not None:
                    return finished
            ending = ending_of(description.status)
            if ending is None:
                return description
            return await self._ended_outside(response_id, ending, description.close_time or datetime.now(UTC))
        except ERASED:
            return "gone"
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        return await self._ended_outside(response_id, DELETED, datetime.now(UTC))

    async def _ended_outside(
        self, response_id: str, ending: Ending, ended_at: datetime
    ) -> FinishedResponse | Literal["gone"]:
        redis_is_away = False
        try:
            (record,) = await self.store.load([response_id], with_ancestors=False)
            if isinstance(record, Deleted):
                return "gone"
            if ending is DELETED and (record is None or not await self._was_started(record.start)):
                return "gone"
        except RedisDown:
            record, redis_is_away = None, True
        start = await self._request(response_id, redis_is_away) if record is None else record.start
        if start is None:
            return "gone"
        return await self.outside_ends.write(start, ending, int(ended_at.timestamp())) or "gone"

    async def _was_started(self, start: StartResponse) -> bool:
        """Whether the response had a run.

        The request is stored before the run begins, and a request with an `Idempotency-Key` can begin at any later
        time. Raises RedisDown.
        """
        if await self.store.has_log(start.response_id):
            return True
        return start.nonce is None and time.time() - start.created_at > _START_TAKES_SECONDS

    async def current_run(self, response_id: str) -> str | None:
        """The id of the newest run of its workflow. Raises RPCError."""
        return (await self._temporal.get_workflow_handle(response_id).describe()).run_id

    async def progress(self, response_id: str) -> Progress:
        """The output of a running response so far, from its workflow.

        Raises:
            RPCError: Temporal cannot be reached, no worker answers in time, or no worker has begun the response.
        """
        return await progress_of(self._temporal, response_id, within=_QUERY_TIMEOUT)

    async def _is_hidden(self, response_id: str) -> bool:
        return self._marks is not None and await asyncio.to_thread(self._marks.is_hidden, response_id)

    async def _from_temporal(self, response_id: str, redis_is_away: bool) -> Record | None:
        if await self._is_hidden(response_id):
            # Redis has lost the tombstone, and Temporal has not completed the deletion.
            return None
        start = await self._request(response_id, redis_is_away)
        if start is None:
            return None
        finished = await self.finished(response_id)
        if finished is not None and not start.request.is_stored:
            return None
        ancestors = await self._ancestors(start)
        if not start.request.is_stored:
            # Not restored: the response may end at this moment, and has to leave nothing behind (REQ-9).
            return Record.of(start, ancestors, None)
        return await self._restored(start, ancestors, finished)

    async def _restored(
        self, start: StartResponse, ancestors: tuple[str, ...] | None, finished: FinishedResponse | None
    ) -> Record | None:
        """Write the record to Redis and return it; None if the response was deleted meanwhile.

        `ancestors` is None if they are not known.
        """
        try:
            if not await self.store.restore(start, ancestors, finished):
                return None
        except RedisDown:
            log.info("record_not_restored", response_id=start.response_id)
        record = Record.of(start, ancestors or (), None if finished is None else orjson.dumps(finished.response))
        return replace(record, knows_ancestors=ancestors is not None)

    async def with_ancestors(self, record: Record) -> Record:
        """The record with its ancestors. A run that outlives a flush of Redis writes a record without them."""
        if record.knows_ancestors:
            return record
        start = record.start
        ancestors = await self._ancestors(start)
        if start.request.is_stored:
            await self._restored(start, ancestors, None)
        return replace(record, ancestors=ancestors, knows_ancestors=True)

    async def request(self, response_id: str) -> StartResponse | None:
        """The start, from the first event of the history.

        None if there is no history, its key was destroyed, or an operator started the run with another input.
        """
        return await self._request(response_id, False)

    async def _request(self, response_id: str, redis_is_away: bool) -> StartResponse | None:
        handle = self._temporal.get_workflow_handle(response_id)
        try:
            async for event in handle.fetch_history_events(page_size=1):
                started = event.workflow_execution_started_event_attributes
                if started.workflow_type.name != WORKFLOW:
                    return None
                (start,) = await self._temporal.data_converter.decode(started.input.payloads, [StartResponse])
                is_own = isinstance(start, StartResponse) and start.response_id == response_id
                return start if is_own else None
        except ERASED as error:
            log.info("request_unreadable", response_id=response_id, reason=str(error))
        except (ValueError, TypeError, KeyError, RuntimeError) as error:
            # An operator started a run under this id by hand, with another input.
            log.warning("request_malformed", response_id=response_id, reason=type(error).__name__)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            if redis_is_away:
                raise NotInTemporal(response_id) from error
        return None

    async def _ancestors(self, start: StartResponse) -> tuple[str, ...]:
        """The chain before a request, oldest first. Follows it back to the first record that Redis still has."""
        newest_first: list[str] = []
        previous = start.continues
        while previous is not None:
            newest_first.append(previous)
            redis_is_away = False
            try:
                (known,) = await self.store.load([previous])
            except RedisDown:
                known, redis_is_away = None, True
            if isinstance(known, Record) and known.knows_ancestors:
                return (*known.ancestors, *reversed(newest_first))
            if isinstance(known, Record):
                previous = known.start.continues
                continue
            older = await self._request(previous, redis_is_away)
            # A deleted response stays in the chain, so that a request that continues the chain is rejected, not
            # shortened.
            previous = older.continues if older else None
        return tuple(reversed(newest_first))
