"""The state machine of a conversation, as OpenAI defines it: its items in order, and its lock.

Each conversation is a workflow (`workflows/conversation.py`). Its state is here, without Temporal, so that its rules
can be tested alone. What they prevent: a response to a conversation that another response has changed meanwhile, and
items of a response that are added twice because the signal of its end arrived twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from pydantic import Field, field_validator

from open_responses.context.abandoned_items import without_partials
from open_responses.context.call_pairing import check_added_calls
from open_responses.errors import InvalidRequest
from open_responses.ids import FIRST_INPUT_INDEX, member_id
from open_responses.json_types import JsonObject
from open_responses.loop.input_items import as_listed, listed_input, prefix_of
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema import http_bodies
from open_responses.schema.items import MAX_ITEMS
from open_responses.schema.payload import Payload
from open_responses.schema.response import FinalStatus

CONVERSATION_WORKFLOW = "ConversationWorkflow"
# Histories of running conversations have these names, so they stay, although a turn is a model turn everywhere else.
TAKE_LOCK, RELEASE_LOCK, SETTLE_LOCK = "begin_turn", "release_turn", "settle_turn"
RESPONSE_ENDED = "end_turn"
"""The signal of a response that has ended."""

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


class Entry(Payload):
    """An item with an id, and the response that added it; None for an item that the client added."""

    item: JsonObject
    response_id: str | None = None
    is_output: bool = False

    @field_validator("item")
    @classmethod
    def _has_id_and_type(cls, item: JsonObject) -> JsonObject:
        """An operator may have sent the signal or the update by hand."""
        if not isinstance(item.get("id"), str) or not isinstance(item.get("type"), str):
            raise ValueError("an item has an id and a type")
        return item


class LockHolder(Payload):
    """The response that holds the conversation's lock, since `began_at`: Unix seconds, by the API's clock."""

    response_id: str
    began_at: float


class ConversationState(Payload):
    """The whole state: the input of each run of the workflow, and the result of its `state` query.

    Attributes:
        conversation_id: The id of the conversation and of its workflow.
        tenant: The owner.
        created_at: Unix seconds.
        metadata: As the client set it.
        entries: The items, oldest first. Empty in a summary.
        lock: The response that holds the lock. Its alias is the name in stored payloads.
        revision: Counts the changes that a response would read.
        deletions: Counts the items that were deleted.
        count: In a summary, the number of entries. -1 from workers of earlier versions, which do not set it.
        run_id: The run that returned a summary. After a reset, another run may have other entries at the same indexes.
        ended: The responses that have ended, the newest last.
        left_open: The ids of calls that the server should have run and did not. They need no output.
        characters: The length of the items as JSON.
        changes_per_run: The changes after which the workflow continues as a new run.
        renew_seconds: The longest time that a run rests. A new run writes its payloads again, before those outside of
            history are removed for their age.
    """

    conversation_id: str
    tenant: str
    created_at: int
    metadata: dict[str, str] = Field(default_factory=dict)
    entries: list[Entry] = Field(default_factory=list)
    lock: LockHolder | None = Field(default=None, alias="turn")
    revision: int = 0
    deletions: int = 0
    count: int = -1
    run_id: str = ""
    ended: list[str] = Field(default_factory=list)
    left_open: list[str] = Field(default_factory=list)
    characters: int = 0
    changes_per_run: int = 500
    renew_seconds: float = 20 * 24 * 3600.0

    @property
    def items(self) -> list[JsonObject]:
        """The items, without their entries' other members."""
        return [entry.item for entry in self.entries]

    def resource(self) -> http_bodies.Conversation:
        """The `conversation` of OpenAI's API."""
        return {
            "id": self.conversation_id,
            "object": "conversation",
            "created_at": self.created_at,
            "metadata": self.metadata,
        }


class AddItems(Payload):
    """The argument of the update that adds items."""

    items: list[JsonObject]


class SetMetadata(Payload):
    """The argument of the update that replaces the metadata."""

    metadata: dict[str, str]


class TakeLock(Payload):
    """A response takes the lock of a conversation that was read at `revision`. `at` is in Unix seconds."""

    response_id: str
    revision: int
    at: float


class ResponseEnd(Payload):
    """The end of a response: the entries that it adds (its input, then its output), or none."""

    response_id: str
    entries: list[Entry] = Field(default_factory=list)
    left_open: list[str] = Field(default_factory=list)


class PageQuery(Payload):
    """The argument of the query for a page: at most `limit` items after the item `after`."""

    limit: int
    after: str | None = None
    newest_first: bool = True


class Page(Payload):
    """Items of a list. `is_known` is false when there is no item `after`."""

    items: list[JsonObject] = Field(default_factory=list)
    has_more: bool = False
    is_known: bool = True


class PartQuery(Payload):
    """A query for the entries from index `first` on."""

    first: int


class ConversationPart(Payload):
    """Entries of a conversation at `revision`, in the run `run_id`.

    At least one, and no more than fit a query result that stays out of files.
    """

    entries: list[Entry] = Field(default_factory=list)
    revision: int = 0
    run_id: str = ""


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
