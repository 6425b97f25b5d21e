"""The state of a conversation, and the arguments and results of its workflow's updates, signals and queries.

Histories of running conversations have the names of the fields, so these stay. A new field has a default.
"""

from __future__ import annotations

from pydantic import Field, field_validator

from open_responses.json_types import JsonObject
from open_responses.schema import http_bodies
from open_responses.schema.payload import Payload

CONVERSATION_WORKFLOW = "ConversationWorkflow"
# Histories of running conversations have these names, so they stay, although a turn is a model turn everywhere else.
TAKE_LOCK, RELEASE_LOCK, SETTLE_LOCK = "begin_turn", "release_turn", "settle_turn"
RESPONSE_ENDED = "end_turn"
"""The signal of a response that has ended."""


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
