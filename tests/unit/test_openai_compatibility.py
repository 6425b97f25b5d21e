"""`docs/openai-compatibility.md` has each name of the `openai` SDK, and is true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from api.openai_forms import RENAMED_EVENTS
from open_responses.errors import InvalidRequest
from open_responses.events.event_types import EVENT_TYPES
from open_responses.schema.request_settings import INCLUDES, ReasoningSettings, ServiceTier
from open_responses.schema.requests import validate_create_response
from open_responses.schema.tools import PROVIDER_TOOL_TYPES
from tests.support import openai_sdk

PAGE = Path(__file__).resolve().parents[2] / "docs" / "openai-compatibility.md"


def table(heading: str) -> dict[str, str]:
    """Name -> what happens, of the table under a heading of the page."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]*?) \|", section, flags=re.MULTILINE))


FIELDS, TOOLS, ITEMS = table("Fields of a request"), table("Tools"), table("Items")
EVENTS, INCLUDED = table("Events"), table("Values of `include`")


@pytest.mark.parametrize(
    ("told", "there"),
    [
        (FIELDS, openai_sdk.request_fields()),
        (TOOLS, openai_sdk.tool_types()),
        (ITEMS, openai_sdk.item_types()),
        (EVENTS, openai_sdk.event_types()),
        (INCLUDED, openai_sdk.includes()),
    ],
    ids=["fields", "tools", "items", "events", "include"],
)
def test_a_table_has_exactly_the_names_of_the_sdk(told: dict[str, str], there: set[str]) -> None:
    assert told.keys() == there


def is_known(**body: object) -> bool:
    """Whether no part of a body has a name that the server does not know: anything else may be wrong with it."""
    try:
        validate_create_response({"model": "m", "input": "x", **body})
    except InvalidRequest as error:
        return error.error_code not in ("unknown_parameter", "unsupported_parameter", "unsupported_tool") and not (
            error.param or ""
        ).endswith(".type")
    return True


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_field_of_the_table_is_taken(name: str) -> None:
    outer, _, inner = name.partition(".")
    assert is_known(**{outer: {inner: []} if inner else [[]]})
    assert not inner or inner in ReasoningSettings.model_fields


@pytest.mark.parametrize("kind", sorted(TOOLS))
def test_a_tool_of_the_table_is_taken(kind: str) -> None:
    # A search is only for tools that are not loaded from the start.
    deferred = {"type": "function", "name": "f", "defer_loading": True}
    assert is_known(tools=[{"type": kind}, deferred])


@pytest.mark.parametrize("kind", sorted(ITEMS))
def test_an_item_of_the_table_is_taken_or_refused_as_it_says(kind: str) -> None:
    item = {"type": kind, **({"role": "user"} if kind == "message" else {})}
    assert is_known(input=[item]) == ITEMS[kind].startswith("taken")


@pytest.mark.parametrize("kind", sorted(EVENTS))
def test_an_event_of_the_table_is_sent_as_it_says(kind: str) -> None:
    sent = EVENT_TYPES.keys() | set(RENAMED_EVENTS.values())
    assert (kind in sent) == EVENTS[kind].startswith("sent")


def test_each_value_of_a_list_is_taken() -> None:
    assert openai_sdk.includes() <= set(INCLUDES)
    assert openai_sdk.service_tiers() == set(get_args(ServiceTier))


def test_a_tool_that_openai_runs_is_left_out_for_others_and_any_other_is_not() -> None:
    left_out = {kind for kind, row in rows("Tools").items() if "left out" in row}
    assert left_out == PROVIDER_TOOL_TYPES["openai"]


def rows(heading: str) -> dict[str, str]:
    """Name -> the whole row."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([^`]+)` (\|.*)$", section, flags=re.MULTILINE))
