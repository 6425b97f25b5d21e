"""Erases a response: in Redis, in Temporal's histories, and in files.

What this prevents: a response with `store: false` that outlives its end because a process died in between. Its key's
file is there before anything else of it, and is thrown away last; whoever finds a file that nobody has touched for a
while finishes the work. With the key gone, what a backup of Temporal's database still has is noise.

What was stored and is deleted is listed first (`erasure_marks.py`), and stays listed until nothing of it is found any
more: a worker finishes what the API began.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path

import structlog
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from open_responses.conversations.state import ConversationState
from open_responses.errors import Unavailable
from open_responses.ids import is_id
from open_responses.io.background import in_background
from open_responses.io.redis.client import RedisDown, RedisError
from open_responses.io.store.redis_store import FENCE_SECONDS, TOMBSTONE_SECONDS, ResponseStore
from open_responses.io.temporal.describe import describe
from open_responses.io.temporal.earlier_runs import earlier_runs
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.large_payloads import ERASED, forget_payloads
from open_responses.io.temporal.payload_keys import ResponseKeys
from open_responses.loop.payloads import StartResponse

log = structlog.get_logger(__name__)

_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.05, 1.0
# The workflow closes milliseconds after its terminal event; a cancelled one has a provider to hang up on first.
_SOON_SECONDS = 20.0
_ROUNDS_PER_PATIENCE = 4
_QUERY_TIMEOUT = timedelta(seconds=15)
_LONGEST_ROUND_SECONDS = 5.0


class Eraser:
    """`keys` are those of the responses that are not to be stored.

    `patience_seconds` is how long one of these is kept after the last sign of a reader, unless its only reader has
    had all of it. With `rewrite_log`, Redis is asked to write its append-only file anew after something was erased.
    """

    def __init__(
        self,
        store: ResponseStore,
        temporal: Client,
        blobs: Path,
        response_keys: ResponseKeys,
        *,
        patience_seconds: float,
        rewrite_log: bool = False,
    ) -> None:
        self._store = store
        self._temporal = temporal
        self._blobs = blobs
        self.keys = response_keys
        self.marks = ErasureMarks(blobs)
        self._patience = patience_seconds
        self._rewrite_log = rewrite_log
        self._soon: set[asyncio.Task[None]] = set()

    async def prepare(self, start: StartResponse) -> None:
        """Before anything of the response is written anywhere. Does nothing for one that is to be stored."""
        if not start.request.is_stored:
            await asyncio.to_thread(self.keys.make, start.response_id)

    def erase_soon(self, start: StartResponse) -> None:
        """Nobody reads on: erase it as soon as its workflow has closed. If this process dies meanwhile, a worker does.

        With an `Idempotency-Key` there may be other readers, so that it has to wait for its patience to end.
        """
        if start.request.is_stored or start.nonce is not None:
            return
        task = in_background("erase", self._erase_when_closed(start.response_id))
        self._soon.add(task)
        task.add_done_callback(self._soon.discard)

    async def run(self) -> None:
        """Erase what others have left, until cancelled. Any number of processes may do so at once."""
        while True:
            await asyncio.sleep(min(self._patience / _ROUNDS_PER_PATIENCE, _LONGEST_ROUND_SECONDS))
            try:
                await self._round()
            except OSError as error:
                # The folder is shared, and may be away for a while, as Redis and Temporal may.
                log.warning("erasure_postponed", reason=type(error).__name__)

    async def _round(self) -> None:
        for response_id in await asyncio.to_thread(lambda: list(self.keys.silent_for(self._patience))):
            try:
                if await self.erase(response_id):
                    log.info("erased_what_was_left", response_id=response_id)
            except (RPCError, RedisError, OSError) as error:
                log.warning("not_erased", response_id=response_id, reason=type(error).__name__)
        await self.finish_deletions()
        if self._rewrite_log:
            await self._rewrite_append_only_file()

    async def erase(self, response_id: str, *, has_idempotency_key: bool | None = None) -> bool:
        """Whether a response that is not to be stored is gone for good; False while it runs. Safe to repeat."""
        description = await describe(self._temporal, response_id)
        if description is not None and description.status == WorkflowExecutionStatus.RUNNING:
            return False
        if has_idempotency_key is None:
            has_idempotency_key = await self._has_idempotency_key(description)
        await asyncio.to_thread(self.marks.mark, response_id, FENCE_SECONDS)
        if has_idempotency_key:
            # The id that follows from the key must not begin a second response: a tombstone, without content.
            await self._store.delete(response_id)
        else:
            await self._store.forget(response_id)
        await self._forget(response_id, description)
        with contextlib.suppress(*RedisDown):
            await self._store.note_erasure()
        return True

    async def delete(self, response_id: str) -> None:
        """Forget a response that was stored, and what is left of it in Temporal, within seconds.

        Raises RPCError while Temporal is away: then nothing is deleted. Later faults do not undo the deletion, since it
        is listed by then: a worker carries it out. Raises Unavailable where Redis may still show the response.
        """
        description = await describe(self._temporal, response_id)
        await asyncio.to_thread(self.marks.promise, response_id)
        try:
            await self._delete_response(response_id, description)
        except RedisDown as error:
            raise Unavailable(
                "Redis does not answer. Your deletion was accepted, and is carried out when Redis answers again.",
                retry_after=5,
            ) from error
        except (RPCError, OSError) as error:
            log.info("deletion_goes_on", response_id=response_id, reason=type(error).__name__)

    async def delete_conversation(self, conversation_id: str) -> None:
        """Forget what its workflow was told, in all of its runs. The deletion is listed already."""
        try:
            await self._delete_conversation(conversation_id)
        except (RPCError, OSError) as error:
            log.info("deletion_goes_on", conversation_id=conversation_id, reason=type(error).__name__)

    async def finish_deletions(self) -> None:
        """Carry out what is listed, and take off the list what is gone."""
        for owner in await asyncio.to_thread(self.marks.promised):
            try:
                if is_id("conv_", owner):
                    is_gone = await self._delete_conversation(owner)
                else:
                    is_gone = await self._delete_response(owner, await describe(self._temporal, owner))
                if is_gone:
                    await asyncio.to_thread(self.marks.complete, owner)
            except (RPCError, RedisError, OSError) as error:
                log.warning("not_deleted", owner=owner, reason=type(error).__name__)
        await asyncio.to_thread(self.marks.clear_expired)

    async def _delete_response(self, response_id: str, description: WorkflowExecutionDescription | None) -> bool:
        """Whether nothing was left in Temporal. The mark and the tombstone come first: after them, no writer that is
        late puts anything back. Safe to repeat."""
        await asyncio.to_thread(self.marks.mark, response_id, TOMBSTONE_SECONDS)
        await self._store.delete(response_id)
        await self._forget(response_id, description)
        with contextlib.suppress(*RedisDown):
            await self._store.note_erasure()
        return description is None

    async def _delete_conversation(self, conversation_id: str) -> bool:
        """Whether nothing was left in Temporal. While a response answers the conversation, it is hidden and kept: that
        response reads it again after the death of its worker."""
        description = await describe(self._temporal, conversation_id)
        if description is not None and await self._is_being_answered(conversation_id):
            return False
        await asyncio.to_thread(self.marks.mark, conversation_id, TOMBSTONE_SECONDS)
        await self._forget(conversation_id, description)
        return description is None

    async def _is_being_answered(self, conversation_id: str) -> bool:
        conversation = self._temporal.get_workflow_handle(conversation_id)
        try:
            found = await conversation.query("summary", result_type=ConversationState, rpc_timeout=_QUERY_TIMEOUT)
        except (WorkflowQueryFailedError, *ERASED):
            return False
        if found.lock is None:
            return False
        answer = await describe(self._temporal, found.lock.response_id)
        return answer is not None and answer.status == WorkflowExecutionStatus.RUNNING

    async def _erase_when_closed(self, response_id: str) -> None:
        look = _FIRST_LOOK_SECONDS
        try:
            async with asyncio.timeout(_SOON_SECONDS):
                while not await self.erase(response_id, has_idempotency_key=False):
                    await asyncio.sleep(look)
                    look = min(2 * look, _LONGEST_LOOK_SECONDS)
        except (RPCError, RedisError, OSError) as error:
            log.info("erased_later", response_id=response_id, reason=type(error).__name__)

    async def _forget(self, response_id: str, description: WorkflowExecutionDescription | None) -> None:
        await forget_payloads(self._blobs, response_id)
        if description is not None:
            for run_id in await self._runs(description):
                await self._delete_run(response_id, run_id)
        await asyncio.to_thread(self.keys.throw_away, response_id)

    async def _runs(self, newest: WorkflowExecutionDescription) -> list[str]:
        """A long response has had several, each with its history, and so has one that an operator reset; oldest first,
        so that who is interrupted can go on from the newest."""
        runs: list[str] = []
        run_id = newest.run_id
        while run_id:
            runs.append(run_id)
            if run_id == newest.raw_description.workflow_execution_info.first_run_id:
                break
            run_id = await self._run_before(newest.id, run_id)
        listed = [run.run_id for run in await earlier_runs(self._temporal, newest) if run.run_id not in runs]
        return [*listed, *runs[::-1]]

    async def _run_before(self, workflow_id: str, run_id: str) -> str:
        """Empty where that run's history is gone. Raises RPCError: a run that was not found for another reason would
        be left behind."""
        handle = self._temporal.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            async for event in handle.fetch_history_events(page_size=1):
                return event.workflow_execution_started_event_attributes.continued_execution_run_id
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        return ""

    async def _delete_run(self, workflow_id: str, run_id: str) -> None:
        """One that still runs is terminated by it."""
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        deletion = DeleteWorkflowExecutionRequest(namespace=self._temporal.namespace, workflow_execution=execution)
        try:
            await self._temporal.workflow_service.delete_workflow_execution(deletion)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise

    async def _has_idempotency_key(self, description: WorkflowExecutionDescription | None) -> bool:
        """As its start says; if that cannot be read any more, it may."""
        if description is None:
            return False
        handle = self._temporal.get_workflow_handle(description.id, run_id=description.run_id)
        try:
            async for event in handle.fetch_history_events(page_size=1):
                payloads = event.workflow_execution_started_event_attributes.input.payloads
                (start,) = await self._temporal.data_converter.decode(payloads, [StartResponse])
                return bool(start.nonce)
        except ERASED:
            pass
        return True

    async def _rewrite_append_only_file(self) -> None:
        """What is deleted stays in Redis' append-only file until that is written anew."""
        try:
            if await self._store.take_erasures(every_seconds=max(1, int(self._patience / _ROUNDS_PER_PATIENCE))):
                await self._store.rewrite_append_only_file()
        except (RedisError, OSError) as error:
            log.info("append_only_file_not_rewritten", reason=str(error))
