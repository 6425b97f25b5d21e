"""A provider's built-in tools in the tool table: which are offered, which may be chosen, and who runs their calls."""

from __future__ import annotations

from typing import Any

import pytest

from open_responses.config import ProviderConfig
from open_responses.errors import InvalidRequest
from open_responses.models.omissions import omitted_of
from open_responses.schema.requests import CreateResponse, validate_create_response
from open_responses.schema.tools import CLIENT_RUN_TOOLS, PROVIDER_TOOL_TYPES
from open_responses.tool_use.tool_table import ToolTable, build_tool_table

SEARCH = {"type": "web_search"}
FILES = {"type": "file_search", "vector_store_ids": ["vs_1"]}
CLOCK = {"type": "function", "name": "clock"}


def asked(tools: list[Any], choice: Any = None) -> CreateResponse:
    chosen = {} if choice is None else {"tool_choice": choice}
    return validate_create_response({"model": "m", "input": "x", "tools": tools, **chosen})


def table(tools: list[Any], choice: Any = None, *, omitted: tuple[int, ...] = (), spent: bool = False) -> ToolTable:
    return build_tool_table(asked(tools, choice), (), {}, {}, choice_spent=spent, omitted=omitted)


def allowed(*named: Any, mode: str = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": list(named)}


@pytest.mark.parametrize("choice", ["none", "required", "auto"])
def test_a_choice_holds_where_the_provider_has_the_only_tools(choice: str) -> None:
    assert table([SEARCH], choice).choice == choice


def test_only_allowed_built_in_tools_are_offered_since_the_provider_would_run_them() -> None:
    made = table([CLOCK, SEARCH, FILES], allowed({"type": "function", "name": "clock"}, {"type": "file_search"}))
    assert [tool["type"] for tool in made.provider_tools] == ["file_search"]
    assert made.route("clock").kind == "client"


def test_where_all_that_is_allowed_was_left_out_no_tool_is_chosen() -> None:
    made = table([CLOCK, SEARCH], allowed(SEARCH), omitted=(1,))
    assert (made.choice, list(made.provider_tools)) == ("none", [])
    assert made.route("clock").kind == "refused"


def test_a_forced_tool_is_forced_once() -> None:
    assert table([CLOCK, SEARCH], SEARCH).choice == asked([SEARCH], SEARCH).tool_choice
    assert table([CLOCK, SEARCH], SEARCH, spent=True).choice == "auto"


@pytest.mark.parametrize("kind", sorted(CLIENT_RUN_TOOLS))
def test_the_client_answers_the_calls_of_a_tool_that_it_runs(kind: str) -> None:
    mcp = {"type": "mcp", "server_label": "calc"}
    made = build_tool_table(
        asked([{"type": kind}, mcp]), (), {}, {"calc": [{"name": "add", "input_schema": {}}]}, choice_spent=False
    )
    assert made.route(CLIENT_RUN_TOOLS[kind]).kind == "client"
    assert made.route("unknown").kind == "refused", "the server runs calls in this request"


def test_a_function_may_not_have_the_name_of_a_tool_that_the_client_runs() -> None:
    provider = ProviderConfig(name="p", adapter="anthropic", base_url="http://127.0.0.1")
    request = asked([{"type": "bash_20250124"}, {"type": "function", "name": "bash"}])
    with pytest.raises(InvalidRequest, match="Rename yours") as refused:
        omitted_of(provider, request, strict_tools=False)
    assert refused.value.param == "tools[1].name"


def test_every_tool_that_the_client_runs_is_one_of_the_providers() -> None:
    assert CLIENT_RUN_TOOLS.keys() <= PROVIDER_TOOL_TYPES["anthropic"]


def test_a_function_of_an_item_with_the_name_of_a_built_in_tool_is_refused_by_its_place() -> None:
    mine = {"type": "additional_tools", "role": "developer", "tools": [CLOCK, {"type": "function", "name": "bash"}]}
    request = validate_create_response(
        {"model": "m", "input": [{"role": "user", "content": "x"}, mine], "tools": [{"type": "bash_20250124"}]}
    )
    anthropic = ProviderConfig.model_validate({"name": "p", "adapter": "anthropic", "base_url": "http://127.0.0.1:1"})
    with pytest.raises(InvalidRequest, match="bash_20250124") as caught:
        omitted_of(anthropic, request, strict_tools=False)
    assert caught.value.param == "input[1].tools[1].name"
