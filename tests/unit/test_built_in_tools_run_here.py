"""Which built-in tools this server runs for a provider, and what it makes of their calls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from api.auth import Caller
from api.responses.routing import targets_of
from api.responses.steer import steer_stored
from api.responses.validate import built_in_tools
from open_responses.config import Config, ProviderConfig, RouteConfig
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.context.excerpt import readable
from open_responses.context.tokens import item_tokens
from open_responses.context.transcript import as_model_reads
from open_responses.deltas import Finish, ProviderItem
from open_responses.errors import InvalidRequest, PermissionDenied
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.loop.next_step import next_step
from open_responses.loop.payloads.sample import SampleResult
from open_responses.loop.payloads.start import Target
from open_responses.loop.payloads.steering import Steer
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.built_in_items import CALL, without_call
from open_responses.schema.items import INPUT_ITEMS, FunctionCall, FunctionCallOutput
from open_responses.schema.request_settings import INCLUDES
from open_responses.schema.requests import CreateResponse, validate_create_response
from open_responses.tool_use.built_in import BUILT_IN_TOOLS, BuiltInTool, offered_built_ins
from open_responses.tool_use.built_in_call_items import approved_item, ended_item
from open_responses.tool_use.built_in_row import Opening

RESPONSE = "resp_" + "b" * 48
SEARCH = {"type": "web_search"}


def asked(*tools: Any, **body: Any) -> CreateResponse:
    return validate_create_response({"model": "first", "input": "x", "tools": list(tools), **body})


def configured(table: WebSearchConfig | None, *adapters: str, strict: bool = False) -> Config:
    """One route for each adapter; the first falls back to the rest."""
    names = ["first", *(f"other{i}" for i in range(len(adapters) - 1))]
    return Config(
        strict_tools=strict,
        providers=tuple(
            ProviderConfig(name=name, adapter=adapter, base_url="http://127.0.0.1:9")
            for name, adapter in zip(names, adapters, strict=True)
        ),
        routes=(
            RouteConfig(model="first", provider="first", fallbacks=tuple(names[1:])),
            *(RouteConfig(model=name, provider=name) for name in names[1:]),
        ),
        web_search=table,
    )


def targets(config: Config, request: CreateResponse) -> list[Target]:
    return targets_of(config, request, None, {})


ENABLED = WebSearchConfig(target="a.b:C")
PREFERRED = WebSearchConfig(target="a.b:C", prefer=True)


@pytest.mark.parametrize(
    ("table", "run_here", "omitted"),
    [
        (None, [[], [], []], [[], [1], []]),
        (ENABLED, [[], [1], [1]], [[], [], []]),
        (PREFERRED, [[1], [1], [1]], [[], [], []]),
    ],
)
def test_each_target_of_a_route_has_its_own_answer(
    table: WebSearchConfig | None, run_here: list[list[int]], omitted: list[list[int]]
) -> None:
    config = configured(table, "openai", "openai-chat", "my.own:Adapter")
    clock = {"type": "function", "name": "clock"}
    found = targets(config, asked(clock, SEARCH))
    assert [target.run_here for target in found] == run_here
    assert [target.omitted.tools if target.omitted else [] for target in found] == omitted


@pytest.mark.parametrize("choice", ["required", {"type": "web_search"}])
@pytest.mark.parametrize("adapter", ["openai-chat", "gemini", "anthropic"])
def test_a_tool_that_runs_here_can_be_forced_on_any_provider(choice: Any, adapter: str) -> None:
    request = asked(SEARCH, tool_choice=choice)
    assert targets(configured(ENABLED, adapter, strict=True), request)[0].run_here == [0]
    with pytest.raises(InvalidRequest):
        targets(configured(None, adapter), request)


def ended(**changes: Any) -> dict[str, Any]:
    row = BUILT_IN_TOOLS["web_search"]
    arguments = '{"query":"q"}'
    item = approved_item(
        row, RESPONSE, 2, Opening(RESPONSE, "web_search", {"query": "q"}, {}), approval_id="mcpr_1", arguments=arguments
    )
    given: dict[str, Any] = {
        "output": "found",
        "members": {"action": {"type": "search", "query": "q", "sources": [{"url": "u"}]}},
        "citations": [],
        "failed": False,
        "include": [],
        "is_stored": True,
    }
    return ended_item(item, row, **(given | changes))


def test_an_item_shows_what_include_names() -> None:
    assert without_call(ended())["action"] == {"type": "search", "query": "q"}
    assert ended(include=["web_search_call.action.sources"])["action"]["sources"] == [{"url": "u"}]
    assert ended(failed=True, members={})["status"] == "failed"


def ended_as(kind: str, opening: dict[str, Any], members: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An item of this tool that has ended with these members."""
    row = BUILT_IN_TOOLS[kind]
    item = {"type": row.item_type, "id": f"{row.id_prefix}1", "status": "in_progress", **opening}
    call = {"function": kind, "ordinal": 1}
    given: dict[str, Any] = {"output": "found", "citations": [], "failed": False, "include": [], "is_stored": True}
    return ended_item({**item, CALL: call}, row, members=members, **(given | changes))


