"""Runs a program that calls tools, up to the calls for which it waits.

The program's state is bytes, from which any worker goes on. So a step needs no process that waits: the tools run as
activities of their own, and the next step gets their results.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activities.tools.code_interpreter.code import joined, shown_error, why_crashed
from activities.tools.code_interpreter.last_value import with_last_value
from activities.tools.code_interpreter.sandbox import Printed, Sandbox
from open_responses.contracts import ToolError
from open_responses.json_types import JsonObject
from open_responses.tool_use.built_in_engine import BuiltInResult, BuiltInRun
from open_responses.tool_use.json_safety import writing_problem

if TYPE_CHECKING:
    from pydantic_monty import AsyncMontySession
    from pydantic_monty import ExternalSettledResult as Settled

_AWAIT = re.compile(r"\bawait\b")
_MOST_ARGUMENT_BYTES = 100_000


@dataclass(frozen=True, slots=True)
class Begun:
    """A call that the program waits for. `number` counts the program's calls, from 0."""

    number: int
    function: str
    arguments: JsonObject


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call. `failed`: the program gets an exception with this text."""

    number: int
    output: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of a step.

    Attributes:
        printed: What the program has printed in this step, and its error's traceback.
        calls: The calls that it waits for; empty if the program has ended.
        state: The state of a program that waits.
        failed: The program has ended with an error.
    """

    printed: str
    calls: Sequence[Begun] = ()
    state: bytes | None = None
    failed: bool = False


