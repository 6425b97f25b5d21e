"""The activity of programs that call tools: runs a program up to its next calls.

What this prevents: a program that has to begin again, with all of its calls, because its worker died. Its state is in
the workflow's history after each step, so any worker goes on. The state is sealed, because the interpreter trusts it.
"""

from __future__ import annotations

from dataclasses import dataclass

import zstandard
from temporalio import activity

from activities.tool_calls.built_in import BuiltInToolActivity
from activities.tool_calls.runner import ToolRunner
from activities.tools.code_interpreter.programs import Answer, Programs, Step, is_async
from open_responses.contracts import ToolContext, ToolError, ToolOutput
from open_responses.ids import position_of
from open_responses.io.sealing import SealBroken, Sealer
from open_responses.loop.payloads.names import RUN_PROGRAM_STEP
from open_responses.loop.payloads.programs import ProgramCall, ProgramStepInput, ProgramStepResult
from open_responses.tool_use.code_functions import PROGRAMS

_GONE = "This server no longer runs programs: [programmatic_tool_calling] was removed from its configuration."
_LARGEST_BYTES = 1 << 30


@dataclass(slots=True)
class ProgramActivity:
    """Runs steps, with the engine that `built_in` has for them. The runner has no middlewares: each call of the program
    passes them."""

    runner: ToolRunner
    sealer: Sealer
    built_in: BuiltInToolActivity

    @activity.defn(name=RUN_PROGRAM_STEP)
    async def run_program_step(self, given: ProgramStepInput) -> ProgramStepResult:
        """Run a step. Running it twice does no harm: the program's calls are made by the workflow."""
        programs = self.built_in.engines.get(PROGRAMS)
        if not isinstance(programs, Programs):
            return ProgramStepResult(outcome="failed", printed=_GONE, failed=True)
        steps: list[Step] = []

        async def run(_: ToolContext) -> ToolOutput:
            steps.append(await self._step(programs, given))
            return ""

        ran = await self.runner.run(given.context, PROGRAMS, {}, run)
        if ran.outcome != "done" or not steps:
            return ProgramStepResult(
                outcome=ran.outcome, printed=str(ran.output), reason=ran.reason, attempts=ran.attempts, failed=True
            )
        step = steps[-1]
        return ProgramStepResult(
            outcome="done",
            printed=step.printed,
            calls=[
                ProgramCall(number=one.number, function=one.function, arguments=one.arguments) for one in step.calls
            ],
            state=None if step.state is None else self._sealed(step.state, given),
            failed=step.failed,
            attempts=ran.attempts,
        )

    async def _step(self, programs: Programs, given: ProgramStepInput) -> Step:
        if given.state is None:
            return await programs.begin(given.code, given.functions)
        return await programs.go_on(
            self._opened(given.state, given),
            [Answer(one.number, one.output, one.failed) for one in given.answers],
            given.functions,
            is_async=is_async(given.code),
            printed_bytes=given.printed_bytes,
        )

    def _sealed(self, state: bytes, given: ProgramStepInput) -> str:
        return self.sealer.seal(zstandard.ZstdCompressor(level=3).compress(state), bound_to=_bound_to(given))

    def _opened(self, state: str, given: ProgramStepInput) -> bytes:
        try:
            packed = self.sealer.unseal(state, bound_to=_bound_to(given))
            return zstandard.ZstdDecompressor().decompress(packed, max_output_size=_LARGEST_BYTES)
        except (SealBroken, zstandard.ZstdError) as error:
            raise ToolError(f"The program was stopped: its state cannot be opened ({error}).") from None


def _bound_to(given: ProgramStepInput) -> str:
    context = given.context
    # A program that waited for the client goes on in another response than the one that made it.
    place = position_of(context.call_id)
    made_by = context.response_id if place is None else place[0]
    return f"program:{context.tenant}:{made_by}:{context.call_id}"
