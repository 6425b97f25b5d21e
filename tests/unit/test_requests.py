"""What a body may say, and what each wrong one is told (HTTP-1, HTTP-3, ERR-1, REQ-1 to REQ-14)."""

from __future__ import annotations

import copy
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from open_responses.errors import InvalidRequest
from open_responses.schema.items import UserMessage
from open_responses.schema.requests import IGNORED_PARAMETERS, UNSUPPORTED_PARAMETERS, CreateResponse
from open_responses.schema.text_settings import JsonSchemaFormat
from open_responses.schema.tool_choice import AllowedTools, FunctionChoice
from tests.support.bad_bodies import ALLOW_WEATHER, BAD_BODIES, WEATHER, body, part, schema_format
from tests.support.full_request import FULL
from tests.support.openai_sdk import request_fields
from tests.support.request_bodies import parse_create_response
from tests.support.spec import document, needs_spec


def parse(**changes: Any) -> CreateResponse:
    return parse_create_response(json.dumps(body(**changes)).encode())


def refusal(raw: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_create_response(raw)
    return caught.value


@pytest.mark.parametrize(
    ("changes", "code", "param"), BAD_BODIES, ids=[f"{param}-{n}" for n, (_, _, param) in enumerate(BAD_BODIES)]
)
def test_a_wrong_body_is_told_the_code_and_the_place(changes: dict[str, Any], code: str, param: str) -> None:
    error = refusal(json.dumps(body(**changes)).encode())
    assert (error.error_code, error.param) == (code, param)
    assert (error.status, error.type) == (400, "invalid_request")
    assert param in error.message
    assert len(error.message) < 1000
    for jargon in ("pydantic", "validation error", "discriminator", "Input should", "<", "union"):
        assert jargon not in error.message


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"hello",
        b"[]",
        b'"hi"',
        b"null",
        b"{} {}",
        b"{'model': 'm'}",
        b'{"model":"m","input":"hi",}',
        b'{"model":"m","input":"\xff"}',
        b'{"model":"m","input":"hi","temperature":NaN}',
        b'{"model":"m","input":"hi","temperature":-Infinity}',
        b'{"model":"m","input":"\\ud800"}',
        b'{"model":"m","input":"hi","metadata":{"\\udfff":"x"}}',
        b'{"model":"m","input":"\\udc00\\ud800"}',
        b'{"model":"m","input":"\xed\xa0\x80"}',
        b'{"model":"m","input":"hi","max_output_tokens":' + b"9" * 100_000 + b"}",
        b"[" * 100_000,
        b'{"input":' * 100_000,
        b'{"model":"m","input":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    ],
    ids=lambda raw: raw[:40].decode("latin-1"),
)
def test_what_is_not_a_json_object_is_refused_as_such(raw: bytes) -> None:
    error = refusal(raw)
    assert (error.error_code, error.status) == ("invalid_json", 400)
    assert error.message.startswith("The body of your request")


def test_a_number_too_large_for_a_float_is_refused() -> None:
    error = refusal(b'{"model":"m","input":[{"type":"open_responses:x","score":1e999}]}')
    assert (error.error_code, error.param) == ("invalid_value", "input[0].score")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"temprature": 1}, "Send 'temperature' if you meant that"),
        ({"messages": []}, "Send 'input' instead"),
        ({"max_tokens": 100}, "Send 'max_output_tokens' instead"),
        ({"response_format": {"type": "json_object"}}, "Send 'text.format' instead"),
        ({"reasoning": {"efort": "low"}}, "Send 'effort' if you meant that"),
        ({"truncation": "on"}, "must be 'auto' or 'disabled', but is 'on'"),
        ({"include": ["x"]}, "'message.input_image.image_url' or 'open_responses.cost', but is 'x'"),
        ({"max_output_tokens": 1}, "must be at least 16"),
        ({"temperature": "hot"}, "must be a number, but is a string"),
        ({"max_output_tokens": 16.5}, "must be an integer, without a fraction"),
        ({"tools": [{"type": "open_responses:teleport"}]}, "'open_responses:teleport'"),
        ({"tool_choice": {"type": "web_search"}, "tools": [{"type": "file_search"}]}, "not in 'tools'"),
        ({"conversation": "c", "previous_response_id": "r"}, "'previous_response_id'"),
        (
            part({"type": "text", "text": ""}),
            "'input_file' or 'input_audio', but is 'text'",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_message_says_what_is_allowed(changes: dict[str, Any], expected: str) -> None:
    assert expected in refusal(json.dumps(body(**changes)).encode()).message


def test_a_long_wrong_value_is_not_repeated_whole() -> None:
    error = refusal(json.dumps(body(truncation="x" * 100_000)).encode())
    assert len(error.message) < 200


@pytest.mark.parametrize("name", sorted(IGNORED_PARAMETERS))
def test_a_parameter_that_is_harmless_to_ignore_is_ignored(name: str) -> None:
    request = parse(**{name: "anything"})
    assert request.model_fields_set == {"model", "input"}


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_PARAMETERS))
def test_null_for_an_unsupported_parameter_means_not_set(name: str) -> None:
    assert parse(**{name: None}).model == "smollm2"


NULLABLE = sorted(set(CreateResponse.model_fields) - {"model", "input"})


@pytest.mark.parametrize("name", NULLABLE)
def test_null_means_not_set(name: str) -> None:
    assert getattr(parse(**{name: None}), name) is None


def test_null_switches_take_their_defaults() -> None:
    request = parse(stream=None, store=None, background=None)
    assert (request.is_streamed, request.is_stored, request.is_background) == (False, True, False)


EXTENSIONS = {"context_management", "stop", "seed", "top_k", "conversation", "webhook"}


