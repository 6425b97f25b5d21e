"""A run of a response's workflow that takes over has the messages and the counts of the run before it."""

from __future__ import annotations

from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.steering import Steer
from open_responses.loop.payloads.usage import TurnUsage
from workflows.state import ResponseState


def test_messages_that_wait_and_counts_of_agents_are_handed_over() -> None:
    given = {
        "response_id": "resp_x",
        "tenant": "acme",
        "created_at": 1,
        "request": {"model": "m", "input": "hi"},
        "provider": "p",
        "upstream_model": "m",
        "retry_window": 1,
    }
    steer = Steer(steer_id="steer_b", digest="b", messages=[{"type": "message", "role": "user", "content": []}])
    before = ResponseState(
        StartResponse.model_validate(given),
        5.0,
        turn=3,
        steers=[steer],
        steered={"steer_a": "a", "steer_b": "b"},
        steered_in={"steer_b": 40},
        unfit={2},
        agent_calls={"researcher": 2},
        agents_usage=TurnUsage(input_tokens=7),
    )
    crossed = StartResponse.model_validate_json(before.handed_over().model_dump_json())
    after = ResponseState.of(crossed)
    assert (after.turn, after.steers, after.steered, after.unfit) == (3, [steer], before.steered, {2})
    assert (after.agent_calls, after.agents_usage) == (before.agent_calls, before.agents_usage)
    # An earlier run has recorded them, so they are due at once.
    assert after.steered_in == {}
