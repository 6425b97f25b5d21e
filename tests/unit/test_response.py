"""The response resource is complete and valid at each moment (REQ-7, REQ-15, ITEM-3)."""

from __future__ import annotations

import copy
import json
from typing import Any, get_args

import pytest

from open_responses.deltas import Usage
from open_responses.schema.http_bodies import ResponseStatus
from open_responses.schema.response import (
    STATUS_TRANSITIONS,
    check_transition,
    finished_response,
    initial_response,
    is_final,
    started_response,
)
from tests.support.bad_bodies import ALLOW_WEATHER, WEATHER, body
from tests.support.full_items import OUR_OUTPUT
from tests.support.full_request import FULL
from tests.support.request_bodies import parse_create_response
from tests.support.spec import document, event_schemas, needs_spec, validate_event, validate_response

USAGE = Usage(input_tokens=10, output_tokens=7, cached_tokens=4, reasoning_tokens=2)


def initial(**changes: Any) -> dict[str, Any]:
    request = parse_create_response(json.dumps(body(**changes)).encode())
    return initial_response(request, response_id="resp_1", created_at=1_700_000_000, status="in_progress")


SETTINGS: list[dict[str, Any]] = [
    {},
    FULL,
    {"tools": [WEATHER, {"type": "function", "name": "bare"}], "tool_choice": "required"},
    {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "get_weather"}},
    {"tools": [WEATHER], "tool_choice": ALLOW_WEATHER},
    {"text": {"format": {"type": "json_object"}}},
    {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": None}}},
    {"text": {"verbosity": "high"}},
    {"text": {}},
    *(
        {"reasoning": {"effort": effort}}
        for effort in ("none", "minimal", "low", "medium", "high", "xhigh", "max", None)
    ),
    *({"service_tier": tier} for tier in ("auto", "default", "flex", "priority", None)),
    *({name: None} for name in sorted(set(FULL) - {"model", "input"})),
]


@needs_spec
@pytest.mark.parametrize("changes", SETTINGS, ids=lambda changes: str(changes)[:60])
def test_the_first_response_is_valid_for_every_setting(changes: dict[str, Any]) -> None:
    validate_response(initial(**changes))


@needs_spec
def test_the_response_has_the_specification_s_members_and_no_others() -> None:
    schema = document()["components"]["schemas"]["ResponseResource"]
    assert set(initial()) == set(schema["properties"]) == set(schema["required"])


def test_what_was_not_set_is_echoed_with_its_default() -> None:
    assert initial() == {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "completed_at": None,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": "smollm2",
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": None,
        "safety_identifier": None,
        "service_tier": "default",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "truncation": "disabled",
        "usage": None,
        "metadata": {},
    }


def test_null_is_echoed_as_the_default() -> None:
    assert initial(**{name: None for name in FULL if name not in ("model", "input")}) == initial()


def test_every_setting_is_echoed() -> None:
    echo = initial(**FULL)
    same = set(FULL) & set(echo) - {"input", "tools", "text"}
    assert {name: echo[name] for name in same} == {name: FULL[name] for name in same}
    assert echo["tools"] == [{**WEATHER, "description": None, "strict": True}]


def test_zero_is_a_value_and_not_unset() -> None:
    echo = initial(temperature=0, top_p=0, parallel_tool_calls=False, store=False)
    assert (echo["temperature"], echo["top_p"], echo["parallel_tool_calls"], echo["store"]) == (0.0, 0.0, False, False)


def test_a_bare_tool_is_echoed_with_nulls() -> None:
    assert initial(tools=[{"type": "function", "name": "bare"}])["tools"] == [
        {"type": "function", "name": "bare", "description": None, "parameters": None, "strict": None}
    ]


def test_allowed_tools_are_echoed_with_their_mode() -> None:
    assert initial(tools=[WEATHER], tool_choice=ALLOW_WEATHER)["tool_choice"] == {**ALLOW_WEATHER, "mode": "auto"}


def test_a_json_schema_is_echoed_as_far_as_the_specification_allows() -> None:
    text = {"format": {"type": "json_schema", "name": "a", "description": "d", "schema": {"a": 1}, "strict": True}}
    assert initial(text=text)["text"]["format"] == {**text["format"], "schema": None}


def test_a_queued_response_starts_once() -> None:
    queued = {**initial(), "status": "queued"}
    assert started_response(queued) == initial()
    assert started_response(initial()) == initial()
    assert queued["status"] == "queued"


