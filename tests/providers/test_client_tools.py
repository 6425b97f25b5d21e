"""The client's tools that are no plain functions, toward each provider: as they were sent, or as functions."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from activities.providers.registry import build_providers
from open_responses.config import Config
from open_responses.context.transcript import as_model_reads
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta, ToolCallDelta
from open_responses.errors import InvalidRequest
from open_responses.events.assembler import Assembler
from open_responses.json_types import JsonObject
from open_responses.models.capabilities import check_takes, has_client_tools
from open_responses.schema.requests import CreateResponse
from open_responses.tool_use.client_calls import as_function_calls
from open_responses.tool_use.client_functions import provider_tools
from open_responses.tool_use.tool_table import ToolTable, build_tool_table
from tests.support.codex import MODELS as CODEX_MODELS
from tests.support.codex import codex_request
from tests.support.provider_cells import EMPTY, MODELS, VENDORS
from tests.support.provider_cells import http as http
from tests.support.provider_wire import Answer, Wire, sampled, sse
from tests.support.request_bodies import parse_create_response

FUNCTIONS_ALONE = [vendor for vendor in VENDORS if not has_client_tools(vendor)]
TOOLS: list[JsonObject] = [
    {"type": "custom", "name": "patch", "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
    {"type": "namespace", "name": "crm", "description": "c", "tools": [{"type": "function", "name": "find"}]},
    {"type": "function", "name": "rare", "defer_loading": True, "allowed_callers": ["direct"]},
    {"type": "tool_search"},
    {"type": "shell", "environment": {"type": "local"}},
    {"type": "local_shell"},
    {"type": "apply_patch"},
]
OPENAI_ALONE: list[JsonObject] = [{"type": "computer"}]
OUTCOME = {"type": "exit", "exit_code": 0}
ITEMS: list[JsonObject] = [
    {"type": "message", "role": "user", "content": "go"},
    {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": 'a "quoted" line'},
    {"type": "custom_tool_call_output", "call_id": "c1", "output": "patched"},
    {"type": "function_call", "call_id": "c2", "name": "find", "namespace": "crm", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c2", "output": "found"},
    {"type": "shell_call", "call_id": "c3", "action": {"commands": ["ls"]}, "status": "completed"},
    {"type": "shell_call_output", "call_id": "c3", "output": [{"stdout": "a.txt", "stderr": "", "outcome": OUTCOME}]},
]


def parsed(body: JsonObject) -> CreateResponse:
    return parse_create_response(json.dumps(body).encode())


def table_of(vendor: str, request: CreateResponse) -> ToolTable:
    items, is_native = request.input_items(), has_client_tools(vendor)
    return build_tool_table(request, [], {}, {}, choice_spent=False, items=items, is_native=is_native)


def asked(vendor: str, request: CreateResponse) -> SampleCall:
    """The call, as the sample activity makes it."""
    table, items = table_of(vendor, request), request.input_items()
    if not table.is_native:
        items = as_function_calls(items, table.shown_name)
    return SampleCall(
        model=MODELS[vendor],
        items=as_model_reads(items, lambda _, tool: tool),
        request=request,
        tools=table.functions,
        tool_choice=table.choice,
        provider_tools=[*(provider_tools(request.tools or []) if table.is_native else ()), *table.native],
    )


async def run(http: httpx.AsyncClient, vendor: str, call: SampleCall, answer: Answer) -> tuple[Any, list[Delta]]:
    """(the body that the vendor receives, the deltas)."""
    async with Wire(answer) as wire:
        config = wire.provider(vendor, name="p")
        provider = build_providers(Config(providers=(config,)), http, {})["p"]
        deltas = await sampled(provider, call)
        return wire.requests[0].json, deltas


async def answered_by_openai(http: httpx.AsyncClient, answer: Answer) -> tuple[list[Delta], list[JsonObject]]:
    """(the deltas of an answer to a request with all of the client's tools, the output that they make)."""
    request = parsed({"model": "m", "input": "x", "tools": TOOLS})
    _, deltas = await run(http, "openai", asked("openai", request), answer)
    assembler = Assembler(None, table_of("openai", request), "resp_1")
    for delta in deltas:
        assembler.feed(delta)
    assembler.close("completed")
    return deltas, assembler.fold.output


async def sent(http: httpx.AsyncClient, vendor: str, request: CreateResponse) -> Any:
    return (await run(http, vendor, asked(vendor, request), EMPTY[vendor]))[0]


@pytest.mark.parametrize("vendor", FUNCTIONS_ALONE)
async def test_a_vendor_with_functions_alone_reads_functions(http: httpx.AsyncClient, vendor: str) -> None:
    request = parsed({"model": "m", "input": ITEMS, "tools": TOOLS})
    check_takes(vendor, "p", request, request.input_items())
    told = json.dumps(await sent(http, vendor, request))
    names = ["patch", "crm__find", "rare", "shell", "local_shell", "apply_patch"]
    assert [name for name in names if f'"{name}"' not in told] == []
    kinds = ("custom", "namespace", "tool_search", "defer_loading", "shell_call", "environment")
    assert [kind for kind in kinds if f'"{kind}"' in told] == []
    for word in ("patched", "found", "a.txt", "quoted"):
        assert word in told


async def test_openai_gets_the_tools_and_the_items_as_they_were_sent(http: httpx.AsyncClient) -> None:
    tools = [*TOOLS, *OPENAI_ALONE]
    body = await sent(http, "openai", parsed({"model": "m", "input": ITEMS, "tools": tools}))
    others = [tool for tool in body["tools"] if tool["type"] != "function"]
    assert sorted(map(json.dumps, others)) == sorted(json.dumps(t) for t in tools if t["type"] != "function")
    (function,) = [tool for tool in body["tools"] if tool["type"] == "function"]
    assert (function["defer_loading"], function["allowed_callers"]) == (True, ["direct"])
    assert body["input"] == ITEMS


async def test_openai_gets_each_kind_of_item_with_an_id_only_where_it_demands_one(http: httpx.AsyncClient) -> None:
    picture = {"type": "computer_screenshot", "image_url": "data:image/png;base64,iVBORw0KGgo="}
    shell = {"type": "exec", "command": ["ls"], "env": {}}
    search = {
        "type": "tool_search_call",
        "call_id": None,
        "execution": "server",
        "arguments": {},
        "status": "completed",
    }
    items: list[JsonObject] = [
        {"type": "message", "role": "user", "content": "go"},
        {
            "type": "computer_call",
            "id": "cu_1",
            "call_id": "c1",
            "action": {"type": "screenshot"},
            "status": "completed",
        },
        {"type": "computer_call_output", "call_id": "c1", "output": picture},
        {"type": "local_shell_call", "id": "item_7", "call_id": "c2", "action": shell, "status": "completed"},
        {"type": "local_shell_call_output", "id": "c2", "output": "a"},
        {"type": "local_shell_call", "id": "item_8", "call_id": "c5", "action": shell, "status": "completed"},
        {"type": "local_shell_call_output", "id": "own_8", "call_id": "c5", "output": "b"},
        {"type": "apply_patch_call", "id": "apc_1", "call_id": "c3", "operation": {"type": "delete_file", "path": "a"}},
        {"type": "apply_patch_call_output", "call_id": "c3", "status": "completed"},
        {"type": "program", "id": "prog_1", "call_id": "c4", "code": "1", "fingerprint": "f"},
        {"type": "program_output", "id": "prog_2", "call_id": "c4", "result": "1", "status": "completed"},
        {**search, "id": "tsc_1"},
        {"type": "tool_search_output", "call_id": None, "execution": "server", "tools": [], "status": "completed"},
        {"type": "configuration_update", "reasoning": {"effort": "low"}},
    ]
    body = await sent(http, "openai", parsed({"model": "m", "input": items}))
    expected = [dict(item) for item in items]
    expected[3]["id"], expected[5]["id"] = "lsh_7", "lsh_8"
    expected[6]["id"] = expected[6].pop("call_id")
    del expected[7]["id"]
    del expected[11]["id"]
    assert body["input"] == expected


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "custom", "name": "patch"},
        {"type": "shell"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "patch"}, {"type": "shell"}]},
    ],
)
async def test_openai_gets_the_choice_as_it_was_sent(http: httpx.AsyncClient, choice: JsonObject) -> None:
    body = await sent(http, "openai", parsed({"model": "m", "input": "x", "tools": TOOLS, "tool_choice": choice}))
    assert body["tool_choice"] == choice


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "shell_call", "call_id": "c1", "action": None},
        {"type": "shell_call", "call_id": "c" * 65, "action": {"commands": ["ls"]}},
        {"type": "apply_patch_call", "call_id": "c1", "operation": {"type": "rename_file", "path": "a"}},
        {"type": "local_shell_call", "call_id": "c1", "action": {"type": "exec", "command": "ls"}},
        {"type": "tool_search_output", "execution": "server", "tools": [{"type": "unheard_of"}]},
    ],
)
async def test_an_item_that_no_later_turn_could_read_is_left_out(http: httpx.AsyncClient, odd: JsonObject) -> None:
    """With it in the output, neither this response nor those that continue it could ask the model again."""
    answer = sse(
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_item.done", "output_index": 0, "item": odd},
        {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "item_id": "m", "delta": "hi"},
        {"type": "response.completed", "response": {"id": "resp_1", "output": [odd]}},
    )
    _, output = await answered_by_openai(http, answer)
    assert [item["type"] for item in output] == ["message"]


