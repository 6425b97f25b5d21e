"""Items and parts are read as their kind, and written again without loss (ITEM-1, ITEM-7 to ITEM-10, EXT-2)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from open_responses.ids import is_id, new_id
from open_responses.schema.content import InputFile, InputImage, InputText, InputVideo, OutputText, Refusal, UrlCitation
from open_responses.schema.items import (
    INPUT_ITEM,
    INPUT_ITEMS,
    OPAQUE_TYPES,
    AssistantMessage,
    Compaction,
    DeveloperMessage,
    FunctionCall,
    FunctionCallOutput,
    ItemReference,
    OpaqueItem,
    Reasoning,
    SystemMessage,
    UserMessage,
)
from tests.support.full_items import OUR_OUTPUT
from tests.support.spec import needs_spec, validate, validator_for

# (what a client sends, the kind it is read as)
CLIENT_ITEMS: list[tuple[dict[str, Any], type]] = [
    ({"role": "user", "content": "hi"}, UserMessage),
    ({"type": "message", "role": "user", "content": "hi", "id": None, "status": None}, UserMessage),
    ({"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]}, SystemMessage),
    ({"role": "developer", "content": ""}, DeveloperMessage),
    ({"role": "assistant", "content": "Hello", "phase": "commentary"}, AssistantMessage),
    ({"role": "user", "content": []}, UserMessage),
    (
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "a\u0000b"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": None},
                {"type": "input_image", "file_id": "file-1", "detail": "low"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "AA=="},
                {"type": "input_file", "file_url": "https://x.example/a.pdf"},
            ],
        },
        UserMessage,
    ),
    (
        {"role": "assistant", "content": [{"type": "output_text", "text": "", "annotations": [{"type": "file_path"}]}]},
        AssistantMessage,
    ),
    ({"type": "function_call", "call_id": "c", "name": "f", "arguments": ""}, FunctionCall),
    ({"type": "function_call_output", "call_id": "c", "output": "12 °C"}, FunctionCallOutput),
    (
        {
            "type": "function_call_output",
            "call_id": "c",
            "output": [
                {"type": "input_text", "text": "x"},
                {"type": "input_video", "video_url": "https://x.example/v"},
            ],
        },
        FunctionCallOutput,
    ),
    ({"type": "reasoning", "summary": [], "content": None, "encrypted_content": None}, Reasoning),
    ({"type": "compaction", "encrypted_content": "gAAA", "created_by": "us"}, Compaction),
    ({"type": "item_reference", "id": "msg_1"}, ItemReference),
    ({"type": None, "id": "msg_1"}, ItemReference),
    ({"id": "msg_1"}, ItemReference),
    ({"type": "open_responses:receipt", "id": "x", "result": {"deep": [1, None, 1.5]}}, OpaqueItem),
    ({"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"query": "x"}}, OpaqueItem),
]


def dumped(item: dict[str, Any]) -> dict[str, Any]:
    read = INPUT_ITEM.validate_python(item)
    written: dict[str, Any] = read.model_dump(mode="json", exclude_unset=True)
    assert INPUT_ITEM.validate_json(INPUT_ITEM.dump_json(read, exclude_unset=True)) == read
    return written


@pytest.mark.parametrize("item", OUR_OUTPUT, ids=lambda item: item["type"])
def test_our_own_output_comes_back_as_input_unchanged(item: dict[str, Any]) -> None:
    assert dumped(item) == item


@needs_spec
@pytest.mark.parametrize("item", OUR_OUTPUT, ids=lambda item: item["type"])
def test_the_examples_of_our_output_are_valid_output(item: dict[str, Any]) -> None:
    validate("ItemField", item)


@pytest.mark.parametrize(("item", "kind"), CLIENT_ITEMS, ids=lambda value: str(value)[:60])
def test_an_item_is_read_as_its_kind_and_written_without_loss(item: dict[str, Any], kind: type) -> None:
    assert type(INPUT_ITEM.validate_python(item)) is kind
    assert dumped(item) == item


@pytest.mark.parametrize("kind", sorted(OPAQUE_TYPES))
def test_an_item_that_only_openai_knows_is_kept_whole(kind: str) -> None:
    item = {"type": kind, "id": "x_1", "status": "completed", "anything": [{"nested": None}]}
    assert type(INPUT_ITEM.validate_python(item)) is OpaqueItem
    assert dumped(item) == item


@pytest.mark.parametrize("item", OUR_OUTPUT[:4], ids=lambda item: item["type"])
def test_members_that_we_do_not_know_are_kept(item: dict[str, Any]) -> None:
    more = {**item, "parsed_arguments": {"a": 1}, "provider_data": None}
    assert dumped(more) == more


def test_unknown_members_of_a_part_are_kept() -> None:
    content = [{"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit"}}]
    item = {"role": "user", "content": content}
    assert dumped(item) == item


def test_parts_are_read_as_their_kind() -> None:
    user = INPUT_ITEM.validate_python(CLIENT_ITEMS[6][0])
    assert isinstance(user, UserMessage)
    assert [type(part) for part in user.content] == [InputText, InputImage, InputImage, InputFile, InputFile]
    answer = INPUT_ITEM.validate_python(OUR_OUTPUT[0])
    assert isinstance(answer, AssistantMessage)
    assert [type(part) for part in answer.content] == [OutputText, Refusal]
    assert isinstance(answer.content[0], OutputText)
    assert isinstance((answer.content[0].annotations or [])[0], UrlCitation)
    output = INPUT_ITEM.validate_python(CLIENT_ITEMS[10][0])
    assert isinstance(output, FunctionCallOutput)
    assert [type(part) for part in output.output] == [InputText, InputVideo]


def test_items_cannot_be_changed_in_place() -> None:
    message = UserMessage(role="user", content="hi")
    with pytest.raises(ValidationError, match="frozen"):
        message.content = "other"  # type: ignore[misc]


def test_items_made_in_python_are_items_again_after_a_round_trip() -> None:
    items = [
        UserMessage(role="user", content="hi"),
        FunctionCall(type="function_call", call_id="c", name="f", arguments=""),
    ]
    assert INPUT_ITEMS.validate_json(INPUT_ITEMS.dump_json(items, exclude_unset=True)) == items  # type: ignore[arg-type]


TEXT = st.text(max_size=10)
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.just("input_text"), "text": TEXT})
    | st.fixed_dictionaries({"type": st.just("input_image"), "image_url": TEXT}, optional={"detail": st.just("auto")}),
    max_size=3,
)
ITEMS = (
    st.fixed_dictionaries({"type": st.just("message"), "role": st.just("user"), "content": TEXT | PARTS})
    | st.fixed_dictionaries({"type": st.just("function_call_output"), "call_id": st.just("c"), "output": TEXT | PARTS})
    | st.fixed_dictionaries({"type": st.just("compaction"), "encrypted_content": TEXT})
)


@needs_spec
@settings(max_examples=100, deadline=None)
@given(item=ITEMS)
def test_what_the_specification_takes_we_take(item: dict[str, Any]) -> None:
    assert validator_for("ItemParam").is_valid(item)
    assert dumped(item) == item


def test_ids_are_unique_and_recognised() -> None:
    ids = {new_id("resp_") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(is_id("resp_", one) and len(one) == 53 for one in ids)


@pytest.mark.parametrize(
    "text",
    ["", "resp_", "resp_1", "msg_" + "0" * 48, "resp_" + "0" * 49, "resp_" + "G" * 48, "resp_" + "0" * 48 + "\n"],
    ids=repr,
)
def test_what_is_not_an_id_is_not_taken_for_one(text: str) -> None:
    assert not is_id("resp_", text)
