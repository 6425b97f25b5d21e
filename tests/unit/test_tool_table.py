"""What the model is offered, and where a call to a name goes (REQ-2)."""

from __future__ import annotations

from typing import Any

import pytest

from open_responses.tool_use.tool_table import ToolTable
from tests.support.offered_tools import CALC, MINE, tool_table


def names(made: ToolTable) -> list[str]:
    return [function.name for function in made.functions]


def test_names_go_to_the_client_the_server_or_an_mcp_server() -> None:
    made = tool_table([MINE, {"type": "open_responses:hosted_tools"}, CALC])
    assert names(made) == ["mine", "search", "delete", "add", "calc_rm_-rf"]
    assert [made.route(name).kind for name in names(made)] == ["client", "hosted", "hosted", "mcp", "mcp"]
    assert made.route("delete").needs_approval
    assert made.route("calc_rm_-rf").tool == "rm -rf"
    assert made.route("nothing").kind == "refused"
    assert "Available: add," in made.route("nothing").reason


def test_a_name_that_two_have_is_told_apart() -> None:
    made = tool_table([{**MINE, "name": "add"}, CALC])
    assert made.route("add").kind == "client"
    assert made.route("calc_add").tool == "add"


@pytest.mark.parametrize(
    ("guard", "asking"),
    [
        ("always", {"add", "calc_rm_-rf"}),
        ("never", set()),
        ({"never": {"tool_names": ["add"]}}, {"calc_rm_-rf"}),
        ({"always": {"tool_names": ["add"]}}, {"add", "calc_rm_-rf"}),
        ({"never": {"read_only": True}}, {"calc_rm_-rf"}),
    ],
)
def test_approval_is_asked_for_what_the_request_says(guard: Any, asking: set[str]) -> None:
    made = tool_table([{**CALC, "require_approval": guard}])
    assert {name for name, route in made.routes.items() if route.kind == "mcp" and route.needs_approval} == asking


def test_only_allowed_tools_of_a_server_are_offered() -> None:
    assert "calc_rm_-rf" not in names(tool_table([{**CALC, "allowed_tools": ["add"]}]))


@pytest.mark.parametrize(
    ("choice", "told", "forbidden"),
    [
        (None, None, set()),
        ("auto", "auto", set()),
        ("required", "required", set()),
        ("none", "none", {"mine", "search", "add"}),
        ({"type": "function", "name": "mine"}, {"type": "function", "name": "mine"}, {"search", "add"}),
        (
            {"type": "mcp", "server_label": "calc", "name": "add"},
            {"type": "function", "name": "add"},
            {"mine", "search"},
        ),
        ({"type": "mcp", "server_label": "calc"}, "required", {"mine", "search"}),
    ],
)
def test_a_choice_is_told_to_the_provider_and_enforced_here(choice: Any, told: Any, forbidden: set[str]) -> None:
    made = tool_table([MINE, CALC], choice)
    shown = (
        made.choice
        if made.choice is None or isinstance(made.choice, str)
        else made.choice.model_dump(exclude_none=True)
    )
    assert shown == told
    assert {name for name in ("mine", "search", "add") if made.route(name).kind == "refused"} == forbidden


def test_a_forced_choice_is_kept_once_and_allowed_tools_always() -> None:
    forced = tool_table([MINE], {"type": "function", "name": "mine"}, spent=True)
    assert (forced.choice, forced.route("search").kind) == ("auto", "hosted")
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "mine"}]}
    again = tool_table([MINE], allowed, spent=True)
    assert again.route("search").kind == "refused"
    assert "does not allow it" in again.route("search").reason
    assert names(again) == ["mine", "search", "delete"]
