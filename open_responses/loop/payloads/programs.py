"""The payloads of programs that a model writes and that call tools."""

from __future__ import annotations

from typing import Literal

from open_responses.json_types import JsonObject
from open_responses.loop.payloads.tool_calls import ToolContextPayload, ToolOutcome
from open_responses.schema.payload import Payload


class ProgramFunction(Payload):
    """A function that a program may call: the tool behind it, and its parameters in their order."""

    name: str
    kind: Literal["hosted", "mcp", "built_in"]
    tool: str
    server_label: str = ""
    parameters: list[str] = []
    needs_approval: bool = False


class ProgramCall(Payload):
    """A call for which a program waits. `number` counts the program's calls, from 0."""

    number: int
    function: str
    arguments: JsonObject


class ProgramAnswer(Payload):
    """The result of a call. `failed`: the program gets an exception with the text `output`."""

    number: int
    output: str
    failed: bool = False


class ProgramStepInput(Payload):
    """The input of the activity that runs a program up to its next calls.

    Attributes:
        code: The program.
        functions: The parameters of the functions that it may call, by name.
        state: The state that the step before left, sealed; None at the beginning.
        answers: The results of the calls for which it waits.
        printed_bytes: The length of what it has printed so far.
        context: The response and the call of the program.
    """

    code: str
    functions: dict[str, list[str]]
    state: str | None = None
    answers: list[ProgramAnswer] = []
    printed_bytes: int = 0
    context: ToolContextPayload


class ProgramStepResult(Payload):
    """The outcome of a step.

    Attributes:
        outcome: `done`: the step has run. The others are those of `ToolResult`.
        printed: What the program has printed in this step, and its error.
        calls: The calls for which it waits; empty if the program has ended.
        state: The state of a program that waits, sealed.
        failed: The program has ended with an error.
        reason: See `ToolResult`.
        attempts: How often the activity began.
    """

    outcome: ToolOutcome
    printed: str = ""
    calls: list[ProgramCall] = []
    state: str | None = None
    failed: bool = False
    reason: str | None = None
    attempts: int = 1


class SuspendedProgram(Payload):
    """A program between two steps, which the next run of the workflow goes on with.

    Attributes:
        index: The output index of its item.
        state: See `ProgramStepInput`.
        answers: See `ProgramStepInput`.
        printed: What it has printed so far.
        calls: The number of its calls so far.
    """

    index: int
    state: str | None
    answers: list[ProgramAnswer]
    printed: str
    calls: int
