"""What the model is to see: the chain of earlier responses, then this one's input and output (REQ-1)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from open_responses.errors import PreviousResponseNotFound
from open_responses.excerpt import readable
from open_responses.io import keys
from open_responses.io.event_log import Earlier, encode, item_field
from open_responses.io.records import Records
from open_responses.io.redis import Redis, RedisDown
from open_responses.io.store import Record
from open_responses.items import INPUT_ITEMS, InputItem, McpTools, UserMessage
from open_responses.json_types import JsonObject
from open_responses.payloads import Progress, StartResponse
from open_responses.trace import replay

# Items of chains kept in memory, over all chains: about 3 kB each.
_CACHED_ITEMS = 20_000
# What a sample that broke off leaves in the output, to be sampled again behind it.
_SAMPLED = ("message", "reasoning", "function_call", "mcp_call")


@dataclass(frozen=True, slots=True)
class Context:
    """The request, the conversation before it and its input, oldest first, and its own output so far."""

    start: StartResponse
    items: list[InputItem]
    output: list[JsonObject]

    def conversation(self, output: Sequence[JsonObject]) -> list[InputItem]:
        """All that the model may read, with the output as it stands."""
        finished = [item for item in output if item.get("status") not in ("in_progress", "incomplete")]
        return self.items + INPUT_ITEMS.validate_python([readable(item) for item in finished])


class Contexts:
    """Loads contexts from the store, and from Temporal where the store has lost them.

    Chains are remembered for their next response: a chain of 500 is not read again for each new link.
    """

    def __init__(self, redis: Redis, records: Records) -> None:
        self._redis = redis
        self._records = records
        self._chains: OrderedDict[str, list[InputItem]] = OrderedDict()
        self._cached = 0

    async def load(self, response_id: str, output_length: int) -> Context:
        """The context of a turn that begins with this many items in the output.

        Raises PreviousResponseNotFound for a response or an ancestor that is gone.
        """
        record = await self._records.load(response_id)
        if record is None:
            raise PreviousResponseNotFound(f"response {response_id} is gone: it was deleted while it ran")
        chain = await self._chain(record)
        return Context(record.start, chain + input_items(record.start), await self._output(response_id, output_length))

    async def earlier(self, response_id: str, length: int) -> Earlier:
        """The first `length` events of a running response, and its items, from its workflow. Raises RPCError."""
        progress = await self._records.progress(response_id)
        return earlier_events(progress, length)

    async def _output(self, response_id: str, length: int) -> list[JsonObject]:
        if length == 0:
            return []
        try:
            found = await self._redis.hmget(keys.state(response_id), [item_field(i) for i in range(length)])
        except RedisDown:
            found = []
        items = [orjson.loads(item) for item in found if item is not None]
        # An item that still looks open was settled in an outage: the workflow knows its end.
        if len(items) == length and not any(item.get("status") == "in_progress" for item in items):
            return items
        return (await self._records.progress(response_id)).output[:length]

    async def _chain(self, record: Record) -> list[InputItem]:
        """The items of all ancestors, oldest first."""
        ancestors = record.ancestors
        known = next((i for i in range(len(ancestors), 0, -1) if ancestors[i - 1] in self._chains), 0)
        items = list(self._chains[ancestors[known - 1]]) if known else []
        missing = ancestors[known:]
        for ancestor_id, ancestor in zip(missing, await self._records.load_all(missing), strict=True):
            if ancestor is None:
                raise PreviousResponseNotFound(f"response {ancestor_id}, earlier in the chain, is gone")
            items += input_items(ancestor.start)
            items += INPUT_ITEMS.validate_python([readable(item) for item in without_partials(ancestor.output)])
        if missing:
            self._remember(ancestors[-1], items)
        return items

    def _remember(self, response_id: str, items: list[InputItem]) -> None:
        self._chains[response_id] = list(items)
        self._cached += len(items)
        while self._cached > _CACHED_ITEMS and len(self._chains) > 1:
            _, dropped = self._chains.popitem(last=False)
            self._cached -= len(dropped)


def earlier_events(progress: Progress, length: int) -> Earlier:
    """The first events of a running response, as the log had them."""
    events = [
        encode(event, event.pop("sequence_number"))
        for event in replay(progress.trace, progress.output, progress.start.initial())
        if event["sequence_number"] < length
    ]
    return Earlier(events, {item_field(i): orjson.dumps(item) for i, item in enumerate(progress.output)})


def input_items(start: StartResponse) -> list[InputItem]:
    """A string input is one user message (HTTP-3)."""
    given = start.request.input
    if isinstance(given, str):
        return [UserMessage(type="message", role="user", content=given)]
    return list(given or [])


def without_partials(output: list[JsonObject]) -> list[JsonObject]:
    """An item that a lost sample left half-finished was sampled again behind it: the model must not see both."""
    return [
        item
        for i, item in enumerate(output)
        if item.get("status") != "incomplete" or i == len(output) - 1 or item["type"] not in _SAMPLED
    ]


def mcp_lists(items: Sequence[InputItem]) -> dict[str, list[JsonObject]]:
    """The tools of each MCP server by label, as the newest list in the conversation has them."""
    return {item.server_label: item.tools for item in items if isinstance(item, McpTools)}
