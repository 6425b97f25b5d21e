"""`item_reference` in the input: the stored item that it stands for takes its place (ITEM-10)."""

from __future__ import annotations

from collections.abc import Sequence

from api.app_state import AppState
from api.lookup import owned_record
from open_responses.errors import InvalidRequest, NotFound
from open_responses.ids import FIRST_INPUT_INDEX, place_of
from open_responses.io.store import Record
from open_responses.items import INPUT_ITEM, InputItem, ItemReference
from open_responses.json_types import JsonObject
from open_responses.listed_items import listed_input
from open_responses.requests import CreateResponse


async def resolved(
    state: AppState, tenant: str, asked: CreateResponse, conversation: Sequence[JsonObject] = ()
) -> CreateResponse:
    """The request with the items themselves. `conversation` are those of the conversation that it names.

    An item is found by its id alone if it is one of ours, else among the items of the responses that the request
    continues. Raises InvalidRequest for one that is unknown, another tenant's, or not finished.
    """
    if isinstance(asked.input, str) or not any(isinstance(item, ItemReference) for item in asked.input):
        return asked
    items = await resolved_items(state, tenant, asked.input, asked.previous_response_id, conversation)
    return asked.model_copy(update={"input": items})


async def resolved_items(
    state: AppState,
    tenant: str,
    given: Sequence[InputItem],
    previous_response_id: str | None = None,
    conversation: Sequence[JsonObject] = (),
    *,
    path: str = "input",
) -> list[InputItem]:
    """As `resolved`, for items alone; `path` is the parameter that they came in."""
    items: list[InputItem] = []
    for index, item in enumerate(given):
        if isinstance(item, ItemReference):
            found = _named(conversation, item.id) or await _stored(state, tenant, previous_response_id, item.id)
            item = _finished(found, item.id, f"{path}[{index}].id")
        items.append(item)
    return items


def _finished(found: JsonObject | None, item_id: str, param: str) -> InputItem:
    if found is None:
        raise InvalidRequest(f"Item with id {item_id[:80]!r} not found.", param=param, code="item_not_found")
    if found.get("status") == "in_progress":
        raise InvalidRequest(f"Item {item_id[:80]!r} is not finished yet.", param=param, code="item_in_progress")
    return INPUT_ITEM.validate_python(found)


async def _stored(state: AppState, tenant: str, previous_response_id: str | None, item_id: str) -> JsonObject | None:
    place = place_of(item_id)
    if place is not None:
        response_id, index = place
        try:
            record = await owned_record(state, tenant, response_id)
        except NotFound:
            record = None
        if record is not None and (found := _named(_items_of(record), item_id)) is not None:
            return found
        if record is not None and record.response is None and index < FIRST_INPUT_INDEX:
            # Whether it is there, and finished, only its workflow knows, and it may change at this moment.
            return {"id": item_id, "status": "in_progress"}
    return await _in_the_chain(state, tenant, previous_response_id, item_id)


async def _in_the_chain(
    state: AppState, tenant: str, previous_response_id: str | None, item_id: str
) -> JsonObject | None:
    """An item that a client named itself, in what it continues."""
    if previous_response_id is None:
        return None
    try:
        newest = await owned_record(state, tenant, previous_response_id)
    except NotFound:
        return None
    for record in (newest, *reversed(await state.records.load_all(newest.ancestors))):
        if record is not None and (found := _named(_items_of(record), item_id)) is not None:
            return found
    return None


def _items_of(record: Record) -> Sequence[JsonObject]:
    return [*record.output, *listed_input(record.start.response_id, record.start.request)]


def _named(items: Sequence[JsonObject], item_id: str) -> JsonObject | None:
    return next((item for item in items if item.get("id") == item_id), None)
