"""The payload of steering: messages for a response that runs."""

from __future__ import annotations

from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload


class Steer(Payload):
    """The argument of the update `steer`: messages that the model reads before its next turn.

    `steer_id` is the same each time that a client sends the messages with one `Idempotency-Key`, and `digest` is that
    of the messages. `messages` are complete, with content parts, and without ids. `unfit` has the targets of the
    response, by their index, that cannot take a part of them.
    """

    steer_id: str
    digest: str
    messages: list[JsonObject]
    unfit: list[int] = []
