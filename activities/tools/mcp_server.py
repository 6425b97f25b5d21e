"""An MCP server, a tool that it lists, and the error of a request to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from open_responses.json_types import JsonObject

ErrorCode: TypeAlias = Literal[
    "connection_error", "timeout", "protocol_error", "http_error", "too_large", "forbidden_address", "tool_error"
]


@dataclass(frozen=True, slots=True)
class McpServer:
    """The address of a server and the headers of its requests. The headers contain credentials, and the URL may. No log
    and no answer shows either."""

    label: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class McpToolDefinition:
    """One tool, as its server describes it."""

    name: str
    description: str | None
    input_schema: JsonObject
    annotations: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class McpToolList:
    """The tools of a server. `fresh_seconds`: for how long the server lets the list be kept; 0 if it does not say."""

    tools: Sequence[McpToolDefinition]
    fresh_seconds: int = 0


class McpError(Exception):
    """The failure of a request to an MCP server, in one line that a client and a model may read.

    `retryable`: a retry can help. `may_have_run`: the call was sent, and its outcome is not known. `is_answer`: the
    server itself ended the call, by a refusal or an error of its own, or the tool did.
    """

    def __init__(self, code: ErrorCode, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retryable = code == "connection_error" or (status is not None and (status == 429 or status >= 500))
        self.may_have_run = False
        self.is_answer = code == "tool_error"
