"""The target of a call: the client, a hosted tool, an MCP server, or a built-in tool; or a refusal with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from open_responses.schema.mcp_tool import HOSTED_LABEL
from open_responses.tool_use.client_functions import Form

Disposition: TypeAlias = Literal["client", "hosted", "mcp", "built_in", "refused"]


@dataclass(frozen=True, slots=True)
class Route:
    """The target of a call. `tool` is the tool's name there; `reason` is set for `refused`.

    `form` and `namespace` are those of the client's tool.
    """

    kind: Disposition
    tool: str
    server_label: str = HOSTED_LABEL
    needs_approval: bool = False
    reason: str = ""
    form: Form = "function"
    namespace: str | None = None
