"""What the model is to see: the chain of earlier responses, then this one's input and output (REQ-1)."""

from __future__ import annotations

from dataclasses import dataclass

from open_responses.errors import PreviousResponseNotFound
from open_responses.io.records import Records
from open_responses.items import INPUT_ITEMS, InputItem, UserMessage
from open_responses.json_types import JsonObject
from open_responses.payloads import StartResponse


@dataclass(frozen=True, slots=True)
class Context:
    """The request, and the whole conversation before this turn, oldest first."""

    start: StartResponse
    items: list[InputItem]


async def load_context(records: Records, response_id: str) -> Context:
    """Read the context from the store, or from Temporal where the store has lost it."""
    record = await records.load(response_id)
    if record is None:
        raise PreviousResponseNotFound(f"response {response_id} is gone: it was deleted while it ran")
    items: list[InputItem] = []
    ancestors = await records.load_all(record.ancestors)
    for ancestor_id, ancestor in zip(record.ancestors, ancestors, strict=True):
        if ancestor is None:
            raise PreviousResponseNotFound(f"response {ancestor_id}, earlier in the chain, is gone")
        items += input_items(ancestor.start)
        items += INPUT_ITEMS.validate_python(without_partials(ancestor.output))
    return Context(record.start, items + input_items(record.start))


def input_items(start: StartResponse) -> list[InputItem]:
    """A string input is one user message (HTTP-3)."""
    given = start.request.input
    if isinstance(given, str):
        return [UserMessage(type="message", role="user", content=given)]
    return list(given or [])


def without_partials(output: list[JsonObject]) -> list[JsonObject]:
    """An item that a lost sample left half-finished was sampled again behind it: the model must not see both."""
    return [item for i, item in enumerate(output) if item.get("status") != "incomplete" or i == len(output) - 1]
