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
        PendingCall,
        ProgramAnswer,
        ProgramCall,
        ProgramFunction,
        ProgramStepInput,
        ProgramStepResult,
        SuspendedProgram,
        WaitingProgram,
    )
    from open_responses.loop.payloads.tool_calls import ToolContextPayload
    from open_responses.schema.built_in_items import CALL, FUNCTIONS
    from open_responses.schema.mcp_tool import HOSTED_LABEL
    from open_responses.tool_use.built_in import BuiltInTool
    from open_responses.tool_use.code_functions import PROGRAMS
    from open_responses.tool_use.programs import text_for_program
    from open_responses.tool_use.tool_items import (
        function_call,
        function_call_output,
        mcp_approval_request,
        mcp_call,
    )
    from workflows import calls
    from workflows.hosted_call import EachRunLost, Outcome, first_not_lost, message_of, until_stopped
    from workflows.publication import Publication
    from workflows.state import ResponseState

# Of one program, side by side. The others wait for a place.
_SIDE_BY_SIDE = 16
_MOST_CALLS = 100_000
# Of a program that waits for the next request, sealed: it is in its item, and each reader of the response gets that.
_LARGEST_KEPT_STATE = 1_000_000
_TOO_LARGE_TO_WAIT = (
    "\nThe program was stopped: its variables are too large to be kept until the client answers a call. Call such "
    "functions before large data is in variables."
)
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
RunAsked = Callable[[int, JsonObject], Awaitable[Outcome | None]]


@dataclass(frozen=True, slots=True)
class _Batch:
    """The calls of one step: the results of those that have ended, and those that wait for the next request."""

    answers: list[ProgramAnswer]
    pending: list[PendingCall]


