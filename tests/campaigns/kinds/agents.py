"""Agents as tools: a call starts one response, which an operator may end, and whose end is the call's output."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

from temporalio.service import RPCError

from tests.campaigns.answers import Answer, Misfit, Verdict, check_text, text_in
from tests.campaigns.connection import Connection
from tests.campaigns.kinds.tools import check_counts
from tests.campaigns.servers import Servers
from tests.campaigns.sessions import Sessions
from tests.support.fake_upstream import calls

_LOOK_SECONDS = 0.1
_STARTED = "runs as "


async def agents(sessions: Sessions, connection: Connection) -> None:
    """Two agents side by side. Each has a tool of its own."""
    answer = sessions.ask("agents", tools=[{"type": "function", "name": "researcher"}])
    children = [sessions.ask("agent's response") for _ in range(2)]
    for child in children:
        sessions.upstream.says(child.prompt, calls(("w", "get_weather", {"city": "Rome"}), turns=[child.script]))
    wanted = [(f"a{number}", "researcher", {"task": child.prompt}) for number, child in enumerate(children)]
    sessions.upstream.says(answer.prompt, calls(*wanted, turns=[answer.script]))
    answer.check = partial(check_agents, answer, children)

    async def asking() -> None:
        noting = asyncio.create_task(_note_starts(answer, children))
        try:
            await connection.stream(answer)
        finally:
            noting.cancel()
        assert answer.response is not None
        for output, child in zip(_outputs(answer.response), children, strict=False):
            child.id = output.get("agent_response_id") or child.id
        for child in children:
            answer.waits_for = f"the end of {child.id}, its agent's response"
            await _read(connection, answer, child)
        if not answer.was_ended_by_operator:
            answer.waits_for = "its agents in Temporal's index"
            await _check_runs(sessions.servers, answer, children)

    await sessions.settled(connection, [answer, *children], asking())


async def _note_starts(answer: Answer, children: list[Answer]) -> None:
    """Give each agent's response its id when its start is announced: from then on an operator may end it."""
    while not all(child.id for child in children):
        await asyncio.sleep(_LOOK_SECONDS)
        for event in answer.events:
            if event["type"] == "open_responses:tool_progress" and event["message"].startswith(_STARTED):
                # The outputs stand behind the two calls.
                children[event["output_index"] - len(children)].id = event["message"].removeprefix(_STARTED)


async def _read(connection: Connection, answer: Answer, child: Answer) -> None:
    """Wait for the end of an agent's response. It ends with its caller, which an operator may have ended before it was
    started."""
    if child.id is None and answer.was_ended_by_operator:
        return
    child.response = await connection.end_of(str(child.id))
    if child.response is None:
        child.id = None
        if not answer.was_ended_by_operator:
            raise Misfit(Verdict.LOST, "the response of its agent is unknown")
    elif answer.was_ended_by_operator and child.response["status"] != "completed":
        child.operated = child.operated or "end of its caller"


async def _check_runs(servers: Servers, answer: Answer, children: list[Answer]) -> None:
    """Temporal has run one workflow for each call. Its index may be a moment behind."""
    expected = Counter(str(child.id) for child in children)
    while True:
        try:
            temporal = await servers.temporal()
            listed = temporal.list_workflows(f"ParentWorkflowId = '{answer.id}'")
            found = Counter([run.id async for run in listed])
        except RPCError:
            found = Counter()
        if not expected - found:
            check_counts(found, expected)
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _outputs(response: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in response["output"] if item["type"] == "function_call_output"]


def check_agents(answer: Answer, children: list[Answer], response: dict[str, Any]) -> None:
    check_text(answer, response)
    said = [output["output"] for output in _outputs(response)]
    if len(said) != len(children):
        raise Misfit(Verdict.LOST, f"{len(children)} agents have the outputs {said}")
    for text, child in zip(said, children, strict=True):
        ended = child.response or {"status": "unknown", "output": []}
        expected = "".join(text_in(item) for item in ended["output"] if item["type"] == "message")
        is_same = text == expected if ended["status"] == "completed" else text.startswith("The agent's ")
        if not is_same:
            raise Misfit(Verdict.WRONG, f"an agent that is {ended['status']} has the output {text[:200]!r}")
