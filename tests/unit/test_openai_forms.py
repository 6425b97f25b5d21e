"""What `/openai/v1` sends, beside the models of the `openai` SDK."""

from __future__ import annotations

import json
from typing import get_args, get_type_hints

import pytest

from api.openai_forms import RENAMED_EVENTS, OpenAIForms
from api.streaming.obfuscation import obfuscated
from open_responses.events.event_types import EVENT_TYPES
from open_responses.io.log.encoding import encode
from open_responses.schema.openai_events import OpenAIStreamEvent
from open_responses.schema.requests import validate_create_response
from tests.support.event_models import event_models, openais_event_models
from tests.support.spec import SLUG

PLAIN = validate_create_response({"model": "m", "input": "x"})


OPENAIS = openais_event_models()
IN_THEIR_PLACE = {
    get_args(get_type_hints(model)["type"])[0]: model for model in get_args(get_args(OpenAIStreamEvent.__value__)[0])
}


def test_the_renamed_events_are_those_that_openai_has_by_another_name() -> None:
    ours = {kind for kind in EVENT_TYPES if not kind.startswith(SLUG)}
    assert ours - OPENAIS.keys() == RENAMED_EVENTS.keys()
    assert set(RENAMED_EVENTS.values()) <= OPENAIS.keys()
    assert IN_THEIR_PLACE.keys() == {*RENAMED_EVENTS.values(), "keepalive", "error"}


@pytest.mark.parametrize("kind", [kind for kind in EVENT_TYPES if not kind.startswith(SLUG)])
def test_each_event_has_all_members_that_openais_model_of_it_has(kind: str) -> None:
    sent = RENAMED_EVENTS.get(kind, kind)
    has = get_type_hints(IN_THEIR_PLACE.get(sent) or event_models()[kind]).keys()
    needed = {name for name, field in OPENAIS[sent].model_fields.items() if field.is_required()}
    assert needed <= has


@pytest.mark.parametrize("kind", RENAMED_EVENTS)
def test_a_renamed_event_is_the_same_but_for_its_name(kind: str) -> None:
    event = encode({"type": kind, "item_id": "rs_1", "output_index": 0, "content_index": 0, "delta": 'a "type"'}, 7)
    written = OpenAIForms(PLAIN).event(obfuscated(event))
    assert json.loads(written) == {**json.loads(obfuscated(event)), "type": RENAMED_EVENTS[kind]}
    assert written.startswith(b'{"type":"' + RENAMED_EVENTS[kind].encode())


def test_an_event_of_an_extension_is_one_that_openais_clients_ignore() -> None:
    event = encode({"type": "open_responses:attempt", "reason": "worker lost"}, 7)
    assert OpenAIForms(PLAIN).event(event) == b'{"type":"keepalive","sequence_number":7}'


def test_other_events_are_passed_on_as_they_are() -> None:
    event = encode({"type": "response.output_text.delta", "delta": "response.reasoning.delta"}, 1)
    assert OpenAIForms(PLAIN).event(event) is event
    created = encode(
        {"type": "response.created", "response": {"text": {}, "reasoning": None, "usage": None, "output": []}}, 0
    )
    assert OpenAIForms(PLAIN).event(created) is created


def test_an_error_event_has_openais_members_beside_the_specifications() -> None:
    error = {"type": "server_error", "code": "stream_lost", "message": "It\u2028broke.", "param": None}
    event = encode({"type": "error", "error": error}, 9)
    written = OpenAIForms(PLAIN).event(event)
    read = json.loads(written)
    assert read == {**json.loads(event), "code": "stream_lost", "message": "It\u2028broke.", "param": None}
    assert len(written.decode().splitlines()) == 1
    OPENAIS["error"].model_validate(read)


def test_a_list_of_tools_has_no_nulls() -> None:
    tool = {"name": "add", "description": None, "input_schema": {"default": None}, "annotations": None}
    listed = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "calc", "tools": [tool], "error": None}
    message = {"type": "message", "id": "msg_1", "phase": None, "content": [{"text": "an mcp_list_tools"}]}
    wanted = {
        **{name: listed[name] for name in ("type", "id", "server_label")},
        "tools": [{"name": "add", "input_schema": {"default": None}}],
    }
    forms = OpenAIForms(PLAIN)
    for item, written in ((listed, wanted), (message, message)):
        event = encode({"type": "response.output_item.done", "output_index": 0, "item": item}, 3)
        assert json.loads(forms.event(event))["item"] == written
    response = {"text": {}, "reasoning": None, "usage": None, "output": [listed, message]}
    assert forms.response(response)["output"] == [wanted, message]


def test_a_response_echoes_the_schema_and_the_effort() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    text = {"format": {"type": "json_schema", "name": "c", "schema": schema, "strict": False}}
    asked = validate_create_response({"model": "m", "input": "x", "text": text, "reasoning": {"effort": "minimal"}})
    echoed = {"text": {"format": {"type": "json_schema", "name": "c", "schema": None}, "verbosity": "low"}}
    response = {"id": "resp_1", **echoed, "reasoning": {"effort": None, "summary": None}, "usage": None, "output": []}
    forms = OpenAIForms(asked)
    written = forms.response(json.dumps(response).encode())
    assert isinstance(written, dict)
    assert written == forms.response(response)
    assert written["text"] == {"format": {"type": "json_schema", "name": "c", "schema": schema}, "verbosity": "low"}
    assert written["reasoning"] == {"effort": "minimal", "summary": None}
    event = json.loads(forms.event(encode({"type": "response.created", "response": response}, 0)))
    assert event == {"type": "response.created", "sequence_number": 0, "response": written}
