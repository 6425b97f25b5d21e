"""The state machine of a conversation, as OpenAI defines it: its items in order, and its lock.

Each conversation is a workflow (`workflows/conversation.py`). Its state is here, without Temporal, so that its rules
can be tested alone. What they prevent: a response to a conversation that another response has changed meanwhile, and
items of a response that are added twice because the signal of its end arrived twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from open_responses.context.abandoned_items import without_partials
from open_responses.context.call_pairing import check_added_calls
from open_responses.conversations.payloads import (
    ConversationPart,
    ConversationState,
    Entry,
    LockHolder,
    Page,
    PageQuery,
    PartQuery,
    ResponseEnd,
    TakeLock,
)
from open_responses.errors import InvalidRequest
from open_responses.ids import FIRST_INPUT_INDEX, member_id
from open_responses.json_types import JsonObject
from open_responses.loop.input_items import as_listed, listed_input, prefix_of
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.items import MAX_ITEMS
from open_responses.schema.response import FinalStatus

BUSY = "conversation_busy"
CHANGED = "conversation_changed"
FULL = "conversation_full"
GONE = "conversation_gone"
ALREADY_ENDED = "turn_is_over"
ITEM_NOT_FOUND = "item_not_found"
ITEM_ID_TAKEN = "item_id_taken"

# The bound on the items of a request, and about ten of the largest bodies: the start of each response carries them all.
MAX_CONVERSATION_ITEMS = MAX_ITEMS
MAX_CONVERSATION_CHARACTERS = 20_000_000
# Less than the 128 KiB above which the result of a query goes to a file (io/temporal/large_payloads.py).
_MOST_BYTES_OF_A_PART = 96 * 1024
# A response can send its end again for as long as it is open, and a conversation has one response at a time.
_ENDED_RESPONSES = 1000


class Refused(Exception):
    """A change that the conversation rejects.

    `code` is one of the names above. With `param`, it is an error code of a request, and `param` is the parameter.
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Conversation:
    """The state and its changes. A change that arrives twice counts once."""

    def __init__(self, state: ConversationState) -> None:
        self.state = state.model_copy(update={"entries": list(state.entries), "ended": list(state.ended)})

    # --- changes by a client

    def check_addition(self, added: Sequence[JsonObject]) -> None:
        """Raises Refused if the items cannot be added, or a response holds the lock: it has read the conversation."""
        self._check_room_for(added)
        try:
            check_added_calls(self.state.items, added, self.state.left_open)
        except InvalidRequest as error:
            raise Refused(error.error_code, error.message, error.param) from None

    def add(self, added: Sequence[JsonObject]) -> None:
        """Add items at the end. An item that the conversation already has stays where it is.

        Calls and outputs are not checked here, only in `check_addition`: earlier versions accepted more, and replays of
        running conversations have to accept the same.
        """
        self._check_room_for(added)
        self._append(Entry(item=item) for item in added)

    def _check_room_for(self, added: Sequence[JsonObject]) -> None:
        if self.state.lock is not None:
            raise _busy(self.state.lock)
        self._check_room()
        known = self._known()
        for item in added:
            if known.setdefault(item["id"], item) != item:
                raise Refused(
                    ITEM_ID_TAKEN,
                    f"This conversation has another item with the id {item['id'][:80]!r}. Leave 'id' out.",
                )

    def check_deletion(self, item_id: str) -> None:
        """Raises Refused for an unknown item."""
        if item_id not in self._known():
            raise Refused(
                ITEM_NOT_FOUND, f"Item with id {item_id[:80]!r} not found in this conversation. Check the id."
            )

    def delete(self, item_id: str) -> None:
        """Delete an item, also while a response runs, which has read it already. Raises Refused for an unknown id."""
        self.check_deletion(item_id)
        gone = next(entry for entry in self.state.entries if entry.item["id"] == item_id)
        self.state.entries.remove(gone)
        self.state.characters -= _length(gone.item)
        self.state.revision += 1
        self.state.deletions += 1

    def set_metadata(self, metadata: dict[str, str]) -> None:
        """Replace all metadata."""
        self.state.metadata = metadata

    # --- changes by a response

    def check_lock(self, call: TakeLock) -> None:
        """Raises Refused: another response holds the lock, or the conversation has changed since it was read."""
        holder = self.state.lock
        if call.response_id in self.state.ended:
            raise Refused(ALREADY_ENDED, "This response has already been added to the conversation.")
        if holder is not None and holder.response_id == call.response_id:
            return
        if holder is not None:
            raise _busy(holder)
        if call.revision != self.state.revision:
            raise Refused(CHANGED, "Another request changed the conversation at the same moment. Send yours again.")
        self._check_room()

    def take_lock(self, call: TakeLock) -> None:
        """Give the lock to a response. Raises Refused as `check_lock` does."""
        self.check_lock(call)
        self.state.lock = LockHolder(response_id=call.response_id, began_at=call.at)

    def end_response(self, call: ResponseEnd) -> None:
        """Add the entries of a response that has ended, and release its lock. A late end counts too, but only once."""
        if call.response_id in self.state.ended:
            return
        self.state.ended = [*self.state.ended, call.response_id][-_ENDED_RESPONSES:]
        self.state.left_open = [*self.state.left_open, *call.left_open]
        self._append(self._with_free_ids(call))
        self.release_lock(call.response_id)

    def release_lock(self, response_id: str) -> None:
        """Release the lock of a response that was never started. Should it start after all, its end still counts."""
        if self.state.lock is not None and self.state.lock.response_id == response_id:
            self.state.lock = None

    # --- queries

    def item(self, item_id: str) -> JsonObject | None:
        """Return an item by its id; None for an unknown id."""
        return next((item for item in self.state.items if item["id"] == item_id), None)

    def page(self, query: PageQuery) -> Page:
        """Return a page of items."""
        items = self.state.items
        if query.newest_first:
            items.reverse()
        first = 0
        if query.after is not None:
            first = next((index + 1 for index, item in enumerate(items) if item["id"] == query.after), -1)
        if first < 0:
            return Page(is_known=False)
        return Page(items=items[first : first + query.limit], has_more=len(items) > first + query.limit)

    def summary(self, run_id: str = "") -> ConversationState:
        """The state without its entries."""
        return self.state.model_copy(update={"entries": [], "count": len(self.state.entries), "run_id": run_id})

    def part(self, query: PartQuery, run_id: str = "") -> ConversationPart:
        """Return the entries from `first` on, as many as one query may return, but at least one."""
        entries: list[Entry] = []
        size = 0
        for entry in self.state.entries[max(0, query.first) :]:
            size += len(json.dumps(entry.item, ensure_ascii=False).encode(errors="replace"))
            if entries and size > _MOST_BYTES_OF_A_PART:
                break
            entries.append(entry)
        return ConversationPart(entries=entries, revision=self.state.revision, run_id=run_id)

    # --- entries

    def _with_free_ids(self, call: ResponseEnd) -> Iterable[Entry]:
        """The entries, with a new id for each item whose id another item has: a client chooses the ids of its items."""
        known = self._known()
        for index, entry in enumerate(call.entries):
            item = entry.item
            if known.setdefault(item["id"], item) != item:
                own = member_id(prefix_of(item["type"]), call.response_id, FIRST_INPUT_INDEX + index)
                entry = entry.model_copy(update={"item": {**item, "id": own}})
            yield entry

    def _append(self, entries: Iterable[Entry]) -> None:
        known = self._known()
        fresh = []
        for entry in entries:
            if entry.item["id"] not in known:
                known[entry.item["id"]] = entry.item
                fresh.append(entry)
        if fresh:
            self.state.entries += fresh
            self.state.characters += sum(_length(entry.item) for entry in fresh)
            self.state.revision += 1

    def _known(self) -> dict[str, JsonObject]:
        return {item["id"]: item for item in self.state.items}

    def _check_room(self) -> None:
        full = None
        if len(self.state.entries) >= MAX_CONVERSATION_ITEMS:
            full = f"{MAX_CONVERSATION_ITEMS:,} items"
        elif self.state.characters >= MAX_CONVERSATION_CHARACTERS:
            full = f"{MAX_CONVERSATION_CHARACTERS:,} characters"
        if full is not None:
            raise Refused(
                FULL,
                f"This conversation has {full} or more, its limit. Delete some items, or create another conversation.",
            )