ENDS: list[dict[str, Any]] = [
    {"status": "completed"},
    {"status": "failed", "error": ("provider_unavailable", "The provider is down.")},
    {"status": "incomplete", "incomplete_reason": "max_output_tokens"},
    {"status": "cancelled"},
]


@needs_spec
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end["status"])
@pytest.mark.parametrize("usage", [USAGE, None], ids=["usage", "no usage"])
def test_each_end_is_valid(end: dict[str, Any], usage: Usage | None) -> None:
    validate_response(finished_response(initial(), output=OUR_OUTPUT, completed_at=1_700_000_009, usage=usage, **end))


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end["status"])
def test_the_end_says_what_happened_and_leaves_the_settings(end: dict[str, Any]) -> None:
    start = initial(**FULL)
    before = copy.deepcopy(start)
    done = finished_response(start, output=OUR_OUTPUT, completed_at=1_700_000_009, usage=USAGE, **end)
    assert start == before
    assert done["status"] == end["status"]
    assert done["output"] == OUR_OUTPUT
    assert done["completed_at"] == (1_700_000_009 if end["status"] == "completed" else None)
    code, message = end.get("error", (None, None))
    assert done["error"] == (None if code is None else {"code": code, "message": message})
    reason = end.get("incomplete_reason")
    assert done["incomplete_details"] == (None if reason is None else {"reason": reason})
    changed = {"status", "output", "completed_at", "error", "incomplete_details", "usage"}
    assert {name: done[name] for name in set(done) - changed} == {name: start[name] for name in set(start) - changed}


def test_usage_is_written_with_its_details_and_total() -> None:
    done = finished_response(initial(), status="completed", output=[], completed_at=1, usage=USAGE)
    assert done["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 17,
    }


@pytest.mark.parametrize(
    "end",
    [
        {"status": "failed"},
        {"status": "incomplete"},
        {"status": "completed", "error": ("code", "message")},
        {"status": "cancelled", "incomplete_reason": "max_output_tokens"},
        {"status": "in_progress"},
        {"status": "unheard_of"},
    ],
    ids=str,
)
def test_an_end_that_contradicts_itself_is_a_programming_error(end: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"goes with|cannot go"):
        finished_response(initial(), output=[], completed_at=None, usage=None, **end)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end["status"])
def test_nothing_changes_after_the_end(end: dict[str, Any]) -> None:
    done = finished_response(initial(), output=[], completed_at=1, usage=None, **end)
    with pytest.raises(ValueError, match="cannot go"):
        finished_response(done, status="completed", output=[], completed_at=1, usage=None)
    with pytest.raises(ValueError, match="cannot go"):
        started_response(done)


ALLOWED = {
    ("queued", "in_progress"),
    ("queued", "cancelled"),
    ("in_progress", "completed"),
    ("in_progress", "failed"),
    ("in_progress", "incomplete"),
    ("in_progress", "cancelled"),
}


@pytest.mark.parametrize("old", get_args(ResponseStatus.__value__))
@pytest.mark.parametrize("new", get_args(ResponseStatus.__value__))
def test_a_status_changes_only_as_the_table_says(old: str, new: str) -> None:
    if (old, new) in ALLOWED:
        check_transition(old, new)
    else:
        with pytest.raises(ValueError, match="cannot go"):
            check_transition(old, new)


def test_the_table_knows_every_status_and_which_are_final() -> None:
    assert set(STATUS_TRANSITIONS) == set(get_args(ResponseStatus.__value__))
    assert {status for status in STATUS_TRANSITIONS if is_final(status)} == {end["status"] for end in ENDS}


@needs_spec
def test_the_judge_refuses_what_is_wrong() -> None:
    wrong: list[dict[str, Any]] = [{"status": 1}, {"output": [{"type": "message"}]}, {"usage": {}}, {"tools": [{}]}]
    for change in wrong:
        with pytest.raises(AssertionError, match="not a valid ResponseResource"):
            validate_response({**initial(), **change})
    with pytest.raises(AssertionError, match=r"no event 'response\.unheard_of'"):
        validate_event({"type": "response.unheard_of", "sequence_number": 0})
    with pytest.raises(AssertionError, match="without sequence_number"):
        validate_event({"type": "open_responses:attempt"})
    with pytest.raises(AssertionError, match="not a valid ResponseCreatedStreamingEvent"):
        validate_event({"type": "response.created", "response": initial()})


@needs_spec
def test_the_judge_takes_what_is_right() -> None:
    validate_event({"type": "response.created", "sequence_number": 0, "response": initial()})
    validate_event({"type": "open_responses:attempt", "sequence_number": 1})
    assert len(event_schemas()) == 24
