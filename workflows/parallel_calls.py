"""Runs the calls of a model turn side by side. Adds their items in the model's order, and ends each item as its call
ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.context.transcript import USED_ALREADY, denial
    from open_responses.ids import member_id
    from open_responses.json_types import JsonObject
    from open_responses.loop.next_step import Call, call_of
    from open_responses.loop.payloads.approvals import Decision
    from open_responses.loop.payloads.ending import Ending
    from open_responses.loop.payloads.programs import (
        PendingCall,
        ProgramAnswer,
        ResumedProgram,
        SuspendedProgram,
        WaitingProgram,
    )
    from open_responses.schema.built_in_items import CALL, WAITING, newest_item, without_call
    from open_responses.schema.mcp_tool import HOSTED_LABEL
    from open_responses.tool_use.built_in import BY_ITEM_TYPE, built_in_of_label
    from open_responses.tool_use.built_in_call_items import approved_item, ended_item, opened_item, read_arguments
    from open_responses.tool_use.built_in_row import BuiltIn, Opening
    from open_responses.tool_use.code_functions import CODE_INTERPRETER
    from open_responses.tool_use.tool_items import function_call, function_call_output, mcp_call
    from workflows.agents import Agents
    from workflows.hosted_call import BuiltInWork, Outcome, ToolRun
    from workflows.programs import BuiltInCallOfProgram, ProgramRun, answer_of, check_as_made, is_program
    from workflows.publication import Publication
    from workflows.state import ResponseState
    from workflows.waiting import Waiting


Decide = Callable[[int], Awaitable[tuple[Decision, bool] | None]]


@dataclass(slots=True)
class Asks:
    """How a call waits for a person's decision while the response runs.

    `decide` is given the index of the request for approval. It returns the decision, and whether this response may act
    on it: another one may have used the approval. None means that the response was stopped.
    """

    decide: Decide | None = None


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """Runs calls of one response, and writes their outcomes into its output."""

    state: ResponseState
    publication: Publication
    waiting: Waiting
    agents: Agents
    asks: Asks

    async def run(self, wanted: Sequence[Call]) -> None:
        """Run these calls. Their output items appear in the model's order, and each ends when its call does."""
        indexes = [self._announce(call) for call in wanted]
        allowed = [self._may_run_another() for _ in wanted]
        if not wanted:
            return
        for call, ok in zip(wanted, allowed, strict=True):
            if call.kind == "built_in" and call.problem is None and ok:
                self._show_work(call)
        self.state.show("running " + ", ".join(sorted({call.name for call in wanted})))
        running = [
            asyncio.create_task(self._run_one(call, index, ok))
            for call, index, ok in zip(wanted, indexes, allowed, strict=True)
        ]
        await self.publication.publish()
        await asyncio.gather(*running)

    async def go_on(self, suspended: Sequence[SuspendedProgram]) -> None:
        """Run programs on that the workflow's run before handed over."""
        self.state.show("running a program")
        await asyncio.gather(*(self._run_program(one.index, one) for one in suspended))

    async def resume(self, programs: Sequence[ResumedProgram], decisions: Sequence[Decision]) -> None:
        """Run programs of an earlier response on, with the calls for which the request has decisions."""
        for one in programs:
            check_as_made(one.item)
        begun = [(self._begin_again(one), one) for one in programs]
        if not begun:
            return
        self.state.show("running a program")
        await self.publication.publish()
        await asyncio.gather(*(self._resume(index, one.waiting, decisions) for index, one in begun))

    def _begin_again(self, program: ResumedProgram) -> int:
        """Add the item of a program that goes on. It has the call id of the first one."""
        output_ledger = self.state.output_ledger
        item_id = member_id("prog_", self.state.start.response_id, len(output_ledger.output))
        return output_ledger.add({**program.item, "id": item_id, "status": "in_progress"})

    async def _resume(self, index: int, waiting: WaitingProgram, decisions: Sequence[Decision]) -> None:
        caller: JsonObject = {"type": "program", "caller_id": self.state.output_ledger.output[index]["call_id"]}
        decided = {decision.approval_request_id: decision for decision in decisions}

        async def answer(call: PendingCall) -> ProgramAnswer | None:
            decision = decided.get(call.approval_request_id or "")
            if decision is None:
                return ProgramAnswer(number=call.number, output=USED_ALREADY, failed=True)
            if not decision.approve:
                return ProgramAnswer(number=call.number, output=denial(decision.reason), failed=True)
            outcome = await self._run_decided(decision, caller, may_run=self._may_run_another())
            return None if outcome is None else answer_of(call.number, outcome)

        found = await asyncio.gather(*(answer(call) for call in waiting.pending))
        answers = [one for one in found if one is not None]
        if len(answers) < len(found) or self.state.is_stopping():
            self.state.end_with(Ending(status="cancelled"))
            return
        program = SuspendedProgram(
            index=index,
            state=waiting.state,
            answers=[*waiting.answers, *answers],
            printed=waiting.printed,
            calls=waiting.calls,
        )
        await self._run_program(index, program)

    async def _run_decided(self, decision: Decision, caller: JsonObject, *, may_run: bool = True) -> Outcome | None:
        """Run a program's call that a person has approved. Returns None if the response was stopped."""
        call = self.add_decided(decision, caller)
        index = self._announce(call, caller)
        if not may_run:
            outcome: Outcome | None = _beyond_max_tool_calls(self.state.start.request.max_tool_calls)
        else:
            if call.kind == "built_in" and call.problem is None:
                self._show_work(call)
            await self.publication.publish()
            outcome = await self._outcome(call, index)
        if outcome is None:
            return None
        self._settle(call, index, outcome)
        if outcome.ending is not None:
            self.state.end_with(outcome.ending)
            return None
        return outcome

    async def _run_asked(self, index: int, caller: JsonObject) -> Outcome | None:
        """Wait until a person has decided about a program's call while the response runs, and run it."""
        assert self.asks.decide is not None
        found = await self.asks.decide(index)
        if found is None:
            return None
        decision, is_ours = found
        if decision.approve and is_ours:
            return await self._run_decided(decision, caller)
        call = self.add_decided(decision, caller)
        if is_ours:
            self._settle_unrun(call, denial(decision.reason), "approval_denied", caller)
            return Outcome(denial(decision.reason), failed=True)
        self._settle_unrun(call, USED_ALREADY, "approval_already_answered", caller)
        return Outcome(USED_ALREADY, failed=True)

    def add_decided(self, decision: Decision, caller: JsonObject | None = None) -> Call:
        """Add the item of a call that a person has decided about. Returns it with the stored name and arguments.

        `caller` is the program that made the call; None for the model."""
        index, response_id = len(self.state.output_ledger.output), self.state.start.response_id
        row = built_in_of_label(decision.server_label)
        if row is not None:
            return self._add_built_in(decision, row, index, caller)
        if decision.server_label == HOSTED_LABEL:
            item = function_call(response_id, index, decision.name, decision.arguments)
        else:
            item = mcp_call(
                member_id("mcp_", response_id, index), decision.server_label, decision.name, decision.arguments
            )
        item["approval_request_id"] = decision.approval_request_id
        return self._add(item if caller is None else {**item, "caller": caller})

    def _add_built_in(self, decision: Decision, row: BuiltIn, index: int, caller: JsonObject | None) -> Call:
        response_id = self.state.start.response_id
        opening = Opening(
            response_id,
            decision.name,
            read_arguments(decision.arguments),
            self._settings(row),
            self._newest(row),
        )
        item = approved_item(
            row,
            response_id,
            index,
            opening,
            approval_id=decision.approval_request_id,
            arguments=decision.arguments,
        )
        self.state.output_ledger.add_built_in_call(item if caller is None else {**item, "caller": caller})
        return call_of("built_in", index, decision.name, decision.arguments, item["id"])

    def _newest(self, row: BuiltIn) -> JsonObject | None:
        """The newest call of the tool in this response, or the container of an earlier response's."""
        found, container_id = newest_item(row.item_type, self.state.output_ledger.output), self.state.start.container_id
        if found is None and row.name == CODE_INTERPRETER and container_id is not None:
            return {"container_id": container_id}
        return found

    def _settings(self, row: BuiltIn) -> JsonObject:
        """The tool in the request, as the provider in use has it or another one of the targets."""
        start = self.state.start
        run_here = {index for target in start.targets for index in target.run_here}
        found = (one.settings for one in start.offered(run_here) if one.row.name == row.name)
        return next(found, {})

    def settle_denied(self, call: Call, reason: str | None) -> None:
        self._settle_unrun(call, denial(reason), "approval_denied")

    def settle_used_already(self, call: Call) -> None:
        """End a call whose approval another response has used, or this response with another answer before a reset."""
        self._settle_unrun(call, USED_ALREADY, "approval_already_answered")

    def _settle_unrun(self, call: Call, message: str, error_type: str, caller: JsonObject | None = None) -> None:
        output_ledger = self.state.output_ledger
        if call.kind == "mcp":
            output_ledger.settle_call(call.index, output=None, error={"type": error_type, "content": message})
        elif call.kind == "built_in":
            self._settle_built_in(call.index, Outcome(message, failed=True))
        else:
            output_ledger.settle(self._announce(call, caller), output=message, status="completed")

    def _add(self, item: JsonObject) -> Call:
        index = self.state.output_ledger.add_whole_call(item)
        if item["type"] == "mcp_call":
            return call_of("mcp", index, item["name"], item["arguments"], item["id"], item["server_label"])
        self.state.output_ledger.settle(index)
        return call_of("hosted", index, item["name"], item["arguments"], item["call_id"])

    def _announce(self, call: Call, caller: JsonObject | None = None) -> int:
        """Begin the item that will have the result, and return its index. The result of an `mcp_call` goes into the
        call's own item."""
        if call.kind != "hosted":
            return call.index
        output_ledger = self.state.output_ledger
        item = function_call_output(self.state.start.response_id, len(output_ledger.output), call.call_id)
        return output_ledger.add(item if caller is None else {**item, "caller": caller})

    def _may_run_another(self) -> bool:
        """Count one more call of the response, and return whether `max_tool_calls` allows it (REQ-5)."""
        limit = self.state.start.request.max_tool_calls
        self.state.tool_calls += 1
        return limit is None or self.state.tool_calls <= limit

    async def _run_one(self, call: Call, index: int, ok: bool) -> None:
        if ok and call.problem is None and is_program(self.state.output_ledger.output[index]):
            await self._run_program(index)
            return
        outcome: Outcome | None = _beyond_max_tool_calls(self.state.start.request.max_tool_calls)
        if ok:
            outcome = await self._outcome(call, index)
        if outcome is None:
            # The tool may be cancelled before the workflow receives the signal.
            self.state.end_with(Ending(status="cancelled"))
            return
        self._settle(call, index, outcome)
        if outcome.ending is not None:
            self.state.end_with(outcome.ending)
        await self.publication.publish()

    async def _run_program(self, index: int, suspended: SuspendedProgram | None = None) -> None:
        """Run a program to its end, or up to the place where the next run of the workflow goes on with it."""
        program = ProgramRun(
            self.state,
            self.publication,
            self._run_for_program,
            self._may_run_another,
            self._begin_for_program,
            self._run_asked if self.state.start.request.is_background else None,
            index,
        )
        outcome = await program.run(suspended)
        if program.waiting is not None:
            self._keep_waiting(index, program.waiting)
            await self.publication.publish()
            return
        if outcome is None:
            if not any(one.index == index for one in self.state.suspended):
                self.state.end_with(Ending(status="cancelled"))
            return
        self._settle_built_in(index, outcome)
        program.add_output(outcome)
        if outcome.ending is not None:
            self.state.end_with(outcome.ending)
        await self.publication.publish()

    def _keep_waiting(self, index: int, waiting: WaitingProgram) -> None:
        """End the item of a program that waits for the next request, with the state from which it goes on."""
        output_ledger = self.state.output_ledger
        call = {**output_ledger.output[index][CALL], WAITING: waiting.model_dump(mode="json")}
        output_ledger.settle(index, status="completed", **{CALL: call})
        self.state.waits_for_client = True

    async def _run_for_program(self, call: Call, index: int) -> Outcome | None:
        """Run a call of a program, and end its item. Publishing is the program's."""
        outcome = await self._outcome(call, index)
        if outcome is not None:
            self._settle(call, index, outcome)
        return outcome

    def _begin_for_program(self, made: BuiltInCallOfProgram) -> Call:
        """Add the item of a built-in tool's call that a program makes."""
        output_ledger, response_id = self.state.output_ledger, self.state.start.response_id
        row = built_in_of_label(made.label)
        assert row is not None
        opening = Opening(
            response_id,
            made.function,
            read_arguments(made.arguments),
            self._settings(row),
            newest_item(row.item_type, output_ledger.output),
        )
        item_id = member_id(row.id_prefix, response_id, len(output_ledger.output))
        item = opened_item(row, item_id, opening, ordinal=made.ordinal, arguments=made.arguments, members={})
        index = output_ledger.add_built_in_call({**item, "caller": made.caller})
        call = call_of("built_in", index, made.function, made.arguments, item_id)
        self._show_work(call)
        return call

    def _show_work(self, call: Call) -> None:
        """Announce that a built-in tool runs."""
        row = BY_ITEM_TYPE[self.state.output_ledger.output[call.index]["type"]]
        if not row.working:
            return
        self.state.output_ledger.add_event(f"response.{row.item_type}.{row.working}", call.index)

    def _built_in_work(self, index: int) -> BuiltInWork:
        item = self.state.output_ledger.output[index]
        row = BY_ITEM_TYPE[item["type"]]
        return BuiltInWork(row.name, self._settings(row), without_call(item), item[CALL].get("ordinal", 0))

    def _settle_built_in(self, index: int, outcome: Outcome) -> None:
        output_ledger, request = self.state.output_ledger, self.state.start.request
        item = output_ledger.output[index]
        row = BY_ITEM_TYPE[item["type"]]
        ended = ended_item(
            item,
            row,
            output=outcome.output,
            members=outcome.item,
            citations=outcome.citations,
            failed=outcome.failed,
            include=request.include or [],
            is_stored=request.is_stored,
        )
        if not outcome.failed and row.working:
            output_ledger.add_event(f"response.{row.item_type}.completed", index)
        output_ledger.settle(index, **ended)

    async def _outcome(self, call: Call, index: int) -> Outcome | None:
        """Run the call here, where the workflow is the tool, or in an activity."""
        tool = next((tool for tool in self.state.start.hosted if tool.name == call.name), None)
        if call.kind == "hosted" and call.problem is None and tool is not None:
            if tool.max_wait_seconds is not None:
                return await self.waiting.run(tool, call, index)
            if tool.agent is not None:
                return await self.agents.run(tool.agent, call, index)
        work = self._built_in_work(index) if call.kind == "built_in" else None
        return await ToolRun(self.state.start, self.state.is_stopping).run(call, index, work)

    def _settle(self, call: Call, index: int, outcome: Outcome) -> None:
        if call.kind == "mcp":
            error = {"type": "mcp_tool_execution_error", "content": outcome.output} if outcome.failed else None
            text = None if outcome.failed else _as_text(outcome)
            self.state.output_ledger.settle_call(index, output=text, error=error, parts=outcome.parts)
        elif call.kind == "built_in":
            self._settle_built_in(index, outcome)
        else:
            self.state.output_ledger.settle(index, output=outcome.output, status="completed")


def _beyond_max_tool_calls(limit: int | None) -> Outcome:
    return Outcome(
        f"Not run: this response may make {limit} tool calls, and has made them. Answer with what you have.",
        failed=True,
    )


def _as_text(outcome: Outcome) -> str:
    """The result as an `mcp_call` holds it: text.

    A list is the result of an activity of an earlier version, which kept images as JSON of the parts.
    """
    if isinstance(outcome.output, str):
        return outcome.output
    return json.dumps(outcome.output, ensure_ascii=False)
