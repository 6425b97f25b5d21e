"""The items of MCP: the list of a server's tools, a call with its result, and an approval with its answer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from open_responses.json_types import JsonObject
from open_responses.schema.content import MAX_PARTS, LenientObject, ToolOutputPart
from open_responses.schema.deferred import DEFERRED, deferred


class ListedTool(LenientObject):
    """One tool in an `mcp_list_tools`. Its schema is not checked, because the MCP server wrote it."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    input_schema: JsonObject | None = None
    annotations: JsonObject | None = None


_LISTED_TOOLS = deferred(TypeAdapter(list[ListedTool], config=DEFERRED))


def _are_listed_tools(tools: list[JsonObject]) -> list[JsonObject]:
    """Check each tool, and return the list unchanged."""
    _LISTED_TOOLS.validate_python(tools)
    return tools


class McpTools(LenientObject):
    """An `mcp_list_tools`: the tools of an MCP server. It stays in the context, so that a chain lists them once."""

    type: Literal["mcp_list_tools"]
    id: str | None = None
    server_label: Annotated[str, Field(min_length=1)]
    tools: Annotated[list[JsonObject], Field(max_length=MAX_PARTS, fail_fast=True), AfterValidator(_are_listed_tools)]
    error: str | JsonObject | None = None


class McpCall(LenientObject):
    """A call of an MCP tool that the server ran, with its result.

    `output_parts` is an extension: the parts of a result that has more than text. The model reads them in place of
    `output`, which describes them in a string, as OpenAI's API has it.
    """

    type: Literal["mcp_call"]
    id: Annotated[str, Field(min_length=1)]
    server_label: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    arguments: str
    output: str | None = None
    output_parts: Annotated[list[ToolOutputPart], Field(max_length=MAX_PARTS, fail_fast=True)] | None = None
    error: str | JsonObject | None = None
    approval_request_id: str | None = None
    status: str | None = None


class McpApprovalRequest(LenientObject):
    """A call that needs approval. The server runs the call that it stored, not the copy that a client sends back."""

    type: Literal["mcp_approval_request"]
    id: Annotated[str, Field(min_length=1)]
    server_label: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    arguments: str


class McpApprovalResponse(LenientObject):
    """The decision on an approval request."""

    type: Literal["mcp_approval_response"]
    id: str | None = None
    approval_request_id: Annotated[str, Field(min_length=1)]
    approve: bool
    reason: Annotated[str, Field(max_length=4096)] | None = None
