"""What a program that has waited may still do, by the configuration of the server that goes on with it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.responses.waiting_programs import StoredProgram, decisions_without_programs, resumed_programs
from open_responses.config import Config
from open_responses.ids import new_id
from open_responses.io.store.records import Record
from open_responses.loop.payloads.approvals import Decision
from open_responses.loop.payloads.programs import WaitingProgram
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse

PROGRAMS = "programmatic_tool_calling"
TOOLS: Any = [
    {"type": PROGRAMS},
    {"type": "function", "name": "write"},
    {"type": "web_search"},
]
ASKED = CreateResponse.model_validate({"model": "fake", "input": "go on", "tools": TOOLS})
FUNCTIONS: Any = [
    {"name": "write", "kind": "hosted", "tool": "write"},
    {"name": "web_search", "kind": "built_in", "tool": "web_search", "server_label": "open_responses:web_search"},
]


def stored(*pending: dict[str, Any]) -> StoredProgram:
    response_id = new_id("resp_")
    waiting = {"state": "sealed", "answers": [], "pending": pending, "printed": "so far", "calls": 1}
    call = {"function": "run_program", "functions": FUNCTIONS, "waiting": waiting}
    item = {"type": "program", "id": "prog_1", "call_id": "call_1", "code": "x", "open_responses_call": call}
    start = StartResponse(
        response_id=response_id,
        tenant="default",
        created_at=0,
        request=ASKED,
        provider="fake",
        upstream_model="fake",
        retry_window=1,
    )
    record = Record.of(start, (), orjson.dumps({"output": [item]}))
    return StoredProgram(item, WaitingProgram.model_validate(waiting), record, {})


def configuration(**tables: Any) -> Config:
    return Config.model_validate(tables)


@pytest.mark.parametrize("guarded", [False, True])
def test_an_approval_that_the_operator_asks_for_meanwhile_is_asked_for(*, guarded: bool) -> None:
    config = configuration(
        tools=[{"name": "write", "target": "some.module:write", "require_approval": guarded}],
        web_search={"target": "some.module:Search", "require_approval": guarded},
        programmatic_tool_calling={},
    )
    (resumed,) = resumed_programs(config, ASKED, [stored()], [], [PROGRAMS, "web_search"])
    asks = {one["name"]: one["needs_approval"] for one in resumed.item["open_responses_call"]["functions"]}
    assert asks == {"write": guarded, "web_search": guarded}


def test_a_program_of_a_server_that_runs_none_any_more_ends_with_its_calls() -> None:
    approval = Decision.without_call("mcpr_of_the_program", approve=True)
    other = Decision.without_call("mcpr_other", approve=True)
    program = stored({"number": 0, "call_id": "call_2"}, {"number": 1, "approval_request_id": "mcpr_of_the_program"})
    (resumed,) = resumed_programs(configuration(), ASKED, [program], [], [])
    assert resumed.waiting.pending == []
    assert [one.number for one in resumed.waiting.answers if one.failed] == [0, 1]
    assert all("no longer runs programs" in one.output for one in resumed.waiting.answers)
    assert "functions" not in resumed.item["open_responses_call"]
    assert decisions_without_programs([approval, other], [program]) == [other], "the approved call does not run"
