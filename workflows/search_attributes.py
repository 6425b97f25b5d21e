"""Sets the search attributes of a response's run: an operator filters and sorts the runs in Temporal by them.

Each change is an event in history and a write to Temporal's index, so an attribute is set only where it changes.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

with workflow.unsafe.imports_passed_through():
    from open_responses.json_types import JsonObject
    from open_responses.loop import search_attributes as names
    from open_responses.loop.payloads.start import StartResponse
    from open_responses.loop.payloads.usage import TurnUsage

MODEL = SearchAttributeKey.for_keyword(names.MODEL)
TENANT = SearchAttributeKey.for_keyword(names.TENANT)
STATUS = SearchAttributeKey.for_keyword(names.STATUS)
PROVIDER = SearchAttributeKey.for_keyword(names.PROVIDER)
ERROR_CODE = SearchAttributeKey.for_keyword(names.ERROR_CODE)
TOOLS = SearchAttributeKey.for_keyword_list(names.TOOLS)
TOKENS = SearchAttributeKey.for_int(names.TOKENS)
COST_USD = SearchAttributeKey.for_float(names.COST_USD)


def show_status(start: StartResponse, status: str) -> None:
    """Set the status of a response that goes on."""
    if start.has_search_attributes:
        _set([STATUS.value_set(status)])


def show_provider(start: StartResponse, provider: str) -> None:
    """Set the provider that the response has fallen back to."""
    if start.has_search_attributes:
        _set([PROVIDER.value_set(provider)])


def show_end(start: StartResponse, response: JsonObject, usage: TurnUsage | None) -> None:
    """Set the final status; with it, the tools that were called, the error's code, the tokens and the known cost."""
    updates: list[SearchAttributeUpdate[Any]] = [STATUS.value_set(response["status"])]
    if not start.has_search_attributes:
        workflow.upsert_search_attributes(updates)
        return
    tools = names.called_tools(response["output"], {tool.name for tool in start.hosted})
    if tools:
        updates.append(TOOLS.value_set(tools))
    if response.get("error"):
        updates.append(ERROR_CODE.value_set(response["error"]["code"]))
    if response.get("usage"):
        updates.append(TOKENS.value_set(response["usage"]["total_tokens"]))
    if usage is not None and usage.cost_usd is not None:
        updates.append(COST_USD.value_set(usage.cost_usd))
    _set(updates)


def _set(updates: list[SearchAttributeUpdate[Any]]) -> None:
    current = workflow.info().typed_search_attributes
    changes = [update for update in updates if current.get(update.key) != update.value]
    if changes:
        workflow.upsert_search_attributes(changes)