async def test_calls_of_openai_come_back_as_they_are(http: httpx.AsyncClient) -> None:
    custom = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "patch"}
    called: JsonObject = {"type": "function_call", "id": "fc_1", "call_id": "c2", "name": "find", "namespace": "crm"}
    shell = {"type": "shell_call", "id": "sh_1", "call_id": "c3", "action": {"commands": ["ls"]}, "status": "completed"}
    caller = {"type": "program", "caller_id": "prog_1"}
    answer = sse(
        {"type": "response.created", "response": {"id": "resp_1"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**custom, "input": ""}},
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "item_id": "ctc_1", "delta": '{"input'},
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "item_id": "ctc_1", "delta": '": 1}'},
        {
            "type": "response.custom_tool_call_input.done",
            "output_index": 0,
            "item_id": "ctc_1",
            "input": '{"input": 1}',
        },
        {"type": "response.output_item.done", "output_index": 0, "item": {**custom, "input": '{"input": 1}'}},
        {
            "type": "response.output_item.added",
            "output_index": 1,
            "item": {**called, "arguments": "", "caller": caller},
        },
        {
            "type": "response.output_item.done",
            "output_index": 1,
            "item": {**called, "arguments": "{}", "caller": caller},
        },
        {"type": "response.output_item.done", "output_index": 2, "item": shell},
        {"type": "response.completed", "response": {"id": "resp_1", "output": []}},
    )
    deltas, (first, second, third) = await answered_by_openai(http, answer)
    assert (first["type"], first["input"], first["name"]) == ("custom_tool_call", '{"input": 1}', "patch")
    assert (second["namespace"], second["name"], second["caller"]) == ("crm", "find", caller)
    assert (third["type"], third["action"]["commands"]) == ("shell_call", ["ls"])
    assert next(delta.is_custom for delta in deltas if isinstance(delta, ToolCallDelta))


