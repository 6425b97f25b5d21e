"""Runs a program that a model has written and that calls tools, from one call to the next.

What this prevents: calls that run again because the process of a program died. The program runs in short activities.
Each leaves the program's state and the calls for which it waits in history; the workflow runs the calls as it runs a
model's, and hands the results to the next activity, on any worker.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from open_responses.ids import member_id
    from open_responses.json_types import JsonObject
    from open_responses.loop.next_step import Call, call_of
    from open_responses.loop.payloads.programs import (
        ProgramAnswer,
        ProgramCall,
        ProgramFunction,
        ProgramStepInput,
        ProgramStepResult,
        SuspendedProgram,
    )
    from open_responses.loop.payloads.tool_calls import ToolContextPayload
    from open_responses.schema.built_in_items import CALL
    from open_responses.tool_use.built_in import BuiltInTool
    from open_responses.tool_use.code_functions import PROGRAMS
    from open_responses.tool_use.tool_items import function_call, function_call_output, mcp_call
    from workflows import calls
    from workflows.hosted_call import Outcome, message_of, until_stopped
    from workflows.publication import Publication
    from workflows.state import ResponseState

# Of one program, side by side. The others wait for a place.
_SIDE_BY_SIDE = 16
_MOST_CALLS = 100_000
_LARGEST_ANSWER = 1_000_000
_NOTHING = "(The program ran and printed nothing. Use print() for what you want to read.)"
_LOST = "The worker that ran the program was lost each time; its calls so far have been made."


@dataclass(frozen=True, slots=True)
class BuiltInCallOfProgram:
    """A call of a built-in tool that a program makes. `ordinal` is its number in the context."""

    label: str
    function: str
    arguments: str
    ordinal: int
    caller: JsonObject


RunCall = Callable[[Call, int], Awaitable[Outcome | None]]


@dataclass(slots=True)
class ProgramRun:
    """Runs one program. `run_call` runs one of its calls, and ends its item; None means that the response was stopped.

    `may_run_another` counts a call, and returns whether the response may make it. `begin_built_in` adds the item of a
    built-in tool's call.
    """

    state: ResponseState
    publication: Publication
    run_call: RunCall
    may_run_another: Callable[[], bool]
    begin_built_in: Callable[[BuiltInCallOfProgram], Call]
    index: int
    _functions: dict[str, ProgramFunction] = field(default_factory=dict)

    async def run(self, suspended: SuspendedProgram | None = None) -> Outcome | None:
        """Run the program to its end. Returns None if the response was stopped first, or if a new run of the workflow
        has to go on with it: then the program is among `state.suspended`."""
        item = self.state.output_ledger.output[self.index]
        functions = [ProgramFunction.model_validate(one) for one in item[CALL].get("functions", ())]
        self._functions = {one.name: one for one in functions}
        now = suspended or SuspendedProgram(index=self.index, state=None, answers=[], printed="", calls=0)
        while True:
            if now.calls and workflow.info().is_continue_as_new_suggested():
                await self.publication.publish()
                self.state.suspended.append(now)
                return None
            try:
                result = await self._step(item, now)
            except ActivityError as error:
                return Outcome(now.printed + message_of(error, "the program"), failed=True)
            if result is None or result.outcome == "cancelled":
                return None
            printed = now.printed + result.printed
            if not result.calls or result.outcome != "done":
                return Outcome(printed or _NOTHING, failed=result.failed)
            answers = await self._answers(item["call_id"], result.calls, now.calls)
            if answers is None:
                return None
            now = SuspendedProgram(
                index=self.index,
                state=result.state,
                answers=answers,
                printed=printed,
                calls=now.calls + len(result.calls),
            )

    async def _step(self, item: JsonObject, now: SuspendedProgram) -> ProgramStepResult | None:
        start = self.state.start
        tool = next((one for one in start.built_in if one.name == PROGRAMS), BuiltInTool(name=PROGRAMS))
        runs = 0
        while runs < tool.max_attempts:
            given = ProgramStepInput(
                code=item["code"],
                functions={name: one.parameters for name, one in self._functions.items()},
                state=now.state,
                answers=now.answers,
                printed_bytes=len(now.printed.encode()),
                context=ToolContextPayload(
                    response_id=start.response_id,
                    call_id=item["call_id"],
                    idempotency_key=f"{start.response_id}:{item['call_id']}:{now.calls}",
                    tenant=start.tenant,
                    metadata=start.request.metadata or {},
                    attempt=runs + 1,
                    output_index=self.index,
                    request_id=start.request_id,
                    traceparent=start.traceparent,
                ),
            )
            handle = calls.start_program_step(tool, given, tool.max_attempts - runs, now.calls)
            result = await until_stopped(
                handle, self.state.is_stopping, in_order=start.results_in_order, repeats_alike=start.repeats_alike
            )
            if result is None or result.outcome not in ("lost", "handed_over"):
                return result
            runs += max(1, result.attempts)
        return ProgramStepResult(outcome="failed", printed=_LOST, failed=True)

    # --- the program's calls

    async def _answers(self, caller_id: str, wanted: Sequence[ProgramCall], made: int) -> list[ProgramAnswer] | None:
        """Run the calls side by side, and return their results; None if the response was stopped. `made` is the number
        of the program's calls before these."""
        most = next((one.max_calls for one in self.state.start.built_in if one.name == PROGRAMS), None)
        answers = dict[int, ProgramAnswer]()
        begun: list[tuple[ProgramCall, Call, int]] = []
        for call in wanted:
            refusal = self._refusal(call, most, made + len(begun))
            if refusal is None:
                begun.append((call, *self._announce(caller_id, call)))
            else:
                answers[call.number] = ProgramAnswer(number=call.number, output=refusal, failed=True)
        if begun:
            await self.publication.publish()
        places = asyncio.Semaphore(_SIDE_BY_SIDE)

        async def run_one(call: ProgramCall, run: Call, index: int) -> bool:
            async with places:
                if self.state.is_stopping():
                    return False
                outcome = await self.run_call(run, index)
            if outcome is None:
                return False
            if outcome.ending is not None:
                # A middleware ends the response.
                self.state.end_with(outcome.ending)
                return False
            answers[call.number] = ProgramAnswer(number=call.number, output=_text(outcome), failed=outcome.failed)
            return True

        ran = await asyncio.gather(*(run_one(*one) for one in begun))
        if self.state.is_stopping() or not all(ran):
            return None
        return [answers[call.number] for call in wanted]

    def _refusal(self, call: ProgramCall, most: int | None, made: int) -> str | None:
        """The reason for which a call is not made, or None."""
        function = self._functions.get(call.function)
        if function is None:
            return f"There is no function {call.function!r}."
        if function.needs_approval:
            return f"{call.function!r} needs the approval of a person. Call it outside of a program."
        if most is not None and made >= most:
            return f"Not run: a program may make {most} calls. Print what you have, and go on in another program."
        if not self.may_run_another():
            limit = self.state.start.request.max_tool_calls
            return f"Not run: this response may make {limit} tool calls, and has made them."
        return None

    def _announce(self, caller_id: str, call: ProgramCall) -> tuple[Call, int]:
        """Add the items of a call. Returns the call, and the index of the item that gets its result."""
        function, ledger, response_id = self._functions[call.function], self.state.output_ledger, self._response_id
        caller = {"type": "program", "caller_id": caller_id}
        index, arguments = len(ledger.output), json.dumps(call.arguments, ensure_ascii=False)
        if function.kind == "built_in":
            # Behind the numbers of the model's own calls, so that a mark of a citation means one call.
            ordinal = ledger.output[self.index][CALL].get("ordinal", 0) * _MOST_CALLS + call.number + 1
            made = BuiltInCallOfProgram(function.server_label, function.tool, arguments, ordinal, caller)
            return self.begin_built_in(made), index
        if function.kind == "mcp":
            item_id = member_id("mcp_", response_id, index)
            item = {**mcp_call(item_id, function.server_label, function.tool, arguments), "caller": caller}
            ledger.add_whole_call(item)
            return call_of("mcp", index, function.tool, arguments, item_id, function.server_label), index
        item = {**function_call(response_id, index, function.tool, arguments), "caller": caller}
        ledger.add_whole_call(item)
        ledger.settle(index)
        output = {**function_call_output(response_id, index + 1, item["call_id"]), "caller": caller}
        return call_of("hosted", index, function.tool, arguments, item["call_id"]), ledger.add(output)

    def add_output(self, outcome: Outcome) -> None:
        """Add the item with the program's result."""
        ledger = self.state.output_ledger
        item = {
            "type": "program_output",
            "id": member_id("prog_", self._response_id, len(ledger.output)),
            "call_id": ledger.output[self.index]["call_id"],
            "result": outcome.output,
            "status": "completed",
        }
        ledger.settle(ledger.add(item))

    @property
    def _response_id(self) -> str:
        return self.state.start.response_id


def is_program(item: JsonObject) -> bool:
    """Whether an item is a program that this server runs."""
    return item["type"] == "program" and CALL in item


def _text(outcome: Outcome) -> str:
    """The output of a call as the program gets it: text."""
    output = outcome.output
    if not isinstance(output, str):
        output = json.dumps(output, ensure_ascii=False)
    if len(output) > _LARGEST_ANSWER:
        return output[:_LARGEST_ANSWER] + " …"
    return output