class Programs:
    """Runs steps of programs.

    Args:
        sandbox: The processes.
        most_parallel: The most calls that a program may wait for at a time.
    """

    def __init__(self, sandbox: Sandbox, *, most_parallel: int) -> None:
        self._sandbox = sandbox
        self._most_parallel = most_parallel

    async def run(self, call: BuiltInRun) -> BuiltInResult:
        """Refuse the call: a program runs in steps (`activities/tool_calls/programs.py`)."""
        raise ToolError(f"{call.function!r} cannot be run as one call.")

    async def begin(self, code: str, functions: Mapping[str, Sequence[str]]) -> Step:
        """Run a program up to its first calls. `functions` has the parameters of each function, in their order."""

        prepared = await asyncio.to_thread(with_last_value, code)

        async def start(session: AsyncMontySession, printed: Printed) -> object:
            return await session.feed_start(prepared, print_callback=printed)

        return await self._step(start, functions, is_async=is_async(code), earlier_bytes=0)

    async def go_on(
        self,
        state: bytes,
        answers: Sequence[Answer],
        functions: Mapping[str, Sequence[str]],
        *,
        is_async: bool,
        printed_bytes: int,
    ) -> Step:
        """Run a program on with the results of all calls that it waits for.

        Args:
            state: The state that the step before left. A foreign one is code that the interpreter trusts.
            answers: The results.
            functions: As at the beginning.
            is_async: Whether the program's code has an `await`.
            printed_bytes: The length of what the program has printed so far.
        """
        settled = {answer.number: _settled(answer) for answer in answers}

        async def resume(session: AsyncMontySession, printed: Printed) -> object:
            snapshot: Any = await session.load_snapshot(state, print_callback=printed)
            if is_async:
                return await snapshot.resume({number: settled[number] for number in snapshot.pending_call_ids})
            return await snapshot.resume(settled[snapshot.call_id])

        return await self._step(resume, functions, is_async=is_async, earlier_bytes=printed_bytes)

    async def _step(
        self, enter: Any, functions: Mapping[str, Sequence[str]], *, is_async: bool, earlier_bytes: int
    ) -> Step:
        from pydantic_monty import MontyCrashedError, MontyError, MontyRuntimeError, MontySyntaxError

        limits = self._sandbox.limits
        printed = Printed(limits.output_bytes, earlier_bytes)
        try:
            async with self._sandbox.session() as session:
                try:
                    snapshot = await enter(session, printed)
                    calls, snapshot = await self._until_it_waits(snapshot, functions, is_async=is_async)
                except (MontyRuntimeError, MontySyntaxError) as error:
                    return Step(joined(printed.text, shown_error(error, limits)), failed=True)
                if not calls:
                    return Step(printed.text)
                state = snapshot.dump()
        except MontyCrashedError as error:
            return Step(joined(printed.text, why_crashed(error.timed_out, limits)), failed=True)
        except MontyError as error:
            return Step(joined(printed.text, f"The interpreter stopped the program: {str(error)[:2000]}"), failed=True)
        if len(state) > limits.state_bytes:
            too_large = (
                f"The program was stopped: its variables take {len(state)} bytes while it waits for a call, and at "
                f"most {limits.state_bytes} are kept."
            )
            return Step(joined(printed.text, too_large), failed=True)
        return Step(printed.text, calls, state)

    async def _until_it_waits(
        self, snapshot: Any, functions: Mapping[str, Sequence[str]], *, is_async: bool
    ) -> tuple[list[Begun], Any]:
        """Run until the program has ended, or has calls without which it cannot go on."""
        from pydantic_monty import AsyncFunctionSnapshot, AsyncFutureSnapshot, AsyncNameLookupSnapshot

        begun: list[Begun] = []
        while True:
            if isinstance(snapshot, AsyncFutureSnapshot):
                return begun, snapshot
            if isinstance(snapshot, AsyncNameLookupSnapshot):
                snapshot = await snapshot.resume()
                continue
            if not isinstance(snapshot, AsyncFunctionSnapshot):
                return [], snapshot
            if snapshot.is_os_function:
                snapshot = await snapshot.resume_not_handled()
                continue
            call = self._call(snapshot, functions, len(begun))
            if not isinstance(call, Begun):
                snapshot = await snapshot.resume(call)
            elif is_async:
                begun.append(call)
                snapshot = await snapshot.resume({"future": ...})
            else:
                return [call], snapshot

    def _call(self, snapshot: Any, functions: Mapping[str, Sequence[str]], waiting: int) -> Begun | Settled:
        """The call, or the exception that the program gets in its place."""
        name = snapshot.function_name
        if name not in functions:
            known = ", ".join(functions) or "none"
            return {"exc_type": "NameError", "message": f"name {name!r} is not defined. Functions that exist: {known}"}
        if waiting >= self._most_parallel:
            return {
                "exc_type": "RuntimeError",
                "message": f"at most {self._most_parallel} calls may run at a time: await them in smaller groups",
            }
        names = functions[name]
        if len(snapshot.args) > len(names):
            given = f"{name}() takes {len(names)} arguments ({', '.join(names)}), but got {len(snapshot.args)}"
            return {"exc_type": "TypeError", "message": given}
        arguments = dict(zip(names, snapshot.args, strict=False))
        twice = [key for key in snapshot.kwargs if key in arguments]
        if twice:
            return {"exc_type": "TypeError", "message": f"{name}() got {twice[0]!r} twice"}
        arguments |= snapshot.kwargs
        problem = _json_problem(arguments)
        if problem is not None:
            return {"exc_type": "TypeError", "message": f"{name}() takes arguments that are JSON: {problem}"}
        return Begun(snapshot.call_id, name, json.loads(json.dumps(arguments)))


def is_async(code: str) -> bool:
    """Whether a program awaits its calls. One without `await` gets each result from the call itself."""
    return bool(_AWAIT.search(code))


def _settled(answer: Answer) -> Settled:
    if answer.failed:
        return {"exc_type": "RuntimeError", "message": answer.output}
    return {"return_value": _value(answer.output)}


def _value(output: str) -> object:
    """The result as the program gets it: the value, if the output is a JSON object or list, else the text."""
    if output.lstrip()[:1] not in ("{", "["):
        return output
    try:
        return json.loads(output)
    except (ValueError, RecursionError):
        return output


def _json_problem(arguments: Mapping[str, object]) -> str | None:
    try:
        written = json.dumps(arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return str(error)
    if len(written) > _MOST_ARGUMENT_BYTES:
        return f"they are longer than {_MOST_ARGUMENT_BYTES} characters"
    return writing_problem(json.loads(written))
