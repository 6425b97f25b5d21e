"""The calls of a turn in the output: announced in the model's order, run side by side, each settled as it ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.context.transcript import denial
    from open_responses.ids import member_id
    from open_responses.json_types import JsonObject
    from open_responses.loop.next_step import Call, call_of
    from open_responses.loop.payloads import Decision, Ending
    from open_responses.tool_use.tool_items import function_call, function_call_output, mcp_call
    from open_responses.tool_use.tool_table import HOSTED_LABEL
    from workflows.hosted_call import Outcome, ToolRun
    from workflows.publication import Publication
    from workflows.state import ResponseState


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """Runs calls of one response, and says in its output what became of them."""

    state: ResponseState
    publication: Publication

    async def run(self, wanted: Sequence[Call]) -> None:
        """All outputs are announced in the model's order; each ends when its call does."""
        indexes = [self._announce(call) for call in wanted]
        allowed = [self._within_budget() for _ in wanted]
        if not wanted:
            return
        self.state.show("running " + ", ".join(sorted({call.name for call in wanted})))
        running = [
            asyncio.create_task(self._run_one(call, index, ok))
            for call, index, ok in zip(wanted, indexes, allowed, strict=True)
        ]
        await self.publication.publish()
        await asyncio.gather(*running)

    def add_decided(self, decision: Decision) -> Call:
        """A call that a person has spoken on, as an item, and as what is to be run: name and arguments are the stored
        ones."""
        index, response_id = len(self.state.ledger.output), self.state.start.response_id
        if decision.server_label == HOSTED_LABEL:
            item = function_call(response_id, index, decision.name, decision.arguments)
        else:
            item = mcp_call(
                member_id("mcp_", response_id, index), decision.server_label, decision.name, decision.arguments
            )
        item["approval_request_id"] = decision.approval_request_id
        return self._add(item)

    def settle_denied(self, call: Call, reason: str | None) -> None:
        said, ledger = denial(reason), self.state.ledger
        if call.kind == "mcp":
            ledger.settle_call(call.index, output=None, error={"type": "approval_denied", "content": said})
        else:
            ledger.settle(self._announce(call), output=said, status="completed")

    def _add(self, item: JsonObject) -> Call:
        index = self.state.ledger.add_whole_call(item)
        if item["type"] == "mcp_call":
            return call_of("mcp", index, item["name"], item["arguments"], item["id"], item["server_label"])
        self.state.ledger.settle(index)
        return call_of("hosted", index, item["name"], item["arguments"], item["call_id"])

    def _announce(self, call: Call) -> int:
        """The item that will hold the result: the `mcp_call` itself, or a function's output."""
        if call.kind == "mcp":
            return call.index
        ledger = self.state.ledger
        return ledger.add(function_call_output(self.state.start.response_id, len(ledger.output), call.call_id))

    def _within_budget(self) -> bool:
        limit = self.state.start.request.max_tool_calls
        self.state.tool_calls += 1
        return limit is None or self.state.tool_calls <= limit

    async def _run_one(self, call: Call, index: int, ok: bool) -> None:
        outcome: Outcome | None = _over_budget(self.state.start.request.max_tool_calls)
        if ok:
            outcome = await ToolRun(self.state.start, self.state.is_stopping).run(call, index)
        if outcome is None:
            # The tool may hear of a cancellation before the signal comes here.
            self.state.end_with(Ending(status="cancelled"))
            return
        self._settle(call, index, outcome)
        if outcome.ending is not None:
            self.state.end_with(outcome.ending)
        await self.publication.publish()

    def _settle(self, call: Call, index: int, outcome: Outcome) -> None:
        if call.kind == "mcp":
            error = {"type": "mcp_tool_execution_error", "content": outcome.output} if outcome.failed else None
            text = None if outcome.failed else _as_text(outcome)
            self.state.ledger.settle_call(index, output=text, error=error)
        else:
            self.state.ledger.settle(index, output=outcome.output, status="completed")


def _over_budget(limit: int | None) -> Outcome:
    return Outcome(
        f"Not run: this response may make {limit} tool calls, and has made them. Answer with what you have.",
        failed=True,
    )


def _as_text(outcome: Outcome) -> str:
    """An `mcp_call` holds text; images of a result are told of by their parts, as JSON."""
    if isinstance(outcome.output, str):
        return outcome.output
    return json.dumps(outcome.output, ensure_ascii=False)
