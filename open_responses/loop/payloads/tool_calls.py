"""The payloads of tool calls, and of the activity that lists an MCP server's tools."""

from __future__ import annotations

from typing import Literal

from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload

MAY_TRY_AGAIN = "may_try_again"
"""The type of an MCP call's failure after which the call can be repeated without harm."""
FLEET_PREFIX = "fleet-"
"""The prefix of the id of an activity that another fleet runs. This server's leases do not cover its worker."""
MAX_FLEET_PAYLOAD = 100_000
"""Characters of JSON. A longer payload becomes a file of this server, which another fleet cannot read."""


class ToolContextPayload(Payload):
    """The context of a tool's activity. `attempt` is the number of this activity's first attempt, from 1.

    `request_id` and `traceparent` are those of the request that began the response.
    """

    response_id: str
    call_id: str
    idempotency_key: str
    tenant: str
    metadata: dict[str, str] = {}
    attempt: int = 1
    output_index: int = 0
    request_id: str | None = None
    traceparent: str | None = None


class ToolCall(Payload):
    """The input of a hosted tool's activity, on this server's workers and on other fleets (docs/tools.md)."""

    tool: str
    arguments: JsonObject
    context: ToolContextPayload


class McpCallInput(Payload):
    """The input of a call to an MCP server. The server's secrets are in the response's start, sealed.

    `may_have_run`: a worker was lost during the call, so the tool is called again only if it may run twice.
    """

    server_label: str
    tool: str
    arguments: JsonObject
    context: ToolContextPayload
    may_have_run: bool = False


class BuiltInCallInput(Payload):
    """The input of a call of a built-in tool that this server runs.

    Attributes:
        tool: The tool's name, of its table in the configuration.
        function: The name of the function that the model called.
        arguments: The arguments.
        settings: The tool as the request has it.
        item: The item as it stands, in OpenAI's form.
        ordinal: The number of the call among those of the context.
        context: The call.
    """

    tool: str
    function: str
    arguments: JsonObject
    settings: JsonObject
    item: JsonObject
    ordinal: int
    context: ToolContextPayload


class McpListInput(Payload):
    """The input of the activity that lists an MCP server's tools, unless the context or the cache has the list."""

    response_id: str
    tenant: str
    server_label: str
    request_id: str | None = None
    traceparent: str | None = None


ToolOutcome = Literal["done", "failed", "halted", "lost", "handed_over", "cancelled"]


class ToolResult(Payload):
    """The outcome of a tool call.

    Attributes:
        outcome: `done`. `failed`: `output` is the error's message, which the model reads. `halted`: a middleware ends
            the response with the error code `reason` and the message `output`. `lost` and `handed_over`: the worker
            died or shut down, and the workflow schedules the call again with the same idempotency key. `cancelled`.
        output: The tool's output. Of an MCP tool, its text, with a line about each part that is not text.
        parts: The parts of an MCP tool's output, if it has more than text. `mcp_call.output` is a string.
        reason: See `outcome`.
        attempts: How often the activity began, as Temporal counts. Each attempt may have had its effect.
        item: Of a built-in tool, the members of the finished item.
        citations: Of a built-in tool, the annotations that the model may cite.
    """

    outcome: ToolOutcome
    output: str | list[JsonObject] = ""
    parts: list[JsonObject] = []
    reason: str | None = None
    attempts: int = 1
    item: JsonObject = {}
    citations: list[JsonObject] = []


class ToolProgress(Payload):
    """A running tool's message to the client. `output_index` is the index of the item of its result."""

    output_index: int
    message: str


class McpListResult(Payload):
    """A server's tools in the form of OpenAI's `mcp_list_tools`, or the error.

    `known`: the context has the list from an earlier response, so no item is added to this one.
    """

    outcome: ToolOutcome
    known: bool = False
    tools: list[JsonObject] = []
    error: str | None = None