RESULTS = [{"file_id": "file-1", "filename": "a.md", "score": 0.5, "attributes": {}, "text": "Found."}]
SHOWN_ON_REQUEST = [
    ("file_search", "file_search_call.results", {"queries": ["q"], "results": None}, {"results": RESULTS}),
    (
        "code_interpreter",
        "code_interpreter_call.outputs",
        {"code": "1", "container_id": "cntr_1", "outputs": []},
        {"outputs": [{"type": "logs", "logs": "1"}]},
    ),
    (
        "web_search",
        "web_search_call.action.sources",
        {"action": {"type": "search", "query": "q"}},
        {"action": {"type": "search", "query": "q", "sources": [{"type": "url", "url": "u"}]}},
    ),
    (
        "web_search",
        "web_search_call.results",
        {"action": {"type": "search", "query": "q"}},
        {"results": [{"type": "text_result", "url": "u", "title": "t", "snippet": "s"}]},
    ),
]


@pytest.mark.parametrize(("kind", "value", "opening", "members"), SHOWN_ON_REQUEST, ids=lambda each: str(each)[:40])
def test_a_member_on_request_is_kept_for_a_client_that_asks_later(
    kind: str, value: str, opening: dict[str, Any], members: dict[str, Any]
) -> None:
    asked_at_once = without_call(ended_as(kind, opening, members, include=[value]))
    assert asked_at_once == {**without_call(ended_as(kind, opening, members)), **members}
    later = ended_as(kind, opening, members)
    assert without_call(later).keys() == opening.keys() | {"type", "id", "status"}
    assert without_call(later).get("results") is without_call(later).get("outputs") is None
    assert without_call(later, {value, "message.output_text.logprobs"}) == asked_at_once
    others = {name for _, name, _, _ in SHOWN_ON_REQUEST} - {value}
    assert without_call(later, others) == without_call(later)
    unstored = ended_as(kind, opening, members, is_stored=False)
    assert "on_request" not in unstored[CALL]
    INPUT_ITEMS.validate_python([later])


def test_members_on_request_that_a_client_has_written_itself_change_no_other_member() -> None:
    item = ended()
    item[CALL]["on_request"] = {"web_search_call": 1, "web_search_call.id": 2, "web_search_call.action.sources": 3}
    assert without_call(item, INCLUDES)["id"] == item["id"]
    item["action"] = "a text"
    assert without_call(item, INCLUDES)["action"] == "a text"


def test_what_is_kept_for_a_client_is_not_counted_as_the_models() -> None:
    kept = ended_as("file_search", {"queries": [], "results": None}, {"results": [{"text": "word " * 5000}]})
    (item,) = INPUT_ITEMS.validate_python([kept])
    assert item_tokens(item) < 100


async def test_a_model_that_may_only_search_is_not_offered_pages() -> None:
    table = WebSearchConfig(target="a.b:C", open_pages=False)
    config, request = configured(table, "openai-chat"), asked(SEARCH)
    found = targets(config, request)
    (tool,) = built_in_tools(config, None, request, found, [])
    assert tool.closed == ["open_page", "find_in_page"]
    (offered,) = offered_built_ins(request, found[0].run_here, {tool.name: tool.closed})
    assert [function.name for function in offered.functions()] == ["web_search"]
    own = {"type": "function", "name": "open_page", "parameters": {"type": "object", "properties": {}}}
    assert built_in_tools(config, None, asked(SEARCH, own), found, []) == [tool]
    with pytest.raises(InvalidRequest, match="open_page"):
        built_in_tools(configured(ENABLED, "openai-chat"), None, asked(SEARCH, own), found, [])


