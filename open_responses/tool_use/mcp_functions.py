"""The tools of an MCP server as functions for the model: their names, their schemas, and what their hints allow."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from pydantic_core import PydanticCustomError

from open_responses.json_types import JsonObject
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.tools import FunctionTool, looks_like_a_schema
from open_responses.tool_use.route import Route

FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""The names that every provider accepts for a function."""
_ANY_OBJECT: JsonObject = {"type": "object", "properties": {}}


def add_server(
    server: McpTool, tools: Sequence[JsonObject], functions: list[FunctionTool], routes: dict[str, Route]
) -> None:
    """Add the functions and routes of a server's tools.

    Args:
        server: The server, as the request names it. It may offer some of its tools only.
        tools: Its tools, as in its `mcp_list_tools` item.
        functions: The functions of the model turn so far.
        routes: Their routes. A name in it is not used again.
    """
    for tool in tools:
        name = tool["name"]
        read_only = _has_hint(tool, "readOnlyHint")
        if not server.offers(name, read_only=read_only):
            continue
        shown = _free_name(server.server_label, name, routes)
        needs_approval = server.needs_approval(name, read_only=read_only)
        routes[shown] = Route("mcp", name, server.server_label, needs_approval)
        functions.append(
            FunctionTool(
                type="function",
                name=shown,
                description=tool.get("description") or None,
                parameters=_parameters(tool),
            )
        )


def is_read_only(tools: Iterable[JsonObject], name: str) -> bool:
    """Return whether a server marks its tool as read-only. `tools` is the list in its `mcp_list_tools` item."""
    return any(tool["name"] == name and _has_hint(tool, "readOnlyHint") for tool in tools)


def may_run_twice(tools: Iterable[JsonObject], name: str) -> bool:
    """Return whether a server marks its tool as read-only or idempotent, so that a second call does no harm."""
    return any(
        tool["name"] == name and (_has_hint(tool, "readOnlyHint") or _has_hint(tool, "idempotentHint"))
        for tool in tools
    )


def _has_hint(tool: JsonObject, hint: str) -> bool:
    annotations = tool.get("annotations")
    return isinstance(annotations, dict) and annotations.get(hint) is True


def _parameters(tool: JsonObject) -> JsonObject:
    """The tool's schema, or one for any object if it is invalid: servers send it, and clients can change it."""
    given = tool.get("input_schema")
    try:
        return looks_like_a_schema(given) if isinstance(given, dict) and given else dict(_ANY_OBJECT)
    except PydanticCustomError:
        return dict(_ANY_OBJECT)


def _free_name(label: str, name: str, taken: Mapping[str, Route]) -> str:
    """The tool's own name, if it is valid as a function's name and free; else the name with the server's label."""
    if FUNCTION_NAME.fullmatch(name) and name not in taken:
        return name
    plain = with_label(label, name)
    if len(plain) <= 64 and plain not in taken:
        return plain
    return f"{plain[:55]}_{hashlib.sha256(f'{label}/{name}'.encode()).hexdigest()[:8]}"


def with_label(label: str, name: str) -> str:
    """Return the name of a function that has the server's label before the tool's name."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", f"{label}_{name}")
