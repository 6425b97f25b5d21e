"""The events that a response leaves in its history beside those of its model turns and tools."""

from __future__ import annotations

from collections import Counter

import httpx
from temporalio.api.enums.v1 import EventType

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.history_cost import runs_of
from tests.support.operator import closed, console
from tests.support.scripts import HOSTED, run, script
from tests.support.stack import Stack


async def test_two_calls_side_by_side_leave_few_events_of_bookkeeping(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """`docs/decisions/0019-repeated-workflow-tasks.md` has the counts. Tasks depend on what arrives together."""
    wanted = calls(("a", "get_weather", {"city": "Rome"}), ("b", "get_weather", {"city": "Bern"}))
    script(upstream, "two calls to count", wanted, Script(words=3))
    response = await run(client, "two calls to count", tools=HOSTED)
    temporal = await console(stack)
    await closed(temporal.get_workflow_handle(response["id"]))
    (events,) = await runs_of(temporal, response["id"])
    kinds = Counter(EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in events)
    tasks = {name for name in kinds if name.startswith("WORKFLOW_TASK_")}
    activities = {name for name in kinds if name.startswith("ACTIVITY_TASK_")}
    assert sum(kinds[name] for name in activities) == 3 * 4, "two samples and two calls"
    rest = {name: count for name, count in kinds.items() if name not in tasks | activities}
    # The announcement of the outputs, each result, and the end.
    assert rest.pop("MARKER_RECORDED") <= 4
    assert rest == {
        "WORKFLOW_EXECUTION_STARTED": 1,
        "UPSERT_WORKFLOW_SEARCH_ATTRIBUTES": 1,
        "WORKFLOW_PROPERTIES_MODIFIED": 1,
        "WORKFLOW_EXECUTION_COMPLETED": 1,
    }
