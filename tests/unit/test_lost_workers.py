"""A call or a list whose worker is lost is made again, within bounds, and ends in an item that the model can read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError

from open_responses.loop.next_step import Call, call_of
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.tool_calls import (
    MAX_FLEET_PAYLOAD,
    MAY_TRY_AGAIN,
    McpCallInput,
    McpListInput,
    McpListResult,
    ToolCall,
    ToolOutcome,
    ToolResult,
)
from open_responses.tool_use.hosted_tool import HostedTool
from open_responses.tool_use.tool_output import DO_NOT_REPEAT, OUTCOME_UNKNOWN
from tests.support.activity_errors import failed
from tests.support.operator import a_start
from workflows import before_first_turn, calls, hosted_call
from workflows.before_first_turn import BeforeFirstTurn
from workflows.hosted_call import Outcome, ToolRun
from workflows.publication import Publication
from workflows.state import ResponseState

END_UNKNOWN = f"{OUTCOME_UNKNOWN} {DO_NOT_REPEAT}"
PAY = HostedTool(name="pay", max_attempts=3)


class Activities:
    """Stands for Temporal: notes the inputs of activities, and ends each as the test says; the last end repeats."""

    def __init__(self, *ends: object) -> None:
        self.ends = list(ends)
        self.inputs: list[Any] = []
        self.attempts_left: list[int] = []

    def start(self, given: Any) -> object:
        self.inputs.append(given)
        return self.ends[min(len(self.inputs), len(self.ends)) - 1]

    def start_tool(self, tool: HostedTool, given: ToolCall, attempts: int) -> object:
        self.attempts_left.append(attempts)
        return self.start(given)


async def ended(handle: object, *_: object, **__: object) -> object:
    """What `until_stopped` returns for a handle, which is here the end itself."""
    if isinstance(handle, Exception):
        raise handle
    return handle


@pytest.fixture
def temporal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Activities]:
    def ending(*ends: object) -> Activities:
        activities = Activities(*ends)
        monkeypatch.setattr(calls, "start_mcp_list", activities.start)
        monkeypatch.setattr(calls, "start_mcp_call", activities.start)
        monkeypatch.setattr(calls, "start_tool", activities.start_tool)
        return activities

    async def at_once(self: ToolRun) -> None:
        return None

    for module in (before_first_turn, hosted_call):
        monkeypatch.setattr(module, "until_stopped", ended)
        monkeypatch.setattr(module, "patched", lambda name: True)
    monkeypatch.setattr(ToolRun, "_pause", at_once)
    return ending


def listing(error: str | None = None, *, outcome: ToolOutcome = "done") -> McpListResult:
    return McpListResult(outcome=outcome, tools=[] if error else [{"name": "add"}], error=error)


async def listed() -> dict[str, Any]:
    """The item of the list of a server's tools, before the first model turn."""
    state = ResponseState(a_start(), 0.0)

    class Silent:
        async def publish(self) -> None:
            return None

    steps = BeforeFirstTurn(state, cast(Publication, Silent()), cast(Any, None))
    state.output_ledger.open_stream(state.start.initial())
    await steps._list_tools("calc")
    return state.output_ledger.output[-1]


async def test_a_list_whose_worker_was_lost_is_asked_for_again(temporal: Callable[..., Activities]) -> None:
    lost = listing(outcome="lost")
    activities = temporal(lost, listing(outcome="handed_over"), listing())
    item = await listed()
    assert (item["status"], item["tools"], item["error"]) == ("completed", [{"name": "add"}], None)
    assert len(activities.inputs) == 3
    assert {cast(McpListInput, given).server_label for given in activities.inputs} == {"calc"}


