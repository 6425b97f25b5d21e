"""Deletion of a response, with the responses of its agents."""

from __future__ import annotations

import asyncio
import time

from api.app_state import AppState
from api.responses.cancel import cancel
from open_responses.errors import Conflict
from open_responses.io.store.records import Record
from open_responses.tool_use.agents import agents_in

_PATIENCE_SECONDS = 15.0


async def check_no_parent_runs(state: AppState, record: Record) -> None:
    """Raises Conflict for the response of an agent whose parent runs: the parent's history refers to its result."""
    parent_id = record.start.agent_of
    parent = None if parent_id is None else await state.records.load(parent_id)
    if parent is not None and parent.response is None:
        raise Conflict(
            f"This response is that of an agent which {parent_id} has called, and that response runs. Delete this one "
            "after its end, or delete both by deleting that one."
        )


async def delete_with_agents(state: AppState, record: Record) -> None:
    """Delete a response: Redis, Temporal's history, large payloads. One that runs is stopped first.

    The responses of its agents go before it: if this is cut off, the next request finds those that are left.
    """
    response_id = record.start.response_id
    if record.response is None:
        await cancel(state, response_id)
        await _ended(state, response_id)
        record = await state.records.load(response_id) or record
    for agent_id in agents_in(record.output):
        agent = await state.records.load(agent_id)
        if agent is not None and agent.start.agent_of == response_id:
            await delete_with_agents(state, agent)
    await state.eraser.delete(response_id)


async def _ended(state: AppState, response_id: str) -> None:
    """Wait for the workflow's end; one that will not end is terminated with its deletion."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if await state.records.outcome(response_id) != "running":
            return
        await asyncio.sleep(0.05)
