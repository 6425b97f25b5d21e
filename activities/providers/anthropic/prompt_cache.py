"""Sets the breakpoints of Anthropic's prompt cache.

What this prevents: paying the full price for a prefix that was sent before. Source: platform.claude.com/docs, prompt
caching.
"""

from __future__ import annotations

from open_responses.json_types import JsonObject

_BREAKPOINT = {"type": "ephemeral"}


def with_breakpoints(
    tools: list[JsonObject], system: list[JsonObject], messages: list[JsonObject]
) -> tuple[list[JsonObject], list[JsonObject], list[JsonObject]]:
    """Mark the ends of the tools, of the system blocks, and of the user's last two turns: at most four, the API's
    limit. The API writes the cache up to the newest turn. At the turn before it, the API finds the cache of the last
    request, however many blocks lie between (without a mark it looks back over 20).
    """
    said = [index for index, message in enumerate(messages) if message["role"] == "user"][-2:]
    marked = [
        {**message, "content": _marked(message["content"])} if index in said else message
        for index, message in enumerate(messages)
    ]
    return _marked(tools), _marked(system), marked


def _marked(blocks: list[JsonObject]) -> list[JsonObject]:
    return [*blocks[:-1], {**blocks[-1], "cache_control": _BREAKPOINT}] if blocks else []
