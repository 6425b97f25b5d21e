"""Runs before the first model turn: lists the tools of MCP servers, runs the calls that the request approves, and goes
on with the programs that waited for the request."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from open_responses.loop.payloads.approvals import Decision
    from open_responses.loop.payloads.ending import Ending
    from open_responses.loop.payloads.tool_calls import McpListInput, McpListResult
    from open_responses.schema.mcp_tool import McpTool
    from open_responses.tool_use.tool_items import mcp_list_tools
    from workflows import calls
    from workflows.claims import ENDS_WITH_THE_STOP, claimed_elsewhere, stopped_before_next_task
    from workflows.hosted_call import until_stopped
    from workflows.parallel_calls import ToolCalls
    from workflows.patches import patched
    from workflows.publication import Publication
    from workflows.state import ResponseState

# After this many lost workers, the list counts as failed, and the response goes on without it.
_MAX_LISTINGS = 100


@dataclass(frozen=True, slots=True)
class BeforeFirstTurn:
    """The steps before the first model turn. Their events are the first of the stream. Only the first run of a workflow
    takes them."""

    state: ResponseState
    publication: Publication
    calls: ToolCalls

    async def run(self) -> None:
        start = self.state.start
        servers = [tool for tool in start.request.tools or [] if isinstance(tool, McpTool)]
        if not servers and not start.decisions and not start.programs:
            return
        self.state.output_ledger.open_stream(start.initial())
        await self.publication.publish()
        decisions = await self._claimed()
        if servers:
            self.state.show("listing the tools of MCP servers")
            await asyncio.gather(*(self._list_tools(server.server_label) for server in servers))
        of_programs = self._of_programs()
        approved = [
            self.calls.add_decided(decision)
            for decision in decisions
            if decision.approve and decision.approval_request_id not in of_programs
        ]
        if start.programs and not self.state.is_stopping():
            await asyncio.gather(self.calls.run(approved), self.calls.resume(start.programs, decisions))
        else:
            await self.calls.run(approved)

    def _of_programs(self) -> set[str | None]:
        """The approvals for which the programs wait."""
        return {call.approval_request_id for one in self.state.start.programs for call in one.waiting.pending}

    async def _claimed(self) -> list[Decision]:
        """The request's approvals that no other response has acted on. If none is left, the response ends.

        A program goes on all the same, and gets an error for the call: the response that claimed the approval may have
        been stopped before the program was in its output, and then the program still waits.

        The API normally detects a second request with the same approval before it starts a response, and refuses that
        request.
        """
        brought = self.state.start.decisions
        if not brought or not patched("claims-at-the-start"):
            return brought
        refused = await claimed_elsewhere(self.state, brought)
        if refused is None:
            return []
        if patched(ENDS_WITH_THE_STOP) and await stopped_before_next_task(self.state):
            return []
        mine = [decision for decision in brought if decision.approval_request_id not in refused]
        if not mine and not any(one.approval_request_id in self._of_programs() for one in brought):
            taken = "Another response has acted on this approval."
            self.state.end_with(Ending(status="failed", error_code="approval_already_answered", error_message=taken))
        return mine

    async def _list_tools(self, label: str) -> None:
        result = await self._listed(label)
        if result is None or result.known:
            return
        output_ledger = self.state.output_ledger
        index = output_ledger.add(mcp_list_tools(self.state.start.response_id, len(output_ledger.output), label))
        output_ledger.add_event("response.mcp_list_tools.in_progress", index)
        if result.error is None:
            output_ledger.add_event("response.mcp_list_tools.completed", index)
            output_ledger.settle(index, tools=result.tools, status="completed")
        else:
            output_ledger.add_event("response.mcp_list_tools.failed", index)
            output_ledger.settle(index, error=result.error, status="failed")
        await self.publication.publish()

    async def _listed(self, label: str) -> McpListResult | None:
        """List the server's tools, and list them again if the worker was lost. Returns None if the response was
        stopped."""
        start = self.state.start
        call = McpListInput(
            response_id=start.response_id,
            tenant=start.tenant,
            server_label=label,
            request_id=start.request_id,
            traceparent=start.traceparent,
        )
        for _ in range(_MAX_LISTINGS):
            handle = calls.start_mcp_list(call)
            try:
                result = await until_stopped(
                    handle, self.state.is_stopping, in_order=start.repeats_alike, repeats_alike=start.repeats_alike
                )
            except ActivityError:
                return McpListResult(outcome="failed", error="The server did not list its tools in time.")
            if result is None or result.outcome in ("done", "failed"):
                return result
        return McpListResult(outcome="failed", error="The worker was lost each time.")
