"""Erasure: removes a response or a conversation from Redis, from Temporal's histories and from files.

What this prevents: a response with `store: false` that outlives its end because a process died within the erasure. The
file with its key is created before anything else of it, and removed last. A worker that finds such a file, untouched
for some time, completes the erasure. Without the key, a copy in a backup of Temporal's database cannot be decrypted.

A deletion of a stored response is listed first (`erasure_marks.py`), and stays listed until nothing of the response is
left, so that a worker can complete a deletion that the API began.
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

from open_responses.conversations.payloads import ConversationState
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
from open_responses.io.temporal.webhook_deliveries import forget_deliveries
from open_responses.loop.payloads.start import StartResponse

log = structlog.get_logger(__name__)

_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.05, 1.0
# The workflow closes milliseconds after its terminal event; a cancelled one first closes its provider's connection.
_SOON_SECONDS = 20.0
_ROUNDS_PER_PATIENCE = 4
_QUERY_TIMEOUT = timedelta(seconds=15)
_LONGEST_ROUND_SECONDS = 5.0


class Eraser:
    """Erases responses and conversations, and completes erasures that other processes began.

    Args:
        store: The response store.
        temporal: The Temporal client.
        blobs: The folder with large payloads, conversations' files and marks.
        response_keys: The keys of responses with `store: false`.
        patience_seconds: The time after the last access of a reader for which such a response is kept, unless its only
            reader has read all of it.
        rewrite_log: Have Redis rewrite its append-only file after an erasure.
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
        """Create the key of a response with `store: false`. Call this before anything of the response is written."""
        if not start.request.is_stored:
            await asyncio.to_thread(self.keys.make, start.response_id)

    def erase_soon(self, start: StartResponse) -> None:
        """Erase a response with `store: false` as soon as its workflow has closed: its reader has read all of it.

        If this process dies meanwhile, a worker erases it. A response with an `Idempotency-Key` may have other readers,
        so it stays until `patience_seconds` are over.
        """
        if start.request.is_stored or start.nonce is not None:
            return
        task = in_background("erase", self._erase_when_closed(start.response_id))
        self._soon.add(task)
        task.add_done_callback(self._soon.discard)

    async def run(self) -> None:
        """Complete erasures that other processes began, until cancelled. Several processes may run this."""
        while True:
            await asyncio.sleep(min(self._patience / _ROUNDS_PER_PATIENCE, _LONGEST_ROUND_SECONDS))
            try:
                await self._round()
            except OSError as error:
                # The shared folder may be unavailable for some time, as Redis and Temporal may.
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
        """Erase a response with `store: false`. Returns False while it runs. Safe to repeat."""
        description = await describe(self._temporal, response_id)
        if description is not None and description.status == WorkflowExecutionStatus.RUNNING:
            return False
        if has_idempotency_key is None:
            has_idempotency_key = await self._has_idempotency_key(description)
        await asyncio.to_thread(self.marks.mark, response_id, FENCE_SECONDS)
        if has_idempotency_key:
            # A tombstone, without content: the id follows from the key, and must not begin a second response.
            await self._store.delete(response_id)
        else:
            await self._store.forget(response_id)
        await self._forget(response_id, description)
        with contextlib.suppress(*RedisDown):
            await self._store.note_erasure()
        return True

    async def delete(self, response_id: str) -> None:
        """Delete a stored response from Redis and, within seconds, from Temporal.

        Once the deletion is listed, a worker completes it after any fault.

        Raises:
            RPCError: Temporal cannot be reached. Nothing is deleted.
            Unavailable: The deletion is listed, but Redis cannot be reached and may still return the response.
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
        """Delete all runs of a conversation's workflow. The caller has listed the deletion."""
        try:
            await self._delete_conversation(conversation_id)
        except (RPCError, OSError) as error:
            log.info("deletion_goes_on", conversation_id=conversation_id, reason=type(error).__name__)

    async def finish_deletions(self) -> None:
        """Carry out the listed deletions, and remove those that are complete from the list."""
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
        """Returns whether Temporal had nothing left. Safe to repeat.

        The mark and the tombstone come first: after them, late writers are rejected.
        """
        await asyncio.to_thread(self.marks.mark, response_id, TOMBSTONE_SECONDS)
        await self._store.delete(response_id)
        await self._forget(response_id, description)
        await forget_deliveries(self._temporal, response_id)
        with contextlib.suppress(*RedisDown):
            await self._store.note_erasure()
        return description is None

    async def _delete_conversation(self, conversation_id: str) -> bool:
        """Returns whether Temporal had nothing left.

        While a response in the conversation runs, the conversation is hidden and kept: the response would read it again
        if its worker died.
        """
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
        """The ids of all runs, oldest first.

        Continue-as-new and an operator's reset leave several, each with a history.

        The newest is deleted last, so that a process that continues after an interruption finds the others from it.
        """
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
        """The id of the run before this one; empty if there is none, or the history is gone.

        Raises:
            RPCError: Temporal cannot be reached. To ignore this would leave a run behind.
        """
        handle = self._temporal.get_workflow_handle(workflow_id, run_id=run_id)
        try:
            async for event in handle.fetch_history_events(page_size=1):
                return event.workflow_execution_started_event_attributes.continued_execution_run_id
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
        return ""

    async def _delete_run(self, workflow_id: str, run_id: str) -> None:
        """Delete one run. Temporal terminates a run that is still open."""
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        deletion = DeleteWorkflowExecutionRequest(namespace=self._temporal.namespace, workflow_execution=execution)
        try:
            await self._temporal.workflow_service.delete_workflow_execution(deletion)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise

    async def _has_idempotency_key(self, description: WorkflowExecutionDescription | None) -> bool:
        """Whether the response's start has a nonce. True if the start cannot be read any more."""
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
        """Have Redis rewrite its append-only file, which keeps deleted content until then."""
        try:
            if await self._store.take_erasures(every_seconds=max(1, int(self._patience / _ROUNDS_PER_PATIENCE))):
                await self._store.rewrite_append_only_file()
        except (RedisError, OSError) as error:
            log.info("append_only_file_not_rewritten", reason=str(error))
