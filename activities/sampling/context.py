"""Loads what the model reads: the chain of earlier responses, then this one's input and output (REQ-1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from open_responses.context.abandoned_items import without_partials
from open_responses.context.configuration import configured
from open_responses.context.excerpt import readable
from open_responses.errors import PreviousResponseNotFound
from open_responses.events.trace import replay_trace
from open_responses.io.files.file_store import FileStore
from open_responses.io.files.inlined import NamedFiles, read_named
from open_responses.io.log.encoding import encode, item_field
from open_responses.io.log.state_fields import read_items
from open_responses.io.log.writer import Earlier
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.store.chains import Chains, remembered_items
from open_responses.io.store.repository import Records
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.finish import Progress
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.items import INPUT_ITEMS, InputItem
from open_responses.schema.mcp_items import McpTools
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import CreateResponse


@dataclass(frozen=True, slots=True)
class Context:
    """The request, the conversation before it and its input, oldest first, its own output so far, and the files that
    these name."""

    start: StartResponse
    items: list[InputItem]
    output: list[JsonObject]
    named: NamedFiles

    @property
    def request(self) -> CreateResponse:
        """The request, with the settings that items of its conversation have changed."""
        return configured(self.start.request, self.items)

    def conversation(self, output: Sequence[JsonObject], *, goes_on: bool = False) -> list[InputItem]:
        """The conversation that the model may read, with the output so far. `goes_on`: the model continues the open
        item of the output."""
        added = INPUT_ITEMS.validate_python([readable(item) for item in without_partials(output, goes_on=goes_on)])
        return self.items + self.named.put_into(added)


class HasEnded(Exception):
    """The response's end is stored already; an operator has reset its run. Another model turn would be wasted."""


class Contexts:
    """Loads contexts from the store, and from Temporal where the store has lost them."""

    def __init__(self, redis: Redis, records: Records, files: FileStore, inline_bytes: int) -> None:
        self._redis = redis
        self._files = files
        self.inline_bytes = inline_bytes
        self._records = self.records = records
        self._chains = Chains(records)

    async def load(self, response_id: str, output_length: int) -> Context:
        """The context of a turn that begins with this many items in the output.

        Raises HasEnded, PreviousResponseNotFound for a response or an ancestor that is gone, and ContextTooLarge for
        named files that are too large together.
        """
        record = await self._records.load(response_id)
        if record is None:
            raise PreviousResponseNotFound(f"Response {response_id} was deleted while it ran.")
        if record.response is not None:
            raise HasEnded
        items = await self._chains.items(record.ancestors)
        start = record.start
        items += await remembered_items(await self._records.pieces.expanded(start.remembered))
        items += await off_loop(record.size, start.input_items)
        output = await self._output(response_id, output_length)
        # Of the output, a message of the user that came while the response ran may name a file.
        steered = INPUT_ITEMS.validate_python([item for item in output if item.get("role") == "user"])
        named = await read_named(self._files, start.tenant, [*items, *steered], self.inline_bytes)
        return Context(start, named.put_into(items), output, named)

    async def earlier(self, response_id: str, length: int) -> Earlier:
        """The first `length` events of a running response, and its items, from its workflow. Raises RPCError."""
        progress = await self._records.progress(response_id)
        return earlier_events(progress, length)

    async def _output(self, response_id: str, length: int) -> list[JsonObject]:
        if length == 0:
            return []
        try:
            items = await read_items(self._redis, response_id, length)
        except RedisDown:
            items = []
        # An item that still looks open was settled in an outage: the workflow knows its end.
        if len(items) == length and not any(item.get("status") == "in_progress" for item in items):
            return items
        return (await self._records.progress(response_id)).output[:length]


def earlier_events(progress: Progress, length: int) -> Earlier:
    """The first events of a running response, as the log had them."""
    events = [
        encode(event, event.pop("sequence_number"))
        for event in replay_trace(progress.trace, progress.output, progress.start.initial())
        if event["sequence_number"] < length
    ]
    return Earlier(events, {item_field(i): orjson.dumps(item) for i, item in enumerate(progress.output)})


def mcp_lists(items: Sequence[InputItem]) -> dict[str, list[JsonObject]]:
    """The tools of each MCP server by label, as the newest list in the conversation has them."""
    return {item.server_label: item.tools for item in items if isinstance(item, McpTools)}
