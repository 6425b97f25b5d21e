"""The payloads of programs that a model writes and that call tools."""

from __future__ import annotations

from typing import Literal

from open_responses.json_types import JsonObject
from open_responses.loop.payloads.tool_calls import ToolContextPayload, ToolOutcome
from open_responses.schema.payload import Payload


class ProgramFunction(Payload):
    """A function that a program may call: the tool behind it, and its parameters in their order.

    A call of a `client` function waits for the client's next request.
    """

    name: str
    kind: Literal["hosted", "mcp", "built_in", "client"]
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


class PendingCall(Payload):
    """A call for which a program waits while no response runs.

    `call_id` is that of a call that the client answers, `approval_request_id` that of a call about which a person
    decides. `number` is that of the program's call.
    """

    number: int
    call_id: str | None = None
    approval_request_id: str | None = None


class WaitingProgram(Payload):
    """A program that waits for the next request, as its item keeps it (`WAITING`).

    Attributes:
        state: See `ProgramStepInput`.
        answers: The results of those calls that have ended.
        pending: The others.
        printed: What it has printed so far.
        calls: The number of its calls so far.
    """

    state: str
    answers: list[ProgramAnswer]
    pending: list[PendingCall]
    printed: str
    calls: int


class ResumedProgram(Payload):
    """A program that goes on in this response, which has brought what it waited for.

    Attributes:
        item: The program's item in the response that made it.
        waiting: The program. Its answers are those of the client as well, and what is pending are the calls about which
            this response's request has a decision.
    """

    item: JsonObject
    waiting: WaitingProgram