@pytest.mark.parametrize("vendor", FUNCTIONS_ALONE)
@pytest.mark.parametrize("kind", ["computer", "computer_use_preview"])
def test_a_computer_is_refused_where_no_vendors_form_exists(vendor: str, kind: str) -> None:
    request = parsed({"model": "m", "input": "x", "tools": [{"type": kind}]})
    with pytest.raises(InvalidRequest, match="no function can stand for it") as refused:
        check_takes(vendor, "p", request, request.input_items())
    assert (refused.value.param, refused.value.error_code) == ("tools[0].type", "unsupported_tool")


@pytest.mark.parametrize("vendor", FUNCTIONS_ALONE)
def test_a_shell_in_a_container_is_refused_where_no_vendor_has_one(vendor: str) -> None:
    request = parsed(
        {"model": "m", "input": "x", "tools": [{"type": "shell", "environment": {"type": "container_auto"}}]}
    )
    with pytest.raises(InvalidRequest, match="'local'") as refused:
        check_takes(vendor, "p", request, request.input_items())
    assert refused.value.param == "tools[0].environment"


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_tool_for_programs_alone_can_be_forced_only_where_there_are_programs(vendor: str) -> None:
    tool = {"type": "custom", "name": "patch", "allowed_callers": ["programmatic"]}
    choice = {"type": "custom", "name": "patch"}
    request = parsed({"model": "m", "input": "x", "tools": [tool], "tool_choice": choice})
    if has_client_tools(vendor):
        check_takes(vendor, "p", request, request.input_items())
        return
    with pytest.raises(InvalidRequest, match="'direct'") as refused:
        check_takes(vendor, "p", request, request.input_items())
    assert (refused.value.param, refused.value.error_code) == ("tool_choice", "unsupported_tool")


@pytest.mark.parametrize("model", CODEX_MODELS)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_codex_is_understood_by_every_adapter(http: httpx.AsyncClient, vendor: str, model: str) -> None:
    body = codex_request(model)
    request = parsed(body)
    told = await sent(http, vendor, request)
    text = json.dumps(told)
    if vendor == "openai":
        offered = [tool for item in told["input"] if item["type"] == "additional_tools" for tool in item["tools"]]
        given = [tool for item in body["input"] if item["type"] == "additional_tools" for tool in item["tools"]]
        assert offered == given
        assert [item["type"] for item in told["input"]] == [item["type"] for item in body["input"]]
    else:
        assert "custom_tool_call" not in text
        assert "additional_tools" not in text
        called = {"gpt-5.4": "multi_agent_v1__close_agent", "gpt-5.5": "apply_patch", "gpt-5.6-sol": "functions__exec"}
        assert text.count(f'"{called[model]}"') >= 2
