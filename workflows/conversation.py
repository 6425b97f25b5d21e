"""The workflow of one conversation, until it is deleted. The workflow's id is the conversation's id.

The state machine is `open_responses/conversations/state.py`; this workflow passes updates, signals and queries to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from open_responses.conversations.payloads import (
        CONVERSATION_WORKFLOW,
        RESPONSE_ENDED,
        AddItems,
        ConversationPart,
        ConversationState,
        Page,
        PageQuery,
        PartQuery,
        ResponseEnd,
        SetMetadata,
        TakeLock,
    )
    from open_responses.conversations.state import GONE, Conversation, Refused
    from open_responses.json_types import JsonObject


@workflow.defn(name=CONVERSATION_WORKFLOW)
class ConversationWorkflow:
    """Holds a conversation. Validators reject invalid updates before they enter history."""

    @workflow.init
    def __init__(self, opened: ConversationState) -> None:
        self._conversation = Conversation(opened)
        self._changes = 0
        self._ignored = 0
        self._is_deleted = False
        self._show()

    @workflow.run
    async def run(self, opened: ConversationState) -> None:
        """Run until `delete`.

        Temporal's cancellation ("Request Cancellation" in the UI) is raised in this task alone, and ignored. A
        conversation has no work to cancel, and if its workflow ended, its items could not be read.
        """
        resting = asyncio.create_task(self._rest(opened.renew_seconds))
        while not resting.done():
            try:
                await workflow.wait([resting])
            except asyncio.CancelledError:
                workflow.logger.warning("a cancellation of a conversation was ignored")
                self._ignored += 1
                self._show()
        resting.result()
        if not self._is_deleted:
            workflow.continue_as_new(self._conversation.state)

    async def _rest(self, seconds: float) -> None:
        """Wait until the conversation is deleted, or another run has to take over."""
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(self._is_due, timeout=timedelta(seconds=seconds), timeout_summary="renewal")
        await workflow.wait_condition(workflow.all_handlers_finished)

    # --- changes

    @workflow.update
    def add_items(self, call: AddItems) -> None:
        self._change(lambda: self._conversation.add(call.items))

    @add_items.validator
    def _check_addition(self, call: AddItems) -> None:
        self._check(lambda: self._conversation.check_addition(call.items))

    @workflow.update
    def delete_item(self, item_id: str) -> None:
        self._change(lambda: self._conversation.delete(item_id))

    @delete_item.validator
    def _check_deletion(self, item_id: str) -> None:
        self._check(lambda: self._conversation.check_deletion(item_id))

    @workflow.update
    def set_metadata(self, call: SetMetadata) -> None:
        self._change(lambda: self._conversation.set_metadata(call.metadata))

    # The lock's handlers keep the names that API processes of earlier versions send (`by_hand.py` finds them by name).

    @workflow.update
    def begin_turn(self, call: TakeLock) -> None:
        self._change(lambda: self._conversation.take_lock(call))

    @begin_turn.validator
    def _check_lock(self, call: TakeLock) -> None:
        self._check(lambda: self._conversation.check_lock(call))

    @workflow.update
    def settle_turn(self, call: ResponseEnd) -> None:
        """Do the same as `end_turn`. The API sends this for a response that ended without sending its signal."""
        self._change(lambda: self._conversation.end_response(call))

    @workflow.update
    def release_turn(self, response_id: str) -> None:
        self._change(lambda: self._conversation.release_lock(response_id))

    @workflow.update
    def delete(self) -> None:
        self._is_deleted = True

    @workflow.signal(name=RESPONSE_ENDED)
    def end_turn(self, call: ResponseEnd) -> None:
        """Add the items of a response that has ended. The response's workflow sends this."""
        if not self._is_deleted:
            self._change(lambda: self._conversation.end_response(call))

    # --- queries

    @workflow.query
    def state(self) -> ConversationState:
        return self._conversation.state

    @workflow.query
    def summary(self) -> ConversationState:
        """The state without its items."""
        return self._conversation.summary(workflow.info().run_id)

    @workflow.query
    def part(self, query: PartQuery) -> ConversationPart:
        return self._conversation.part(query, workflow.info().run_id)

    @workflow.query
    def page(self, query: PageQuery) -> Page:
        return self._conversation.page(query)

    @workflow.query
    def item(self, item_id: str) -> JsonObject | None:
        return self._conversation.item(item_id)

    # --- changes and runs

    def _is_due(self) -> bool:
        return (
            self._is_deleted
            or self._changes >= self._conversation.state.changes_per_run
            or workflow.info().is_continue_as_new_suggested()
        )

    def _check(self, act: Callable[[], None]) -> None:
        if self._is_deleted:
            raise ApplicationError("This conversation was deleted.", type=GONE)
        try:
            act()
        except Refused as refusal:
            about = () if refusal.param is None else (refusal.param,)
            raise ApplicationError(refusal.message, *about, type=refusal.code) from None

    def _change(self, act: Callable[[], None]) -> None:
        self._check(act)
        self._changes += 1
        self._show()

    def _show(self) -> None:
        """Set the details that the Temporal UI shows to an operator."""
        state = self._conversation.state
        lock = f"locked by `{state.lock.response_id}`" if state.lock is not None else "not locked"
        details = f"**{lock}**\n\n- items: {len(state.entries)}\n- revision: {state.revision}"
        if self._ignored:
            details += "\n- cancellation ignored: delete it with `DELETE /v1/conversations/{id}`"
        workflow.set_current_details(details)
