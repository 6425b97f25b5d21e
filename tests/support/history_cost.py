"""What a response costs in Temporal's history."""

from __future__ import annotations

from collections.abc import AsyncIterator

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from open_responses.loop.payloads.names import SAMPLE


async def runs_of(temporal: Client, response_id: str) -> list[list[HistoryEvent]]:
    """The events of each run of a response's workflow, the oldest run first."""
    runs: list[list[HistoryEvent]] = []
    run_id: str | None = None
    while run_id != "":
        events = [event async for event in _events(temporal, response_id, run_id)]
        runs.insert(0, events)
        run_id = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return runs


async def bytes_by_turn(temporal: Client, response_id: str) -> list[int]:
    """Bytes from each sample's scheduling to the next one's, over all runs, without what a new run begins with."""
    turns: list[int] = []
    for events in await runs_of(temporal, response_id):
        sampled = False
        for event in events:
            if event.activity_task_scheduled_event_attributes.activity_type.name == SAMPLE:
                sampled = True
                turns.append(0)
            if sampled:
                turns[-1] += event.ByteSize()
    return turns


async def _events(temporal: Client, response_id: str, run_id: str | None) -> AsyncIterator[HistoryEvent]:
    async for event in temporal.get_workflow_handle(response_id, run_id=run_id).fetch_history_events():
        yield event
