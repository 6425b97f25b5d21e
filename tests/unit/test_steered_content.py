"""Messages for a running response have parts that its provider takes, and so do the fallbacks that may follow it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import pytest
from openai.types.responses import ResponseSteerPendingEvent
from temporalio.exceptions import ActivityError, ApplicationError

from api.responses.steer import _refusal, _unfit
from api.websocket import steering as events
from open_responses.config import Config
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.sample import SampleResult
from open_responses.loop.payloads.start import StartResponse, Target
from open_responses.loop.payloads.steering import Steer
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.loop.steering import NOT_FOR_FALLBACK, messages_of
from open_responses.schema.items import INPUT_ITEMS
from open_responses.schema.requests import CreateResponse
from open_responses.schema.steering import validate_steer
from tests.support.activity_errors import failed
from workflows.model_turn import ModelTurn
from workflows.publication import Publication
from workflows.state import ResponseState
from workflows.steering import Steering
from workflows.waiting import Waiting

CONFIG = Config.model_validate(
    {
        "providers": [
            {"name": "all", "adapter": "openai", "base_url": "http://a.example"},
            {"name": "images", "adapter": "ollama", "base_url": "http://b.example"},
            {"name": "files", "adapter": "anthropic", "base_url": "http://c.example"},
        ]
    }
)
PDF = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0xLjQK"}
ADDRESS = {"type": "input_image", "image_url": "https://example.com/a.png"}


def start_of(*providers: str) -> StartResponse:
    first, *others = providers
    return StartResponse(
        response_id="resp_x",
        tenant="acme",
        created_at=1,
        request=CreateResponse.model_validate({"model": "m", "input": "hello"}),
        provider=first,
        upstream_model="m",
        retry_window=1,
        fallbacks=[Target(provider=name, upstream_model="m") for name in others],
    )


def unfit(start: StartResponse, part: JsonObject) -> list[int]:
    messages = messages_of(validate_steer({"input": [{"role": "user", "content": [part]}]}))
    shown = start.request.model_copy(update={"input": INPUT_ITEMS.validate_python(messages)})
    return _unfit(CONFIG, start, shown)


def test_a_part_that_the_routes_provider_cannot_take_is_refused_as_in_a_request() -> None:
    with pytest.raises(InvalidRequest) as refused:
        unfit(start_of("images"), PDF)
    assert (refused.value.error_code, refused.value.param) == ("unsupported_content", "input[0].content[0]")
    with pytest.raises(InvalidRequest):
        unfit(start_of("images"), ADDRESS)
    with pytest.raises(InvalidRequest):
        unfit(start_of("images", "images"), ADDRESS)


def test_what_a_fallback_takes_is_not_refused_for_the_first_provider_which_is_used_no_more() -> None:
    assert unfit(start_of("images", "all"), PDF) == [0]
    steer = Steer(steer_id="steer_a", digest="a", messages=[{"content": []}], unfit=[0])
    Steering(state_of("images", "all", fallback=1, turn=1), cast(Publication, None), cast(Waiting, None)).check(steer)
    with pytest.raises(ApplicationError) as refused:
        Steering(state_of("images", "all", turn=1), cast(Publication, None), cast(Waiting, None)).check(steer)
    assert refused.value.type == NOT_FOR_FALLBACK


def test_fallbacks_that_cannot_take_a_part_are_known_and_one_that_is_gone_is_no_obstacle() -> None:
    start = start_of("all", "images", "files", "removed")
    assert unfit(start, PDF) == [1]
    assert unfit(start, ADDRESS) == [1]
    assert unfit(start, {"type": "input_text", "text": "x"}) == []


def state_of(*providers: str, **values: Any) -> ResponseState:
    return ResponseState(start_of(*providers), 5.0, **values)


def test_a_response_that_goes_on_with_such_a_fallback_refuses_the_message() -> None:
    steer = Steer(steer_id="steer_a", digest="a", messages=[{"content": []}], unfit=[1])
    steering = Steering(state_of("all", "images", fallback=1, turn=1), cast(Publication, None), cast(Waiting, None))
    with pytest.raises(ApplicationError) as refused:
        steering.check(steer)
    assert refused.value.type == NOT_FOR_FALLBACK
    told = _refusal(NOT_FOR_FALLBACK)
    assert (told.status, told.error_code, told.param) == (400, "unsupported_content", "input")
    Steering(state_of("all", "images", turn=1), cast(Publication, None), cast(Waiting, None)).check(steer)


def test_a_fallback_that_cannot_take_what_was_added_is_passed_over() -> None:
    state = state_of("all", "images", "files", unfit={1})
    assert (state.may_fall_back, state.next_fallback) == (True, 2)
    state = state_of("all", "images", unfit={1})
    assert (state.may_fall_back, state.next_fallback) == (False, None)
    assert state_of("all", "images", "files").next_fallback == 1


@dataclass(slots=True)
class Turn(ModelTurn):
    """Attempts without Temporal: each is an error to raise, or None for an answer."""

    outcomes: list[ActivityError | None] = field(default_factory=list)

    async def _attempt(self, tries: int) -> SampleResult | None:
        # As `ModelTurn` notes it. The user adds what no fallback takes while the first attempt runs.
        self.had_fallback = self.state.may_fall_back
        self.state.unfit = {1}
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return SampleResult(outcome="done", usage=TurnUsage())


async def test_a_provider_given_up_for_a_fallback_that_is_none_any_more_gets_another_attempt() -> None:
    down = failed(ApplicationError("down", {"provider_is_down": True}, type="provider_unavailable"))
    turn = Turn(state_of("all", "images"), datetime(2026, 12, 1, tzinfo=UTC))
    turn.outcomes = [down, None]
    result = await turn.sample()
    assert result is not None
    assert (turn.state.fallback, turn.outcomes) == (0, [])
    turn.outcomes = [down]
    turn.state.unfit = {1}
    with pytest.raises(ActivityError):
        await turn.sample()


# --- OpenAI's events

CALLS: list[JsonObject] = [
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "mine", "status": "completed"},
    {"type": "function_call", "id": "fc_2", "call_id": "c2", "name": "hosted", "status": "completed"},
    {"type": "function_call_output", "id": "fco_2", "call_id": "c2", "output": "x"},
    {"type": "custom_tool_call", "id": "ct_1", "call_id": "c3", "name": "mine", "status": "completed"},
    {"type": "tool_search_call", "id": "ts_1", "call_id": "c4", "execution": "client", "status": "completed"},
    {"type": "tool_search_call", "id": "ts_2", "call_id": None, "execution": "server", "status": "completed"},
    {"type": "mcp_approval_request", "id": "mcpr_1"},
    {"type": "mcp_approval_request", "id": "mcpr_2"},
    {"type": "mcp_call", "id": "mcp_2", "approval_request_id": "mcpr_2", "status": "completed"},
]
MESSAGE: JsonObject = {"type": "message", "role": "user", "id": "msg_1", "steer_id": "steer_a", "content": []}


def test_a_message_that_the_next_response_will_read_is_pending_with_stubs_of_what_that_has_to_bring() -> None:
    steer = Steer(steer_id="steer_a", digest="a", messages=[])
    response = {"id": "resp_x", "output": [*CALLS, MESSAGE]}
    event = events.pending(steer, response, 7)
    assert event is not None
    read = ResponseSteerPendingEvent.model_validate_json(event)
    assert (read.reason, read.steer.id, read.steer.previous_response_id, read.sequence_number) == (
        "waiting_for_required_input",
        "steer_a",
        "resp_x",
        7,
    )
    assert [one.model_dump(exclude_unset=True) for one in read.required_input] == [
        {"type": "function_call_output", "call_id": "c1", "name": "mine"},
        {"type": "custom_tool_call_output", "call_id": "c3"},
        {"type": "tool_search_output", "call_id": "c4", "execution": "client"},
        {"type": "mcp_approval_response", "approval_request_id": "mcpr_1"},
    ]
    # OpenAI has no stub for this call. Its name for the id is that of the output.
    shell: JsonObject = {"type": "local_shell_call", "id": "ls_1", "call_id": "c5", "status": "completed"}
    event = events.pending(steer, {"id": "resp_x", "output": [shell, MESSAGE]}, 7)
    assert event is not None
    assert orjson.loads(event)["required_input"] == [{"type": "local_shell_call_output", "id": "c5"}]


def test_a_message_that_a_turn_has_read_is_not_pending() -> None:
    steer = Steer(steer_id="steer_a", digest="a", messages=[])
    said: JsonObject = {"type": "message", "role": "assistant", "id": "msg_2", "content": []}
    assert events.pending(steer, {"id": "resp_x", "output": [MESSAGE, said, *CALLS]}, 7) is None
    assert events.pending(steer, {"id": "resp_x", "output": [said, MESSAGE]}, 7) is None
    other = Steer(steer_id="steer_b", digest="b", messages=[])
    assert events.pending(other, {"id": "resp_x", "output": [*CALLS, MESSAGE]}, 7) is None