def end_of_response(start: StartResponse, status: FinalStatus, output: Sequence[JsonObject]) -> ResponseEnd:
    """The entries that a response adds to its conversation. One that failed or was cancelled adds none."""
    if status not in ("completed", "incomplete"):
        return ResponseEnd(response_id=start.response_id)
    whole = without_partials(output, keep_last=True)
    given = [Entry(item=_whole(item), response_id=start.response_id) for item in _given(start)]
    said = [Entry(item=item, response_id=start.response_id, is_output=True) for item in whole]
    answered = {item.get("call_id") for item in whole if item["type"] == "function_call_output"}
    hosted = {tool.name for tool in start.hosted}
    left_open = [
        item["call_id"]
        for item in whole
        if item["type"] == "function_call" and item["name"] in hosted and item["call_id"] not in answered
    ]
    return ResponseEnd(response_id=start.response_id, entries=given + said, left_open=left_open)


def new_entry_item(item: JsonObject, own_id: str) -> JsonObject:
    """An item that a client adds, with an id and a status."""
    return _whole(as_listed(item, own_id))


def _given(start: StartResponse) -> list[JsonObject]:
    return listed_input(start) if start.has_input else []


def _whole(item: JsonObject) -> JsonObject:
    """The item with a status, where it is a call or an output: OpenAI's clients expect one."""
    if item["type"] in ("function_call", "function_call_output") and item.get("status") is None:
        return {**item, "status": "completed"}
    return item


def _busy(holder: LockHolder) -> Refused:
    return Refused(
        BUSY,
        f"Response {holder.response_id} of this conversation has not ended yet. Send your request again when it has.",
    )


def _length(item: JsonObject) -> int:
    return len(json.dumps(item, ensure_ascii=False))
