"""Waits that a model asks for: a durable timer of the workflow, which no worker and no activity holds.

What this prevents: an agent that keeps a worker's slot for days, and a wait that a restart begins anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.contracts import ToolError
    from open_responses.loop.next_step import Call
    from open_responses.loop.output_ledger import PROGRESS
    from open_responses.tool_use.hosted_tool import HostedTool
    from open_responses.tool_use.waiting import PASSED, WOKEN, Wait, read_wait
    from workflows.hosted_call import Outcome
    from workflows.publication import Publication
    from workflows.state import ResponseState
    from workflows.tasks import came_with_the_stop


@dataclass(frozen=True, slots=True)
class Waiting:
    """Runs the waits of one response. `woken` is done once a message of the user has come for a wait that runs."""

    state: ResponseState
    publication: Publication
    _running: dict[int, asyncio.Future[None]] = field(default_factory=dict)

    async def run(self, tool: HostedTool, call: Call, output_index: int) -> Outcome | None:
        """Wait as the call says. Returns None if the response was stopped first."""
        state = self.state
        try:
            wait = self._asked(tool, call)
        except ToolError as error:
            return Outcome(str(error), failed=True)
        if wait.length(state.clock) <= 0:
            return Outcome(PASSED)
        if state.due_steers():
            return Outcome(WOKEN)
        woken = self._running[output_index] = asyncio.get_running_loop().create_future()
        state.output_ledger.add_event(PROGRESS, output_index, message=f"waits {wait.text}")
        state.waits[output_index] = wait.text
        state.show()
        await self.publication.publish()
        try:
            return await self._ended(wait, woken)
        finally:
            del self._running[output_index], state.waits[output_index]
            state.show()

    def wake(self) -> None:
        """End all waits: messages of the user are recorded."""
        for woken in self._running.values():
            if not woken.done():
                woken.set_result(None)

    def _asked(self, tool: HostedTool, call: Call) -> Wait:
        start, now = self.state.start, self.state.clock
        ends = [self.state.started_at + tool.lifetime_seconds] if tool.lifetime_seconds is not None else []
        if start.deadline_seconds is not None:
            ends.append(self.state.started_at + start.deadline_seconds)
        assert tool.max_wait_seconds is not None
        return read_wait(call.arguments, now, tool.max_wait_seconds, min(ends) - now if ends else None)

    async def _ended(self, wait: Wait, woken: asyncio.Future[None]) -> Outcome | None:
        """Wait for the first of the timer, a message and a stop, in the order of history."""
        seconds = max(0.001, wait.length(workflow.now().timestamp()))
        sleeping = asyncio.create_task(workflow.sleep(timedelta(seconds=seconds), summary=f"waits {wait.text}"))
        stopping = asyncio.create_task(workflow.wait_condition(self.state.is_stopping))
        ended = list[str]()
        sleeping.add_done_callback(lambda _: ended.append(wait.over))
        woken.add_done_callback(lambda _: ended.append(WOKEN))
        try:
            await workflow.wait([sleeping, woken, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not ended and await came_with_the_stop(sleeping):
                return Outcome(wait.over)
            return Outcome(ended[0]) if ended else None
        finally:
            sleeping.cancel()
            stopping.cancel()
