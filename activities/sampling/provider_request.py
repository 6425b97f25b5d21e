"""Builds the call that an adapter gets: the conversation as a model reads it, tools, limits, and the key."""

from __future__ import annotations

from activities.sampling.context import Context
from open_responses.context.compaction import from_summary, owner
from open_responses.context.transcript import as_model_reads
from open_responses.contracts import SampleCall
from open_responses.errors import ServerError
from open_responses.events.fold import Fold
from open_responses.io.sealing import SealBroken, Sealer
from open_responses.loop.payloads.sample import SampleInput
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.mcp_tool import HOSTED_LABEL
from open_responses.tool_use.client_calls import as_function_calls
from open_responses.tool_use.tool_table import ToolTable


def build_call(
    call: SampleInput,
    context: Context,
    tool_table: ToolTable,
    fold: Fold,
    sealer: Sealer,
    *,
    max_output_tokens: int | None,
    goes_on: bool = False,
) -> SampleCall:
    """The call, with the output as `fold` has it. `max_output_tokens` are what is left of the budget.

    Raises ServerError for what was sealed with a key that this process does not have.
    """
    start = context.start
    names = {(route.server_label, route.tool): name for name, route in tool_table.routes.items()}
    conversation = from_summary(
        context.conversation(fold.snapshot(), goes_on=goes_on),
        lambda sealed: _summary(sealer, start.tenant, sealed),
    )
    if not tool_table.is_native:
        conversation = as_function_calls(conversation, tool_table.shown_name)
    items = as_model_reads(
        conversation,
        lambda label, tool: tool if label.split(":")[0] == HOSTED_LABEL else names.get((label, tool), tool),
    )
    return SampleCall(
        model=call.upstream_model,
        items=items,
        request=context.request,
        tools=tool_table.functions,
        tool_choice=tool_table.choice,
        max_output_tokens=max_output_tokens,
        provider_tools=[*tool_table.provider_tools, *tool_table.native],
        api_key=_own_key(sealer, start) if call.fallback == 0 else None,
    )


def _own_key(sealer: Sealer, start: StartResponse) -> str | None:
    """The key that the request brought for its provider; a fallback is another provider, and has its own."""
    if start.provider_key is None:
        return None
    try:
        return sealer.unseal(start.provider_key, bound_to=start.response_id).decode()
    except SealBroken as error:
        raise ServerError(f"The provider key that you sent cannot be read: {error}") from error


def _summary(sealer: Sealer, tenant: str, sealed: str) -> str:
    try:
        return sealer.unseal(sealed, bound_to=owner(tenant)).decode()
    except SealBroken as error:
        raise ServerError(f"A compaction in your conversation cannot be read: {error}") from error
