"""Drops or refuses what an operator sends to a workflow with arguments that its handler does not take.

A handler that raises anything but a failure fails its workflow task, and Temporal repeats that task for ever. The SDK
drops a signal whose arguments it cannot read, but calls the handler with any number of them.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ExecuteWorkflowInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

with workflow.unsafe.imports_passed_through():
    from open_responses.api_keys.state import API_KEYS_ID, ApiKeysState
    from open_responses.conversations.payloads import ConversationState
    from open_responses.loop.payloads.start import StartResponse
    from open_responses.webhooks.deliveries import Delivery

FOREIGN_INPUT = "foreign_input"
"""The type of the failure of a run that was started by hand, with the input of another."""


class ArgumentCheck(Interceptor):
    """An interceptor for the worker: it rejects signals and updates with the wrong number of arguments, and runs with
    the input of another workflow."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Checked


class _Checked(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Refuse a run with the input of another response or conversation, because the run would write to the other's
        log and record. The API keys have exactly one workflow."""
        own, start = workflow.info().workflow_id, input.args[0] if input.args else None
        named = own
        if isinstance(start, StartResponse):
            named = start.response_id
        elif isinstance(start, ConversationState):
            named = start.conversation_id
        elif isinstance(start, Delivery):
            named = start.id
        elif isinstance(start, ApiKeysState):
            named = API_KEYS_ID
        if named != own:
            raise ApplicationError(
                f"The input names {named}, and the workflow's id is {own}.", type=FOREIGN_INPUT, non_retryable=True
            )
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        if not _takes(input.signal, input.args):
            workflow.logger.warning("a signal with arguments that do not fit was dropped")
            return
        await super().handle_signal(input)

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:
        if not _takes(input.update, input.args):
            raise ApplicationError(f"The update {input.update!r} takes other arguments.", type="invalid_arguments")
        return await super().handle_update_handler(input)


def _takes(name: str, args: Sequence[Any]) -> bool:
    """Whether the handler accepts these arguments.

    Signals and updates have the names of their methods; the SDK's own handlers have no signature to check.
    """
    handler = getattr(workflow.instance(), name, None)
    if handler is None:
        return True
    try:
        inspect.signature(handler).bind(*args)
    except TypeError:
        return False
    return True
