"""Messages that a user adds to a response that runs: their form in the output, and the limits on them."""

from __future__ import annotations

from open_responses.ids import member_id
from open_responses.json_types import JsonObject
from open_responses.loop.input_items import as_listed
from open_responses.loop.payloads.steering import Steer
from open_responses.schema.steering import SteerBody

MAX_WAITING_STEERS = 8
"""The most that wait for the next model turn. Temporal has at most ten updates of a run in flight."""
MAX_STEERS = 500
"""The most of one response, all runs together. Temporal takes at most 2,000 updates of a run."""

# The codes with which the workflow refuses a steer, and why.
STEERED_TOO_LATE = "response_ended"
NO_TURN_LEFT = "no_turn_left"
TOO_MANY_WAITING = "too_many_pending_steers"
TOO_MANY = "too_many_steers"
NOT_SUPPORTED = "steering_not_supported"
KEY_REUSED = "idempotency_key_reused"
NOT_FOR_FALLBACK = "unsupported_content"


def messages_of(body: SteerBody) -> list[JsonObject]:
    """The messages with content parts, and without ids: an id of the client's could be that of another item."""
    given = body.model_dump(mode="json", exclude_unset=True)["input"]
    if isinstance(given, str):
        given = [{"role": "user", "content": given}]
    messages = [as_listed({"role": "user", "content": message["content"]}, "") for message in given]
    return [{"type": "message", "role": "user", "content": message["content"]} for message in messages]


def steer_items(response_id: str, first_index: int, steer: Steer) -> list[JsonObject]:
    """The items that the messages become in the output. `steer_id`, an extension, names the request they came with."""
    return [
        {
            "type": "message",
            "id": member_id("msg_", response_id, first_index + offset),
            "status": "in_progress",
            "role": "user",
            "content": message["content"],
            "steer_id": steer.steer_id,
        }
        for offset, message in enumerate(steer.messages)
    ]


def steered_content(output: list[JsonObject], steer_id: str) -> list[JsonObject] | None:
    """The contents of a steer's messages in an output, in order; None if the output does not have them."""
    found = [item["content"] for item in output if item.get("steer_id") == steer_id]
    return found or None
