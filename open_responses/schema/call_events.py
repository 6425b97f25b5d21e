"""The events about calls: of the client's tools, of MCP servers, and of the tools that OpenAI runs.

`stream_events.py` has all other events, and the union of all.
"""

from __future__ import annotations

from typing import Literal

from open_responses.schema.event_members import Event, OfItem, Padded
from open_responses.schema.output_items import Count

# --- calls


class ResponseFunctionCallArgumentsDeltaEvent(OfItem, Padded):
    """The next piece of a function call's arguments."""

    type: Literal["response.function_call_arguments.delta"]
    delta: str


class ResponseFunctionCallArgumentsDoneEvent(OfItem):
    """The whole arguments of a function call."""

    type: Literal["response.function_call_arguments.done"]
    arguments: str


class ResponseCustomToolCallInputDeltaEvent(OfItem, Padded):
    """The next piece of a custom tool call's input."""

    type: Literal["response.custom_tool_call_input.delta"]
    delta: str


class ResponseCustomToolCallInputDoneEvent(OfItem):
    """The whole input of a custom tool call."""

    type: Literal["response.custom_tool_call_input.done"]
    input: str


class _OfCommand(Event):
    output_index: Count
    command_index: Count


class ResponseShellCallCommandAddedEvent(_OfCommand):
    """A command of a shell call begins."""

    type: Literal["response.shell_call_command.added"]
    command: str


class ResponseShellCallCommandDeltaEvent(_OfCommand, Padded):
    """The text of a command."""

    type: Literal["response.shell_call_command.delta"]
    delta: str


class ResponseShellCallCommandDoneEvent(_OfCommand):
    """The whole command."""

    type: Literal["response.shell_call_command.done"]
    command: str


class ResponseMcpCallArgumentsDeltaEvent(OfItem, Padded):
    """The next piece of an MCP call's arguments."""

    type: Literal["response.mcp_call_arguments.delta"]
    delta: str


class ResponseMcpCallArgumentsDoneEvent(OfItem):
    """The whole arguments of an MCP call."""

    type: Literal["response.mcp_call_arguments.done"]
    arguments: str


class ResponseMcpCallInProgressEvent(OfItem):
    """The server calls the tool."""

    type: Literal["response.mcp_call.in_progress"]


class ResponseMcpCallCompletedEvent(OfItem):
    """The tool returned a result."""

    type: Literal["response.mcp_call.completed"]


class ResponseMcpCallFailedEvent(OfItem):
    """The call failed, or was cut off before it ran."""

    type: Literal["response.mcp_call.failed"]


class ResponseMcpListToolsInProgressEvent(OfItem):
    """The server asks an MCP server for its tools."""

    type: Literal["response.mcp_list_tools.in_progress"]


class ResponseMcpListToolsCompletedEvent(OfItem):
    """The MCP server returned its tools."""

    type: Literal["response.mcp_list_tools.completed"]


class ResponseMcpListToolsFailedEvent(OfItem):
    """The MCP server did not return its tools."""

    type: Literal["response.mcp_list_tools.failed"]


# --- tools that OpenAI runs


class ResponseWebSearchCallInProgressEvent(OfItem):
    """A web search begins."""

    type: Literal["response.web_search_call.in_progress"]


class ResponseWebSearchCallSearchingEvent(OfItem):
    """The provider searches the web."""

    type: Literal["response.web_search_call.searching"]


class ResponseWebSearchCallCompletedEvent(OfItem):
    """The web search has ended."""

    type: Literal["response.web_search_call.completed"]


class ResponseFileSearchCallInProgressEvent(OfItem):
    """A file search begins."""

    type: Literal["response.file_search_call.in_progress"]


class ResponseFileSearchCallSearchingEvent(OfItem):
    """The provider searches the files."""

    type: Literal["response.file_search_call.searching"]


class ResponseFileSearchCallCompletedEvent(OfItem):
    """The file search has ended."""

    type: Literal["response.file_search_call.completed"]


class ResponseCodeInterpreterCallInProgressEvent(OfItem):
    """A call of the code interpreter begins."""

    type: Literal["response.code_interpreter_call.in_progress"]


class ResponseCodeInterpreterCallInterpretingEvent(OfItem):
    """The provider runs the code."""

    type: Literal["response.code_interpreter_call.interpreting"]


class ResponseCodeInterpreterCallCompletedEvent(OfItem):
    """The code has run."""

    type: Literal["response.code_interpreter_call.completed"]


class ResponseImageGenerationCallInProgressEvent(OfItem):
    """A call of the image generation begins."""

    type: Literal["response.image_generation_call.in_progress"]


class ResponseImageGenerationCallGeneratingEvent(OfItem):
    """The provider generates the image."""

    type: Literal["response.image_generation_call.generating"]


class ResponseImageGenerationCallCompletedEvent(OfItem):
    """The image is generated."""

    type: Literal["response.image_generation_call.completed"]


class ResponseImageGenerationCallPartialImageEvent(OfItem):
    """A preview of the image. `partial_image_index` counts from 0."""

    type: Literal["response.image_generation_call.partial_image"]
    partial_image_index: Count
    partial_image_b64: str
    background: str | None
    output_format: str | None
    quality: str | None
    size: str | None


class ResponseCodeInterpreterCallCodeDeltaEvent(OfItem, Padded):
    """The next piece of the code that will run."""

    type: Literal["response.code_interpreter_call_code.delta"]
    delta: str


class ResponseCodeInterpreterCallCodeDoneEvent(OfItem):
    """The whole code."""

    type: Literal["response.code_interpreter_call_code.done"]
    code: str
