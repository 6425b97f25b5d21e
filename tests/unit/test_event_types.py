"""The table of event types is complete, and every row of it is in use."""

from __future__ import annotations

import ast
import json
import re
from itertools import groupby
from pathlib import Path
from typing import get_type_hints

import pytest

from activities.providers.openai.built_in_calls import BUILT_IN_PROGRESS
from api import openai_forms
from api.streaming.obfuscation import obfuscated
from open_responses.deltas import (
    Delta,
    ProviderItem,
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)
from open_responses.events import event_types
from open_responses.events.assembler import Assembler
from open_responses.events.event_types import (
    DELTA_EVENTS,
    EVENT_TYPES,
    MERGEABLE_EVENTS,
    PADDED_EVENTS,
    TEXT_DONE_EVENTS,
)
from open_responses.io.log.encoding import encode
from open_responses.json_types import JsonObject
from open_responses.schema import openai_events, stream_events
from tests.support import spec
from tests.support.event_models import event_models
from tests.support.offered_tools import CALC, MINE, tool_table
from tests.support.sources import nodes_of

# Event type -> the members of its model.
MODELS = {kind: get_type_hints(model).keys() for kind, model in event_models().items()}
ROOT = Path(__file__).resolve().parents[2]
EVENT_NAME = re.compile(
    r"error|open_responses:\w+|response\.(created|queued|in_progress|completed|incomplete|failed)"
    r"|response\.\w+(\.\w+)?\.(added|delta|done|in_progress|completed|failed)"
)


def names_in_the_code() -> set[str]:
    """Every event type that the server's code spells out, outside the table, the models and the adapters."""
    modules = (event_types, stream_events, openai_events, openai_forms)
    tables = {Path(module.__file__) for module in modules if module.__file__}
    names = set[str]()
    for package in ("open_responses", "workflows", "activities", "api"):
        for path in (ROOT / package).rglob("*.py"):
            if path not in tables and "providers" not in path.parts:
                for node in nodes_of(path):
                    if isinstance(node, ast.Constant) and isinstance(node.value, str):
                        names |= {node.value} if EVENT_NAME.fullmatch(node.value) else set()
    return names


def built_in_calls() -> list[Delta]:
    """A call of each tool that OpenAI runs, with each kind of progress."""
    deltas: list[Delta] = []
    for key, (kind, items) in enumerate(groupby(BUILT_IN_PROGRESS.items(), lambda entry: entry[1][0])):
        deltas.append(ProviderItemStart(key, {"type": kind}))
        for event, (_, members) in items:
            given = {"delta": "x"} if event.endswith("delta") else {}
            deltas.append(ProviderItemProgress(key, event, {**dict.fromkeys(members, None), **given}))
        deltas.append(ProviderItem({"type": kind}, key))
    return deltas


def assembled() -> list[JsonObject]:
    """The events of one model turn with a delta of each kind."""
    assembler = Assembler(None, tool_table([MINE, CALC, {"type": "custom", "name": "patch"}, {"type": "shell"}]))
    deltas = (
        TextDelta("a"),
        TextAnnotation({"type": "url_citation"}),
        RefusalDelta("b"),
        ReasoningDelta("c"),
        ReasoningSummaryDelta("d"),
        ToolCallDelta(0, call_id="call_1", name="mine", arguments="{}"),
        ToolCallDelta(1, call_id="call_2", name="add", arguments="{}"),
        *built_in_calls(),
        ToolCallDelta(2, call_id="call_3", name="patch", arguments='{"input": "e"}'),
        ToolCallDelta(3, call_id="call_4", name="shell", arguments='{"commands": ["f"]}'),
    )
    return [*(event for delta in deltas for event in assembler.feed(delta)), *assembler.close("completed")]


@spec.needs_spec
def test_every_event_of_the_specification_has_a_row_with_its_members() -> None:
    for kind, name in spec.event_schemas().items():
        schema = spec.document()["components"]["schemas"][name]
        members = {"type", "sequence_number", *EVENT_TYPES[kind].members}
        assert set(schema["required"]) <= members <= set(schema["properties"]), kind
    beyond = EVENT_TYPES.keys() - spec.event_schemas().keys()
    assert beyond == spec.FOREIGN_EVENTS | {kind for kind in beyond if kind.startswith(spec.SLUG)}


@spec.needs_spec
def test_an_event_of_the_specification_is_padded_if_its_schema_has_padding() -> None:
    """REQ-14."""
    padded = {
        kind
        for kind, name in spec.event_schemas().items()
        if "obfuscation" in spec.document()["components"]["schemas"][name]["properties"]
    }
    assert PADDED_EVENTS & spec.event_schemas().keys() == padded


def test_the_arguments_of_an_mcp_call_are_padded_as_a_functions_are_and_a_refusal_is_not() -> None:
    """The specification has no MCP events, and gives a refusal no `obfuscation` (SECURITY.md, "Not promised")."""
    assert {"response.mcp_call_arguments.delta", "response.function_call_arguments.delta"} <= PADDED_EVENTS
    assert "response.refusal.delta" not in PADDED_EVENTS


def test_every_row_is_used_and_every_event_in_the_code_has_a_row() -> None:
    named = {event["type"] for event in assembled()} | names_in_the_code()
    assert named >= EVENT_TYPES.keys()
    # Item types and members have the extension's prefix as well.
    assert {name for name in named if not name.startswith(spec.SLUG)} <= EVENT_TYPES.keys()


def test_the_model_of_an_event_which_the_document_shows_has_the_members_of_its_row() -> None:
    assert MODELS.keys() == EVENT_TYPES.keys()
    for kind, members in MODELS.items():
        row = EVENT_TYPES[kind]
        assert members == {"type", "sequence_number", *row.members, *(["obfuscation"] if row.padded else [])}, kind


def test_assembled_events_have_the_members_of_their_rows() -> None:
    for event in assembled():
        assert event.keys() == {"type", *EVENT_TYPES[event["type"]].members}, event["type"]


def test_every_type_of_text_has_one_delta_and_one_done_event_in_the_same_place() -> None:
    assert DELTA_EVENTS.keys() == TEXT_DONE_EVENTS.keys()
    for kind, delta in DELTA_EVENTS.items():
        assert EVENT_TYPES[delta].part_index == EVENT_TYPES[TEXT_DONE_EVENTS[kind]].part_index
    deltas = {row.name for row in EVENT_TYPES.values() if "delta" in row.members}
    assert {row.name for row in EVENT_TYPES.values() if row.trace == "d"} == set(DELTA_EVENTS.values()) <= deltas
    assert deltas >= PADDED_EVENTS | MERGEABLE_EVENTS


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
def test_exactly_the_padded_rows_are_padded(kind: str) -> None:
    event = encode({"type": kind, "item_id": "item_1", "output_index": 0, "delta": "text"}, 7)
    assert ("obfuscation" in json.loads(obfuscated(event))) == EVENT_TYPES[kind].padded
