"""The contract of an engine, which runs the calls of one built-in tool.

An engine gets one `BuiltInRun` and returns one `BuiltInResult`. It need not know items, events or Temporal. If its
worker dies, the call runs again with the same `context.idempotency_key`. A `ToolError` is a final error, which the
model reads; any other exception is attempted again. Whatever happens, the call ends as an item, and the response goes
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from open_responses.contracts import ToolContext, ToolOutput
from open_responses.json_types import JsonObject

CITE = (
    "Cite what you use from this result: behind each statement, repeat the mark in 【 】 of its source exactly as it "
    "stands here, for example 【1:2】. Write no links of your own."
)
"""Ends the output of a call that has citations."""


@dataclass(frozen=True, slots=True)
class BuiltInRun:
    """One attempt at a call, as an engine gets it.

    Attributes:
        context: The response, the tenant, the attempt, the idempotency key, and the ways to report progress and to see
            a cancellation. `context.tool` is the tool's name.
        function: The name of the function that the model called, one of the tool's.
        arguments: The arguments that the model wrote. They are a JSON object, and are not checked otherwise.
        settings: The tool as the request has it, with its parameters (`vector_store_ids`, `user_location` …).
        item: The item as it stands, in OpenAI's form. `item["id"]` is the call's id.
        ordinal: The number of the call among those of the context, from 1.
    """

    context: ToolContext
    function: str
    arguments: JsonObject
    settings: JsonObject
    item: JsonObject
    ordinal: int = 1

    def mark(self, index: int) -> str:
        """Return the mark with which the model cites `BuiltInResult.citations[index]`. Write it into the output."""
        return f"【{self.ordinal}:{index + 1}】"


@dataclass(frozen=True, slots=True)
class BuiltInResult:
    """The result of a call.

    Attributes:
        output: The text, or content parts, that the model reads. The server adds how to cite, if there are citations.
        item: The members of the finished item in OpenAI's form, all of them: the server leaves out those that `include`
            has to name (`action.sources`, `results`, `outputs`), and keeps them for a client that asks for them later.
        citations: The sources that the model may cite, as annotations without indexes:
            `{"type": "url_citation", "url", "title"}`, `{"type": "file_citation", "file_id", "filename"}` or
            `{"type": "container_file_citation", "container_id", "file_id", "filename"}`. The output shows each with its
            mark.
        failed: Whether the item ends as `failed`. `output` then has the error.
        how_to_cite: What the model reads behind an output with citations.
    """

    output: ToolOutput
    item: JsonObject = field(default_factory=dict)
    citations: Sequence[JsonObject] = ()
    failed: bool = False
    how_to_cite: str = CITE


class BuiltInEngine(Protocol):
    """Runs the calls of one built-in tool. One object serves all calls of a worker, many at the same time."""

    async def run(self, call: BuiltInRun) -> BuiltInResult:
        """Run one call.

        Args:
            call: The call.

        Returns:
            The result.

        Raises:
            ToolError: A final error, such as arguments that do not fit. The model reads its message.
            Exception: Any other error. The call may be attempted again.
        """
        ...
