"""The payloads of the activity that adds the workflow's own events to the log."""

from __future__ import annotations

from typing import Literal

from open_responses.events.trace import Op
from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload


class PublishInput(Payload):
    """The input of a publication: events that the workflow adds to the log.

    Attributes:
        initial: The response resource before its first item.
        first_sequence: The sequence number of the first event.
        events: The events.
        items: The items that the events complete, by output index.
        output: The output so far. Set, with `trace`, only if the log has lost its earlier events; they are written
            again.
        trace: How the output was cut into events.
    """

    response_id: str
    initial: JsonObject
    epoch: int
    first_sequence: int
    events: list[JsonObject]
    items: dict[int, JsonObject]
    output: list[JsonObject] | None = None
    trace: list[Op] | None = None


PublishOutcome = Literal["published", "log_lost", "fenced", "diverged", "ended"]


class PublishResult(Payload):
    """The outcome of a publication.

    `log_lost`: the log has fewer events than it should, and the workflow publishes again with the output. `fenced`: the
    log has a newer writer. `diverged`: an earlier run of this workflow task has published other events; `there` are the
    events of the log from `first_sequence` on. `ended`: the response has an end that this run did not write.
    """

    outcome: PublishOutcome
    there: list[JsonObject] = []
