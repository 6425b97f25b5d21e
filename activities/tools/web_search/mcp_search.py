"""A tool of an MCP server that searches, with arguments and results of any form.

The configuration says which argument gets the query. A result in JSON is searched for objects with an address; from any
other text the addresses are read, and the model gets the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from activities.tools import mcp
from activities.tools.mcp_server import McpError, McpServer
from activities.tools.web_search.json_api import text_at
from activities.tools.web_search.results import SearchAnswer, SearchError, SearchQuery, SearchResult
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.json_types import JsonObject
from open_responses.tool_use.tool_output import in_words

_ADDRESS = re.compile(r"https?://[^\s<>\"'`\\^{}|\[\]]+")
_MAX_DEPTH = 7
_URL_NAMES = ("url", "link", "href", "uri")
_TEXT_NAMES = ("snippet", "description", "content", "text", "excerpt", "summary", "body")
_DATE_NAMES = ("date", "published_date", "publishedDate", "page_age", "age")


class McpBackend:
    """Calls the tool in a session of its own. A search may run twice, so a failed call is retried as any other."""

    def __init__(self, config: WebSearchConfig, server: McpServer) -> None:
        self._config = config
        self._server = server

    async def search(self, query: SearchQuery) -> SearchAnswer:
        """Search once. Raises SearchError."""
        tool, seconds = self._config.mcp_tool or "", self._config.wait_seconds
        try:
            output = await mcp.call_tool(
                self._server, tool, arguments_of(self._config.mcp_arguments, query), timeout_seconds=seconds
            )
        except McpError as error:
            message = f"The search with the MCP tool {tool!r} failed: {error.message.rstrip('.')}."
            raise SearchError(message, retryable=error.retryable or error.code == "timeout") from error
        answer = answer_of(in_words(output), query.limit)
        if answer.prose is not None and (query.allowed_domains or query.blocked_domains):
            raise SearchError(
                f"The results of the MCP tool {tool!r} are plain text, in which the pages of other domains than the "
                "request allows cannot be left out."
            )
        return answer


def arguments_of(template: JsonObject, query: SearchQuery) -> JsonObject:
    """The arguments of the tool: the configured ones, with the placeholders replaced."""
    values: dict[str, Any] = {
        "{query}": query.query,
        "{limit}": query.limit,
        "{recency}": query.recency,
        "{country}": query.location.country,
        "{allowed_domains}": list(query.allowed_domains) or None,
        "{blocked_domains}": list(query.blocked_domains) or None,
    }
    filled = {name: values.get(value, value) if isinstance(value, str) else value for name, value in template.items()}
    return {name: value for name, value in filled.items() if value is not None}


def answer_of(text: str, limit: int) -> SearchAnswer:
    """The results in a tool's text."""
    try:
        parsed = _json_values(text)
    except (ValueError, RecursionError):
        found = list(dict.fromkeys(match.rstrip(".,;:!?)*") for match in _ADDRESS.findall(text)))
        return SearchAnswer([SearchResult(title=url, url=url) for url in found[:limit]], prose=text)
    return SearchAnswer(list(_results_in(parsed, _MAX_DEPTH)))


def _json_values(text: str) -> list[Any]:
    """The JSON values in a text: a tool that returns a list has one block of text for each entry. Raises ValueError."""
    decoder, values, rest = json.JSONDecoder(), [], text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        values.append(value)
        rest = rest[end:].lstrip()
    return values


def _results_in(value: Any, depth: int) -> Iterator[SearchResult]:
    """Each object with an address, as deep as they lie."""
    if depth == 0:
        return
    if isinstance(value, list):
        for entry in value:
            yield from _results_in(entry, depth - 1)
    elif isinstance(value, dict):
        url = text_at(value, *_URL_NAMES)
        if url:
            snippet, date = text_at(value, *_TEXT_NAMES), text_at(value, *_DATE_NAMES)
            yield SearchResult(text_at(value, "title", "name") or url, url, snippet, date or None)
        else:
            for entry in value.values():
                yield from _results_in(entry, depth - 1)
