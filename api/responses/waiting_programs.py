"""The programs that a request goes on with: they have waited for the client's outputs, or for a person's approval.

What this prevents: a program that calls tools which the request does not bring, or that goes on without an answer. A
program's state and its results are those that this server has stored: nothing of them comes from the client but the
outputs of its own functions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from api.lookup import OwnedRecords
from api.responses.decisions import has_tool_again
from api.responses.named_approvals import listed_tools, mcp_server_of
from open_responses.config import Config
from open_responses.errors import InvalidRequest, NotFound
from open_responses.ids import position_of
from open_responses.io.store.records import Record
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.approvals import Decision
from open_responses.loop.payloads.programs import ProgramAnswer, ProgramFunction, ResumedProgram, WaitingProgram
from open_responses.schema.built_in_items import CALL, FUNCTIONS, WAITING
from open_responses.schema.items import FunctionCallOutput
from open_responses.schema.mcp_tool import HOSTED_LABEL, McpTool
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import FunctionTool, ProviderTool
from open_responses.tool_use.allowed_calls import choice_allows
from open_responses.tool_use.built_in import built_in_of, built_in_of_label
from open_responses.tool_use.code_functions import PROGRAMS
from open_responses.tool_use.mcp_functions import is_read_only
from open_responses.tool_use.programs import clients_for_programs, text_for_program

_REMOVED = "This server no longer runs programs, so the call was not made."


@dataclass(frozen=True, slots=True)
class StoredProgram:
    """A program that waits for the request, and the response that has its item.

    `listed` are the tools of the MCP servers that it may call, by label, as its model was told of them.
    """

    item: JsonObject
    waiting: WaitingProgram
    asking: Record
    listed: Mapping[str, Sequence[JsonObject]]


async def stored_programs(
    records: OwnedRecords,
    asked: CreateResponse,
    output: Sequence[JsonObject],
    conversation: Sequence[JsonObject] = (),
) -> tuple[StoredProgram, ...]:
    """The programs that wait at the end of what a request continues. Raises ContextTooLarge.

    Args:
        records: The responses that the request names.
        asked: The request.
        output: The items of the conversation, or the output of the response before.
        conversation: The items of the conversation that the request names.
    """
    found: dict[object, JsonObject] = {}
    for item in output:
        if item["type"] == "program" and WAITING in (item.get(CALL) or {}):
            found[item.get("call_id")] = item
        elif item["type"] in ("program", "program_output"):
            found.pop(item.get("call_id"), None)
    programs = []
    for item in found.values():
        asking = await _response_of(records, item)
        if asking is None:
            continue
        try:
            waiting = WaitingProgram.model_validate(item[CALL][WAITING])
        except ValidationError:
            continue
        labels = {one.server_label for one in _functions(item) if one.kind == "mcp"}
        listed = {
            label: await listed_tools(records, asked, conversation, asking, label, "previous_response_id")
            for label in labels
            if mcp_server_of(asked, label) is not None
        }
        programs.append(StoredProgram(item, waiting, asking, listed))
    return tuple(programs)


def _functions(item: JsonObject) -> list[ProgramFunction]:
    return [ProgramFunction.model_validate(one) for one in item[CALL].get(FUNCTIONS, ())]


async def _response_of(records: OwnedRecords, item: JsonObject) -> Record | None:
    """The stored response that made a program's item; None if there is none.

    A client may have written the item, in a conversation of an earlier version.
    """
    place = position_of(item["id"])
    if place is None:
        return None
    try:
        asking = await records.get(place[0], "previous_response_id")
    except NotFound:
        return None
    return asking if item in asking.output else None


def resumed_programs(
    config: Config,
    asked: CreateResponse,
    programs: Sequence[StoredProgram],
    decisions: Sequence[Decision],
    built_in: Collection[str],
) -> list[ResumedProgram]:
    """The programs as they go on. That the input answers each call of the client was checked.

    `built_in` are the built-in tools of the request that this server runs.

    Raises InvalidRequest for a request without the tool, and for one that does not decide about each approval.
    """
    if not programs:
        return []
    if is_removed(config):
        # The worker ends each program with an output that says so, and the conversation goes on.
        return [_ended_by_the_removal(one) for one in programs]
    if PROGRAMS not in built_in:
        raise InvalidRequest(
            "The outputs that you send are for a program, which needs 'programmatic_tool_calling'. Add it to 'tools'.",
            param="tools",
            code="missing_tool",
        )
    outputs = {item.call_id: item for item in asked.input_items() if isinstance(item, FunctionCallOutput)}
    decided = {decision.approval_request_id for decision in decisions}
    return [_resumed(config, asked, one, outputs, decided, built_in) for one in programs]


def is_removed(config: Config) -> bool:
    """Whether this server no longer runs programs."""
    return PROGRAMS not in config.built_in_tools


def decisions_without_programs(decisions: Sequence[Decision], programs: Sequence[StoredProgram]) -> list[Decision]:
    """The decisions that are not about calls of programs."""
    asked = {call.approval_request_id for one in programs for call in one.waiting.pending}
    return [one for one in decisions if one.approval_request_id not in asked]


def _ended_by_the_removal(program: StoredProgram) -> ResumedProgram:
    made = {name: value for name, value in program.item[CALL].items() if name not in (WAITING, FUNCTIONS, "output")}
    answers = [ProgramAnswer(number=one.number, output=_REMOVED, failed=True) for one in program.waiting.pending]
    update = {"answers": [*program.waiting.answers, *answers], "pending": []}
    return ResumedProgram(item={**program.item, CALL: made}, waiting=program.waiting.model_copy(update=update))


def _resumed(
    config: Config,
    asked: CreateResponse,
    program: StoredProgram,
    outputs: dict[str, FunctionCallOutput],
    decided: Collection[str],
    built_in: Collection[str],
) -> ResumedProgram:
    answers, pending = list(program.waiting.answers), []
    for call in program.waiting.pending:
        output = outputs.get(call.call_id or "")
        if call.call_id is not None and output is not None:
            answers.append(_answer(call.number, output))
        elif call.approval_request_id is not None and call.approval_request_id in decided:
            pending.append(call)
        else:
            raise InvalidRequest(
                f"A program waits for your answer to {call.approval_request_id or call.call_id!r}. Send all answers "
                "for which it waits in one request.",
                param="input",
                code="missing_tool_output",
            )
    functions = _functions(program.item)
    kept = [found for one in functions if (found := _again(config, asked, program, one, built_in)) is not None]
    made = {name: value for name, value in program.item[CALL].items() if name not in (WAITING, "output")}
    item = {**program.item, CALL: {**made, FUNCTIONS: [one.model_dump(mode="json") for one in kept]}}
    return ResumedProgram(
        item=item, waiting=program.waiting.model_copy(update={"answers": answers, "pending": pending})
    )


def _answer(number: int, item: FunctionCallOutput) -> ProgramAnswer:
    given = item.output
    output = given if isinstance(given, str) else [part.model_dump(mode="json", exclude_unset=True) for part in given]
    return ProgramAnswer(number=number, output=text_for_program(output), failed=item.status == "incomplete")


def _again(
    config: Config, asked: CreateResponse, program: StoredProgram, function: ProgramFunction, built_in: Collection[str]
) -> ProgramFunction | None:
    """The function, if the request brings its tool again and allows the call: tools are not inherited along a chain.

    It needs an approval if it did, and if the request or the configuration asks for one now.
    """
    if function.kind == "client":
        allowed = choice_allows(asked.tool_choice, HOSTED_LABEL, function.tool)
        return function if allowed and any(one.name == function.tool for one in clients_for_programs(asked)) else None
    label = HOSTED_LABEL if function.kind == "hosted" else function.server_label
    if not choice_allows(asked.tool_choice, label, function.tool) or not _may_be_called(asked, function):
        return None
    if not has_tool_again(config, asked, program.asking, label, function.tool, built_in):
        return None
    server = mcp_server_of(asked, label)
    if server is None:
        asks = _is_guarded(config, function)
    else:
        read_only = is_read_only(program.listed.get(label, ()), function.tool)
        if not server.offers(function.tool, read_only=read_only):
            return None
        asks = server.needs_approval(function.tool, read_only=read_only)
    return function.model_copy(update={"needs_approval": function.needs_approval or asks})


def _is_guarded(config: Config, function: ProgramFunction) -> bool:
    """Whether the configuration asks for an approval of each call."""
    if function.kind == "hosted":
        tool = config.tool(function.tool)
        return tool is not None and tool.require_approval
    row = built_in_of_label(function.server_label)
    table = None if row is None else config.built_in_tools.get(row.name)
    return table is not None and table.require_approval


def _may_be_called(asked: CreateResponse, function: ProgramFunction) -> bool:
    """Whether the `allowed_callers` of the tool let programs call it."""
    row = built_in_of_label(function.server_label)
    for tool in asked.tools or []:
        callers: object = None
        if isinstance(tool, McpTool):
            callers = tool.allowed_callers if tool.server_label == function.server_label else None
        elif isinstance(tool, FunctionTool):
            callers = tool.allowed_callers if (function.kind, function.tool) == ("hosted", tool.name) else None
        elif isinstance(tool, ProviderTool) and row is not None and built_in_of(tool.type) is row:
            callers = (tool.model_extra or {}).get("allowed_callers")
        if isinstance(callers, list) and "programmatic" not in callers:
            return False
    return True
