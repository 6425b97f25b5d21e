"""Tools of the client, and what a model reads of their calls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from open_responses.deltas import ToolCallDelta
from open_responses.errors import InvalidRequest
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.events.trace import Trace, replay_trace
from open_responses.json_types import JsonObject
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.tools import FunctionTool
from open_responses.tool_use.client_calls import as_function_calls
from open_responses.tool_use.tool_table import ToolTable
from tests.support.request_bodies import parse_create_response

PATCH = {"type": "custom", "name": "patch", "description": "Edits files."}
CRM: JsonObject = {
    "type": "namespace",
    "name": "crm",
    "description": "Customers.",
    "tools": [
        {"type": "function", "name": "find", "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "note"},
    ],
}


def assembled(table: ToolTable, *deltas: ToolCallDelta, status: Any = "completed") -> list[JsonObject]:
    """The output of a model turn, which the trace rebuilds to the byte."""
    assembler = Assembler(None, table, "resp_1")
    events = [*(event for delta in deltas for event in assembler.feed(delta)), *assembler.close(status)]
    trace, fold = Trace(), Fold()
    for event in events:
        trace.record(event)
        fold.apply(event)
    numbered = [{"type": event["type"], "sequence_number": n, **event} for n, event in enumerate(events)]
    assert json.dumps(list(replay_trace(trace.ops, fold.output, {}))) == json.dumps(numbered)
    assert fold.output == assembler.fold.output
    return fold.output


def functions(table: ToolTable) -> list[FunctionTool]:
    """The functions in the table that are not of this server."""
    return [tool for tool in table.functions if table.routes[tool.name].kind == "client"]


def read(*items: JsonObject, table: ToolTable | None = None) -> list[JsonObject]:
    """The items as a provider with functions alone reads them."""
    told = as_function_calls(INPUT_ITEMS.validate_python(list(items)), (table or ToolTable()).shown_name)
    return [item.model_dump(mode="json", exclude_unset=True) for item in told]


def refused(**body: Any) -> tuple[str | None, str | None]:
    with pytest.raises(InvalidRequest) as caught:
        parse_create_response(json.dumps({"model": "m", "input": "x", **body}).encode())
    return caught.value.param, caught.value.error_code
