"""The search attributes that operators filter responses by in Temporal: their names, types and bounds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import CALL, runs_here

MODEL = "OpenResponsesModel"
PROVIDER = "OpenResponsesProvider"
TENANT = "OpenResponsesTenant"
STATUS = "OpenResponsesStatus"
PREVIOUS = "OpenResponsesPrevious"
ERROR_CODE = "OpenResponsesErrorCode"
CONVERSATION = "OpenResponsesConversation"
TOOLS = "OpenResponsesTools"
TOKENS = "OpenResponsesTokens"
COST_USD = "OpenResponsesCostUsd"

AWAITING_APPROVAL = "awaiting_approval"
"""The status of a response while at least one of its calls waits for a person."""
RETRYING = "retrying"
"""The status of a response whose provider failed, and is tried again after a pause."""

SEARCH_ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        MODEL: "Keyword",
        PROVIDER: "Keyword",
        TENANT: "Keyword",
        STATUS: "Keyword",
        PREVIOUS: "Keyword",
        ERROR_CODE: "Keyword",
        CONVERSATION: "Keyword",
        TOOLS: "KeywordList",
        TOKENS: "Int",
        COST_USD: "Double",
    }
)
"""All of them, with their types in Temporal. The namespace has to know them before a response sets them.

Temporal on SQL, as in `make dev` and the compose file, has room for 10 keywords, and 3 of each other type.
"""

# Temporal rejects tasks that set a value of more than 2 KB; its index on SQL has 255 characters for a keyword.
_LONGEST_NAME = 100
_MOST_TOOLS = 15


def called_tools(output: Sequence[JsonObject], hosted: Collection[str]) -> list[str]:
    """The tools that the server was to run for these items, in the order of the first calls, within Temporal's limits.

    A hosted tool has its name, a tool of an MCP server `label.name`. Functions of the client are left out.
    """
    names: dict[str, None] = {}
    for item in output:
        if item["type"] == "mcp_call":
            names[f"{item['server_label']}.{item['name']}"] = None
        elif runs_here(item):
            names[item[CALL]["function"]] = None
        elif item["type"] == "function_call" and item["name"] in hosted:
            names[item["name"]] = None
    return [name.encode()[:_LONGEST_NAME].decode("utf-8", "ignore") for name in list(names)[:_MOST_TOOLS]]
