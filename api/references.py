"""`item_reference` in the input: the stored item that it stands for takes its place (ITEM-10)."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from api.lookup import OwnedRecords
from open_responses.errors import InvalidRequest, NotFound, RequestTooLarge
from open_responses.ids import FIRST_INPUT_INDEX, position_of
from open_responses.io.store.records import Record
from open_responses.json_types import JsonObject
from open_responses.loop.input_items import listed_input
from open_responses.schema.items import INPUT_ITEM, InputItem, ItemReference
from open_responses.schema.requests import CreateResponse


class References:
    """Finds the items that one request refers to.

    `size` is how long the request is, in bytes of JSON, and grows with each item that takes a reference's place. It
    stays below `limit`, a body's own: a short request of references is no way to send a larger one.
    """

    def __init__(
        self, records: OwnedRecords, *, size: int, limit: int, conversation: Sequence[JsonObject] = ()
    ) -> None:
        """`conversation` are the items of the one that the request names."""
        self.size = size
        self._records = records
        self._limit = limit
        self._conversation = _by_id(conversation)
        self._items: dict[str, dict[str, JsonObject]] = {}
        self._found: dict[str, tuple[InputItem, int]] = {}

    async def resolved(self, asked: CreateResponse) -> CreateResponse:
        """The request with the items themselves.

        An item is found by its id alone if it is one of ours, else among the items of the responses that the request
        continues. Raises InvalidRequest for one that is unknown, another tenant's, or not finished, RequestTooLarge,
        and ContextTooLarge for items that are in too much else.
        """
        if isinstance(asked.input, str) or not any(isinstance(item, ItemReference) for item in asked.input):
            return asked
        items = await self.resolved_items(asked.input, asked.previous_response_id)
        return asked.model_copy(update={"input": items})

    async def resolved_items(
        self, given: Sequence[InputItem], previous_response_id: str | None = None, *, path: str = "input"
    ) -> list[InputItem]:
        """As `resolved`, for items alone; `path` is the parameter that they came in."""
        items: list[InputItem] = []
        for index, item in enumerate(given):
            if isinstance(item, ItemReference):
                item = await self._resolved(item.id, previous_response_id, f"{path}[{index}].id")
            items.append(item)
        return items

    async def _resolved(self, item_id: str, previous_response_id: str | None, param: str) -> InputItem:
        if item_id not in self._found:
            item = self._conversation.get(item_id) or await self._stored(previous_response_id, item_id, param)
            # Counted before it is read: what is only sent back is never taken apart.
            size = len(orjson.dumps(item)) if item is not None else 0
            self._check_size(size, param)
            self._found[item_id] = (_finished(item, item_id, param), size)
        found, size = self._found[item_id]
        self._check_size(size, param)
        self.size += size
        return found

    def _check_size(self, more: int, param: str) -> None:
        if self.size + more > self._limit:
            raise RequestTooLarge(
                f"With the items that it refers to, your request is larger than {self._limit} bytes. Refer to fewer, "
                "or continue their response with previous_response_id.",
                param=param,
            )

    async def _stored(self, previous_response_id: str | None, item_id: str, param: str) -> JsonObject | None:
        position = position_of(item_id)
        if position is not None:
            response_id, index = position
            try:
                record = await self._records.get(response_id, param)
            except NotFound:
                record = None
            if record is not None and (found := self._items_of(record).get(item_id)) is not None:
                return found
            if record is not None and record.response is None and index < FIRST_INPUT_INDEX:
                # Whether it is there, and finished, only its workflow knows, and it may change at this moment.
                return {"id": item_id, "status": "in_progress"}
        return await self._in_the_chain(previous_response_id, item_id, param)

    async def _in_the_chain(self, previous_response_id: str | None, item_id: str, param: str) -> JsonObject | None:
        """An item that a client named itself, in what it continues."""
        if previous_response_id is None:
            return None
        try:
            newest = await self._records.get(previous_response_id, param)
        except NotFound:
            return None
        if (found := self._items_of(newest).get(item_id)) is not None:
            return found
        async for record in self._records.behind(newest, param):
            if (found := self._items_of(record).get(item_id)) is not None:
                return found
        return None

    def _items_of(self, record: Record) -> dict[str, JsonObject]:
        response_id = record.start.response_id
        if response_id not in self._items:
            self._items[response_id] = _by_id([*record.output, *listed_input(record.start)])
        return self._items[response_id]


def _by_id(items: Sequence[JsonObject]) -> dict[str, JsonObject]:
    """The first of each id."""
    return {item["id"]: item for item in reversed(items) if item.get("id") is not None}


def _finished(found: JsonObject | None, item_id: str, param: str) -> InputItem:
    if found is None:
        raise InvalidRequest(
            f"Item with id {item_id[:80]!r} not found. Check the id, or send the item itself.",
            param=param,
            code="item_not_found",
        )
    if found.get("status") == "in_progress":
        raise InvalidRequest(
            f"Item {item_id[:80]!r} is not finished yet. Wait until its response has ended.",
            param=param,
            code="item_in_progress",
        )
    return INPUT_ITEM.validate_python(found)