async def test_a_list_whose_worker_is_always_lost_fails_and_the_response_goes_on(
    temporal: Callable[..., Activities], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(before_first_turn, "_MAX_LISTINGS", 4)
    activities = temporal(listing(outcome="lost"))
    item = await listed()
    assert (item["status"], item["error"]) == ("failed", "The worker was lost each time.")
    assert len(activities.inputs) == 4


async def test_a_list_that_takes_too_long_fails_and_the_response_goes_on(temporal: Callable[..., Activities]) -> None:
    activities = temporal(failed(None))
    item = await listed()
    assert (item["status"], item["error"]) == ("failed", "The server did not list its tools in time.")
    assert len(activities.inputs) == 1


async def run(name: str, kind: str, *, hosted: Sequence[HostedTool] = (), arguments: str = "{}") -> Outcome | None:
    start: StartResponse = a_start().model_copy(update={"hosted": list(hosted)})
    call: Call = call_of(cast(Any, kind), 1, name, arguments, "call_1", *(["calc"] if kind == "mcp" else []))
    running: Awaitable[Outcome | None] = ToolRun(start, lambda: False).run(call, 1)
    return await running


async def test_a_lost_mcp_call_is_repeated_with_the_note_that_it_may_have_run(
    temporal: Callable[..., Activities],
) -> None:
    activities = temporal(ToolResult(outcome="lost"), ToolResult(outcome="done", output="3"))
    outcome = await run("add", "mcp")
    assert outcome is not None
    assert (outcome.output, outcome.failed) == ("3", False)
    given = cast(list[McpCallInput], activities.inputs)
    assert [(one.may_have_run, one.context.attempt) for one in given] == [(False, 1), (True, 2)]
    assert len({one.context.idempotency_key for one in given}) == 1


async def test_an_mcp_call_that_loses_each_worker_ends_and_its_outcome_is_called_unknown(
    temporal: Callable[..., Activities],
) -> None:
    activities = temporal(ToolResult(outcome="lost"))
    outcome = await run("add", "mcp")
    assert outcome is not None
    assert outcome.failed
    assert outcome.output == f"The worker that called 'add' was lost each time. {END_UNKNOWN}"
    assert len(activities.inputs) == hosted_call._MAX_LOSSES


async def test_an_mcp_call_that_did_not_reach_its_server_is_made_once_more(
    temporal: Callable[..., Activities],
) -> None:
    unreached = failed(ApplicationError("no connection", type=MAY_TRY_AGAIN))
    activities = temporal(unreached, ToolResult(outcome="done", output="3"))
    outcome = await run("add", "mcp")
    assert outcome is not None
    assert outcome.output == "3"
    assert [cast(McpCallInput, one).may_have_run for one in activities.inputs] == [False, False]
    activities = temporal(unreached)
    outcome = await run("add", "mcp")
    assert outcome is not None
    assert (outcome.output, outcome.failed, len(activities.inputs)) == ("no connection", True, 2)


async def test_attempts_of_a_lost_worker_count_towards_the_tools_limit(temporal: Callable[..., Activities]) -> None:
    activities = temporal(ToolResult(outcome="lost", attempts=2), ToolResult(outcome="lost"))
    outcome = await run("pay", "hosted", hosted=[PAY])
    assert outcome is not None
    assert outcome.output == f"The worker that ran 'pay' was lost; the call was not finished. {END_UNKNOWN}"
    assert activities.attempts_left == [3, 1]
    assert [cast(ToolCall, one).context.attempt for one in activities.inputs] == [1, 3]


async def test_a_fleets_call_with_too_long_arguments_is_not_made(temporal: Callable[..., Activities]) -> None:
    activities = temporal(ToolResult(outcome="done"))
    fleet = HostedTool(name="far", task_queue="a-fleet")
    outcome = await run("far", "hosted", hosted=[fleet], arguments=f'{{"text": "{"x" * MAX_FLEET_PAYLOAD}"}}')
    assert outcome is not None
    assert (outcome.failed, activities.inputs) == (True, [])
    assert outcome.output == "The arguments of 'far' are too long. Call it again with less."