@dataclass(slots=True)
class ProgramRun:
    """Runs one program. `run_call` runs one of its calls, and ends its item; None means that the response was stopped.

    `may_run_another` counts a call, and returns whether the response may make it. `begin_built_in` adds the item of a
    built-in tool's call. `run_asked` waits until a person has decided about a call, given the index of its request and
    its caller, and runs it; without one, the program waits for the next request.

    `waiting` is set where the program waits for the next request.
    """

    state: ResponseState
    publication: Publication
    run_call: RunCall
    may_run_another: Callable[[], bool]
    begin_built_in: Callable[[BuiltInCallOfProgram], Call]
    run_asked: RunAsked | None
    index: int
    waiting: WaitingProgram | None = None
    _functions: dict[str, ProgramFunction] = field(default_factory=dict)

    async def run(self, suspended: SuspendedProgram | None = None) -> Outcome | None:
        """Run the program to its end.

        Returns None if the response was stopped first, if the program is `waiting`, or if a new run of the workflow has
        to go on with it: then the program is among `state.suspended`.
        """
        item = self.state.output_ledger.output[self.index]
        self._functions = {one.name: one for one in functions_of(item)}
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
            if self._is_too_large_to_wait(result):
                return Outcome(printed + _TOO_LARGE_TO_WAIT, failed=True)
            batch = await self._answers(item["call_id"], result.calls, now.calls)
            if batch is None:
                return None
            made = now.calls + len(result.calls)
            if batch.pending:
                self.waiting = WaitingProgram(
                    state=result.state or "",
                    answers=batch.answers,
                    pending=batch.pending,
                    printed=printed,
                    calls=made,
                )
                return None
            now = SuspendedProgram(
                index=self.index, state=result.state, answers=batch.answers, printed=printed, calls=made
            )

    async def _step(self, item: JsonObject, now: SuspendedProgram) -> ProgramStepResult | None:
        start = self.state.start
        tool = next((one for one in start.built_in if one.name == PROGRAMS), BuiltInTool(name=PROGRAMS))

        async def run(runs: int) -> ProgramStepResult | None:
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
            return await until_stopped(
                handle, self.state.is_stopping, in_order=start.results_in_order, repeats_alike=start.repeats_alike
            )

        try:
            return await first_not_lost(tool.max_attempts, run)
        except EachRunLost:
            return ProgramStepResult(outcome="failed", printed=_LOST, failed=True)

    def _is_too_large_to_wait(self, result: ProgramStepResult) -> bool:
        """Whether the program would wait for the next request with a state that its item cannot hold."""
        called = (self._functions.get(call.function) for call in result.calls)
        waits = any(one is not None and (one.kind == "client" or self._asks_by_the_end(one)) for one in called)
        return waits and len(result.state or "") > _LARGEST_KEPT_STATE

    def _asks_by_the_end(self, function: ProgramFunction) -> bool:
        """Whether the response ends to ask for a person's approval."""
        return function.needs_approval and self.run_asked is None and self.state.start.programs_ask

    # --- the program's calls

    async def _answers(self, caller_id: str, wanted: Sequence[ProgramCall], made: int) -> _Batch | None:
        """Run the calls side by side, and return their results; None if the response was stopped. `made` is the number
        of the program's calls before these."""
        most = next((one.max_calls for one in self.state.start.built_in if one.name == PROGRAMS), None)
        caller: JsonObject = {"type": "program", "caller_id": caller_id}
        answers = dict[int, ProgramAnswer]()
        begun: list[tuple[ProgramCall, Call, int]] = []
        asked: list[tuple[ProgramCall, int]] = []
        pending: list[PendingCall] = []
        for call in wanted:
            refusal = self._refusal(call, most, made + len(begun) + len(asked) + len(pending))
            function = self._functions.get(call.function)
            if refusal is not None or function is None:
                answers[call.number] = ProgramAnswer(number=call.number, output=refusal or "", failed=True)
            elif function.kind == "client":
                pending.append(PendingCall(number=call.number, call_id=self._ask_client(caller, function, call)))
            elif function.needs_approval:
                index = self._ask_person(caller, function, call)
                if self.run_asked is None:
                    request_id = self.state.output_ledger.output[index]["id"]
                    pending.append(PendingCall(number=call.number, approval_request_id=request_id))
                else:
                    asked.append((call, index))
            else:
                begun.append((call, *self._announce(caller, function, call)))
        if begun or asked or pending:
            await self.publication.publish()
        places = asyncio.Semaphore(_SIDE_BY_SIDE)

        def take(call: ProgramCall, outcome: Outcome | None) -> bool:
            if outcome is None:
                return False
            if outcome.ending is not None:
                # A middleware ends the response.
                self.state.end_with(outcome.ending)
                return False
            answers[call.number] = answer_of(call.number, outcome)
            return True

        async def run_one(call: ProgramCall, run: Call, index: int) -> bool:
            async with places:
                if self.state.is_stopping():
                    return False
                return take(call, await self.run_call(run, index))

        async def run_when_approved(call: ProgramCall, index: int) -> bool:
            assert self.run_asked is not None
            return take(call, await self.run_asked(index, caller))

        ran = await asyncio.gather(
            *(run_one(*one) for one in begun), *(run_when_approved(call, index) for call, index in asked)
        )
        if self.state.is_stopping() or not all(ran):
            return None
        return _Batch([answers[call.number] for call in wanted if call.number in answers], pending)

    def _refusal(self, call: ProgramCall, most: int | None, made: int) -> str | None:
        """The reason for which a call is not made, or None."""
        function = self._functions.get(call.function)
        if function is None:
            return f"There is no function {call.function!r}."
        if function.needs_approval and not self.state.start.programs_ask:
            return f"{call.function!r} needs the approval of a person. Call it outside of a program."
        if function.kind == "client" and not self.state.start.request.is_stored:
            return f"{call.function!r} is the client's, and this response is not stored. Call it outside of a program."
        if self._asks_by_the_end(function) and not self.state.start.request.is_stored:
            return f"{call.function!r} needs a person's approval, which a response that is not stored cannot ask for."
        if most is not None and made >= most:
            return f"Not run: a program may make {most} calls. Print what you have, and go on in another program."
        if not self.may_run_another():
            limit = self.state.start.request.max_tool_calls
            return f"Not run: this response may make {limit} tool calls, and has made them."
        return None

    def _ask_client(self, caller: JsonObject, function: ProgramFunction, call: ProgramCall) -> str:
        """Add the item of a call that the client answers. Returns its `call_id`."""
        ledger = self.state.output_ledger
        item = function_call(self._response_id, len(ledger.output), function.tool, _written(call))
        ledger.settle(ledger.add_whole_call({**item, "caller": caller}))
        return str(item["call_id"])

    def _ask_person(self, caller: JsonObject, function: ProgramFunction, call: ProgramCall) -> int:
        """Add the item that asks a person about a call. Returns its index."""
        ledger, label = self.state.output_ledger, HOSTED_LABEL if function.kind == "hosted" else function.server_label
        item = mcp_approval_request(self._response_id, len(ledger.output), label, function.tool, _written(call))
        index = ledger.add({**item, "caller": caller, "status": "in_progress"})
        ledger.settle(index, status="completed")
        return index

    def _announce(self, caller: JsonObject, function: ProgramFunction, call: ProgramCall) -> tuple[Call, int]:
        """Add the items of a call. Returns the call, and the index of the item that gets its result."""
        ledger, response_id = self.state.output_ledger, self._response_id
        index, arguments = len(ledger.output), _written(call)
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


def functions_of(item: JsonObject) -> list[ProgramFunction]:
    """The functions that a program may call. Raises ValidationError for an item that this server has not made."""
    return [ProgramFunction.model_validate(one) for one in item[CALL].get(FUNCTIONS, ())]


def check_as_made(item: JsonObject) -> None:
    """Raises ValueError for a stored program that this server cannot have made.

    Nothing of it is in the output then: a malformed item there would fail the workflow's tasks without end.
    """
    functions_of(item)
    if not all(isinstance(item.get(name), str) for name in ("call_id", "code")):
        raise ValueError("a stored program has no code or no call id")


def answer_of(number: int, outcome: Outcome) -> ProgramAnswer:
    """The outcome of a call as the program gets it."""
    return ProgramAnswer(number=number, output=text_for_program(outcome.output), failed=outcome.failed)


def _written(call: ProgramCall) -> str:
    return json.dumps(call.arguments, ensure_ascii=False)
