"""A start that was accepted once is read as JSON, and what makes models of it leaves the interpreter to others."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, model_validator

from activities.providers.openai_chat.dialects import dialect_of
from activities.providers.openai_chat.request import request_body
from activities.providers.shared.building import built
from open_responses.context.tokens import at_most
from open_responses.contracts import SampleCall
from open_responses.errors import InvalidRequest
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.loop.input_items import listed_input
from open_responses.loop.payloads.finish import FinishInput
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.off_loop import LARGE_BYTES, collector_paused, off_loop
from open_responses.schema.requests import CreateResponse, validate_create_response

MESSAGES = 20
PARTS = 2_000


def body(messages: int = MESSAGES, parts: int = PARTS) -> dict[str, Any]:
    part = {"type": "input_text", "text": "a"}
    return {
        "model": "fake",
        "input": [{"role": "user", "content": [part] * parts} for _ in range(messages)],
        "metadata": {"a": "b"},
    }


def start_of(given: dict[str, Any], **other: Any) -> StartResponse:
    return StartResponse(
        response_id="resp_1",
        tenant="default",
        created_at=1,
        request=CreateResponse.model_validate(given),
        provider="fake",
        upstream_model="fake",
        retry_window=1,
        **other,
    )


@pytest.mark.parametrize(
    "given",
    [
        body(2, 2),
        {"model": "fake", "input": "text"},
        {"model": "fake", "input": [], "previous_response_id": "resp_0"},
        {"model": "fake", "previous_response_id": "resp_0"},
        {"model": "fake", "input": [{"type": "message", "role": "user", "content": "a", "extra": [1.5, None]}]},
        {"model": "fake", "input": [{"type": "open_responses:own", "anything": {"a": [1]}}], "store": False},
    ],
)
def test_a_start_is_written_as_before_however_often_it_was_read(given: dict[str, Any]) -> None:
    fresh = start_of(given)
    written = fresh.model_dump_json()
    for start in (fresh.with_accepted_input(), StartResponse.model_validate_json(written)):
        assert start.model_dump_json() == written
        assert StartResponse.model_validate(orjson.loads(written)).model_dump_json() == written
        assert start.input_items() == fresh.input_items()
        assert start.has_input == bool(fresh.input_items())
        assert start.given_input() == fresh.given_input()
        assert listed_input(start) == listed_input(fresh)
        assert start.initial() == fresh.initial()
        assert start.model_copy(update={"nonce": "n"}).input_items() == fresh.input_items()
    assert orjson.loads(written)["request"]["input"] == given.get("input", [])


def test_nothing_is_compacted_of_a_start_without_input() -> None:
    start = start_of({"model": "fake", "input": "", "previous_response_id": "resp_0"}, is_compaction=True)
    read = StartResponse.model_validate_json(start.model_dump_json())
    assert (start.has_input, read.has_input, read.input_items()) == (False, False, [])


def test_no_item_is_validated_where_a_start_is_read() -> None:
    """By the workflow, by `finish`, and from the store: as the whole start, and within another payload."""
    payloads = DATA_CONVERTER.payload_converter.to_payloads([start_of(body(2, 2))])
    (read,) = DATA_CONVERTER.payload_converter.from_payloads(payloads, [StartResponse])
    finish = FinishInput.model_validate_json(
        orjson.dumps(
            {
                "start": orjson.loads(payloads[0].data),
                "epoch": 1,
                "ending": {"status": "completed"},
                "output": [],
                "trace": [],
                "cut_off": False,
                "usage": None,
                "ended_at": 1,
            }
        )
    )
    for start in (read, finish.start):
        assert start.request.input == ""
        assert isinstance(start.accepted_input, list)
        assert all(type(item) is dict for item in start.accepted_input)


class Seen(BaseModel):
    """Says whether the collector was at work while this was made."""

    text: str
    collected: bool = True

    @model_validator(mode="after")
    def _see(self) -> Seen:
        self.collected = gc.isenabled()
        return self


@pytest.mark.parametrize(("characters", "collected"), [(10, True), (1_000_000, False)])
def test_the_collector_waits_while_a_large_payload_is_read(characters: int, collected: bool) -> None:
    payloads = DATA_CONVERTER.payload_converter.to_payloads([{"text": "a" * characters}])
    (seen,) = DATA_CONVERTER.payload_converter.from_payloads(payloads, [Seen])
    assert seen.collected is collected
    assert gc.isenabled()


def test_the_collector_waits_for_the_last_of_those_that_pause_it() -> None:
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


async def turns_of_the_loop_during(work: asyncio.Future[Any]) -> int:
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_the_event_loop_goes_on_while_items_are_made() -> None:
    start = StartResponse.model_validate_json(start_of(body()).model_dump_json())
    making = asyncio.ensure_future(off_loop(LARGE_BYTES + 1, start.input_items))
    assert await turns_of_the_loop_during(making) > 10
    assert len(await making) == MESSAGES


async def test_the_event_loop_goes_on_while_a_providers_request_is_built() -> None:
    asked = CreateResponse.model_validate(body())
    call = SampleCall(model="m", items=asked.input_items(), request=asked)
    building = asyncio.ensure_future(built(call, lambda: request_body(call, "p", dialect_of("http://p"), "none")))
    assert await turns_of_the_loop_during(building) > 10
    assert (await building)["messages"]


async def test_what_is_small_is_done_at_once() -> None:
    asked = CreateResponse.model_validate(body(2, 2))
    call = SampleCall(model="m", items=asked.input_items(), request=asked)
    building = asyncio.ensure_future(built(call, lambda: at_most(call.items)))
    assert await turns_of_the_loop_during(building) <= 2


@pytest.mark.parametrize(
    "asked",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "name": "find"}},
        {"tool_choice": {"type": "allowed_tools", "tools": [{"type": "function", "name": "find"}]}},
        {"tools": [{"type": "tool_search"}]},
    ],
)
def test_a_start_whose_tools_are_in_its_input_is_read_again(asked: dict[str, Any]) -> None:
    """A start that no worker can read never ends."""
    find = {"type": "function", "name": "find", "defer_loading": True}
    items = [{"type": "additional_tools", "role": "developer", "tools": [find]}, {"role": "user", "content": "x"}]
    start = start_of({"model": "m", "input": items, **asked})
    read = StartResponse.model_validate_json(start.model_dump_json())
    assert read.request.tool_choice == start.request.tool_choice
    assert [item.type for item in read.input_items()] == ["additional_tools", "message"]


def test_the_tools_of_an_empty_input_are_checked_where_a_client_sends_it() -> None:
    with pytest.raises(InvalidRequest, match="tool_choice"):
        validate_create_response({"model": "m", "input": "", "tool_choice": "required"})
