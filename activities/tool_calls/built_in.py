"""The activity of built-in tools: a call runs through its engine (`open_responses/tool_use/built_in_engine.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError
from temporalio import activity

from activities.tool_calls.runner import ToolRunner
from open_responses.context.excerpt import MAX_RESULT_CHARACTERS, excerpt
from open_responses.contracts import ToolContext, ToolError, ToolOutput
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.names import CALL_BUILT_IN_TOOL
from open_responses.loop.payloads.tool_calls import BuiltInCallInput, ToolResult
from open_responses.schema.built_in_items import CITATIONS, MAX_CITATIONS
from open_responses.schema.validation import complaint_of
from open_responses.tool_use.built_in_engine import BuiltInEngine, BuiltInResult, BuiltInRun
from open_responses.tool_use.json_safety import writing_problem

# Of the members of an item, which every client of the response reads.
_MAX_ITEM_CHARACTERS = 4_000_000


@dataclass(slots=True)
class BuiltInToolActivity:
    """The activity of every built-in tool. The engines are by the tools' names."""

    runner: ToolRunner
    engines: Mapping[str, BuiltInEngine]

    @activity.defn(name=CALL_BUILT_IN_TOOL)
    async def call_built_in_tool(self, call: BuiltInCallInput) -> ToolResult:
        """Run a call. If the configuration no longer has the tool, the call fails with a message to the model."""
        engine = self.engines.get(call.tool)
        if engine is None:
            return ToolResult(outcome="failed", output=f"The tool {call.tool!r} is gone: this server has it no more.")
        ended: list[BuiltInResult] = []

        async def run(context: ToolContext) -> ToolOutput:
            given = BuiltInRun(
                context=context,
                function=call.function,
                arguments=context.arguments,
                settings=call.settings,
                item=call.item,
                ordinal=call.ordinal,
            )
            result = _checked(await engine.run(given))
            ended.append(result)
            return _with_instructions(result)

        result = await self.runner.run(call.context, call.tool, call.arguments, run)
        if result.outcome != "done" or not ended:
            # Without an engine's result, a middleware has answered in its place.
            return result
        last = ended[-1]
        return result.model_copy(
            update={
                "outcome": "failed" if last.failed else "done",
                "item": last.item,
                "citations": list(last.citations),
            }
        )


def _checked(result: BuiltInResult) -> BuiltInResult:
    """Raises ToolError for members that no item can have."""
    shown: JsonObject = {"item": result.item, "citations": list(result.citations)}
    problem = writing_problem(shown)
    if problem is not None:
        raise ToolError(f"The tool has run, but its result cannot be shown: {problem}")
    try:
        CITATIONS.validate_python(shown["citations"])
    except ValidationError as error:
        problem = complaint_of(error).message
        raise ToolError(f"The tool has run, but one of its sources is invalid: {problem}") from error
    if len(json.dumps(shown)) > _MAX_ITEM_CHARACTERS:
        raise ToolError("The tool has run, but its result is too large. Ask for less.")
    if len(result.citations) > MAX_CITATIONS:
        raise ToolError(f"The tool has run, but its result has more than {MAX_CITATIONS} sources.")
    return result


def _with_instructions(result: BuiltInResult) -> ToolOutput:
    """The output, and how to cite it, if there is something to cite."""
    output = result.output
    output = excerpt(output, MAX_RESULT_CHARACTERS) if isinstance(output, str) else output
    if not result.citations or result.failed:
        return output
    if isinstance(output, str):
        return f"{output}\n\n{result.how_to_cite}"
    return [*output, {"type": "input_text", "text": result.how_to_cite}]