def test_an_engine_cannot_change_what_the_server_sets() -> None:
    given = ended(members={"id": "other", "type": "other", "status": "queued", CALL: {}})
    assert given["id"].startswith("ws_")
    assert (given["type"], given["status"], given[CALL]["output"]) == ("web_search_call", "completed", "found")


def test_the_model_reads_a_call_and_its_output_with_what_its_provider_wants_back() -> None:
    item = ended()
    item[CALL]["members"] = {"extra_content": {"google": {"thought_signature": "s"}}}
    call, output = as_model_reads(INPUT_ITEMS.validate_python([item]), lambda label, tool: tool)
    assert isinstance(call, FunctionCall)
    assert isinstance(output, FunctionCallOutput)
    assert (call.name, call.arguments, output.output) == ("web_search", '{"query":"q"}', "found")
    assert call.call_id == output.call_id
    assert (call.model_extra or {})["extra_content"] == {"google": {"thought_signature": "s"}}


@pytest.mark.parametrize(
    "wrong",
    [
        {"citations": [{}]},
        {"citations": [{"type": "url_citation", "url": 5}]},
        {"function": "no name"},
        {"output": 5},
        {"ordinal": "one"},
        {"members": [1]},
    ],
    ids=str,
)
def test_a_call_that_a_client_has_changed_is_an_error_before_anything_starts(wrong: dict[str, Any]) -> None:
    item = ended()
    item[CALL] |= wrong
    with pytest.raises(InvalidRequest) as refused:
        validate_create_response({"model": "m", "input": [item]})
    assert refused.value.param is not None
    assert refused.value.param.startswith(f"input[0].{CALL}")


def test_members_of_a_call_cannot_replace_its_own() -> None:
    item = ended()
    item[CALL]["members"] = {"name": 5, "id": 5, "arguments": "other", "more": 1}
    call, _ = as_model_reads(INPUT_ITEMS.validate_python([item]), lambda label, tool: tool)
    assert isinstance(call, FunctionCall)
    assert (call.name, call.arguments, call.model_extra) == ("web_search", '{"query":"q"}', {"more": 1})


def test_a_long_result_is_cut_for_the_model() -> None:
    cut = readable(ended(output="x" * 5000), 1000)
    assert len(cut[CALL]["output"]) < 1200
    parts = [{"type": "input_text", "text": "y" * 5000}]
    assert len(readable(ended(output=parts), 1000)[CALL]["output"][0]["text"]) < 1200


def test_a_call_that_another_server_ran_is_not_run_again() -> None:
    assembler = Assembler(Fold(), None, RESPONSE)
    theirs = {"type": "web_search_call", "status": "in_progress", CALL: {"function": "web_search", "arguments": "{}"}}
    assembler.feed(ProviderItem(theirs))
    assembler.feed(Finish("stop"))
    assembler.close("completed")
    (item,) = assembler.fold.output
    assert CALL not in item
    turn = SampleResult(outcome="done", items=[item], finish_reason="stop", usage=TurnUsage())
    assert not next_step(turn, 0, frozenset(), waits_for_approval=False).calls


async def test_a_message_for_a_running_response_is_of_those_who_may_ask_for_its_built_in_tools() -> None:
    start = SimpleNamespace(request=asked(SEARCH), built_in=[BuiltInTool(name="web_search")])
    state: Any = SimpleNamespace(settings=SimpleNamespace(config=Config()))
    record: Any = SimpleNamespace(start=start, response=None)
    narrow = Caller("t", ApiKeyConfig(sha256="0" * 64, tenant="t", tools=("file_search",)))
    with pytest.raises(PermissionDenied, match="web_search"):
        await steer_stored(state, narrow, record, Steer(steer_id="steer_1", digest="", messages=[]))