@needs_spec
def test_every_field_of_the_specification_is_known() -> None:
    properties = set(document()["components"]["schemas"]["CreateResponseBody"]["properties"])
    assert properties == set(FULL)
    assert properties <= set(CreateResponse.model_fields)
    # What else is taken is ours, or OpenAI's.
    assert set(CreateResponse.model_fields) - properties - EXTENSIONS <= request_fields()


def test_a_full_request_is_kept_as_it_was_sent() -> None:
    request = parse_create_response(json.dumps(FULL).encode())
    assert json.loads(request.model_dump_json(exclude_unset=True)) == FULL


def test_a_stored_request_is_read_back_the_same() -> None:
    request = parse_create_response(json.dumps(FULL).encode())
    again = CreateResponse.model_validate_json(request.model_dump_json(exclude_unset=True))
    assert again == request
    assert again.model_fields_set == request.model_fields_set


def test_only_what_was_sent_is_stored() -> None:
    assert json.loads(parse().model_dump_json(exclude_unset=True)) == {"model": "smollm2", "input": "hi"}


def test_a_stored_request_of_a_newer_version_is_still_read() -> None:
    stored = {"model": "smollm2", "input": "hi", "from_the_future": 1, "reasoning": {"effort": "low", "depth": 3}}
    request = CreateResponse.model_validate_json(json.dumps(stored))
    assert request.reasoning is not None
    assert request.reasoning.effort == "low"


def test_an_integer_is_fine_for_a_number() -> None:
    assert parse(temperature=1).temperature == 1.0


def test_a_string_input_is_one_user_message() -> None:
    assert parse(input="hello").input_items() == [UserMessage(type="message", role="user", content="hello")]


def test_a_second_key_of_the_same_name_wins() -> None:
    assert parse_create_response(b'{"model":"a","model":"b","input":"hi"}').model == "b"


def test_the_wire_name_schema_is_read_and_written() -> None:
    request = parse(**schema_format(schema={"type": "object"}))
    assert request.text is not None
    assert isinstance(request.text.format, JsonSchemaFormat)
    assert request.text.format.schema_ == {"type": "object"}
    assert '"schema":{' in request.model_dump_json(exclude_unset=True)


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ("none", str),
        ("auto", str),
        ("required", str),
        ({"type": "function", "name": "get_weather"}, FunctionChoice),
        (ALLOW_WEATHER, AllowedTools),
        ({**ALLOW_WEATHER, "mode": "required"}, AllowedTools),
    ],
    ids=str,
)
def test_each_form_of_tool_choice_is_read(choice: object, kind: type) -> None:
    assert isinstance(parse(tools=[WEATHER], tool_choice=choice).tool_choice, kind)


@pytest.mark.parametrize("parameters", [None, {}, {"type": "object"}, {"$defs": {}, "properties": {"a": {}}}], ids=str)
def test_a_tool_takes_a_schema_or_none(parameters: object) -> None:
    assert parse(tools=[{**WEATHER, "parameters": parameters}]).tools


def test_a_schema_nested_to_its_limit_can_be_written_again_and_a_deeper_one_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(63):
        deep = {"a": deep}
    request = parse(**schema_format(schema=deep))
    assert CreateResponse.model_validate_json(request.model_dump_json(exclude_unset=True)) == request
    refused = refusal(json.dumps(body(**schema_format(schema={"a": deep}))).encode())
    assert (refused.param, refused.error_code) == ("text.format.schema", "invalid_value")


def test_the_first_of_several_errors_is_reported_every_time() -> None:
    wrong = json.dumps(body(model=1, temperature="x", tools=[{}], stream=1)).encode()
    assert {refusal(wrong).param for _ in range(5)} == {"model"}


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Surrogates too: json.dumps writes them as the escapes that have to be refused.
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["message", "function", "user", "input_text", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "text", "name", "tools", "format", "schema", "id", "summary"])
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in _places(child, (*path, key)))]


@settings(max_examples=400, deadline=None)
@given(place=st.sampled_from(_places(FULL)[1:]), value=JSON_VALUES)
def test_any_change_to_a_request_gives_a_request_or_a_clear_refusal(place: tuple[Any, ...], value: Any) -> None:
    changed = copy.deepcopy(FULL)
    parent: Any = changed
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    try:
        request = parse_create_response(json.dumps(changed).encode())
    except InvalidRequest as error:
        sentence = error.message.encode()
    else:
        stored = request.model_dump_json(exclude_unset=True)
        assert CreateResponse.model_validate_json(stored) == request
        sentence = b"Read back the same."
    assert sentence.endswith(b".")


def test_a_body_of_a_million_faults_is_refused_at_the_first() -> None:
    """Collecting them all took seconds, and gigabytes."""
    raw = json.dumps({"model": "m", "input": [{"role": "user", "content": [0] * 10_000}] * 45}).encode()
    tracemalloc.start()
    with pytest.raises(InvalidRequest) as refused:
        parse_create_response(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (refused.value.error_code, refused.value.param) == ("invalid_type", "input[0].content[0]")
    assert peak < 40 * len(raw)


@pytest.mark.parametrize("inner", ["[],", "1,", "{},"])
def test_a_body_of_too_many_values_is_refused_before_they_are_made(inner: str) -> None:
    raw = f'{{"model":"m","input":[{inner * 1_100_000}1]}}'.encode()
    with pytest.raises(InvalidRequest, match="more than 500000 values"):
        parse_create_response(raw)


def test_what_stands_in_a_text_is_not_counted() -> None:
    table = "1,2,3\\n[{" * 400_000
    asked = parse_create_response(json.dumps({"model": "m", "input": table}).encode())
    assert asked.input == table
