"""The client's tools of a model turn, and the function that stands for each where the provider has functions alone.

What this prevents: a client that is refused because its tools are OpenAI's. A provider of OpenAI's kind gets the tools
as they were sent (`native_tools`). For any other provider each tool becomes a function: a custom tool takes its text in
one string, the functions of a namespace get names of their own, and deferred tools are loaded at once. The name of a
function is the same in every turn, so a call that is replayed names the function that the model knows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from open_responses.json_types import JsonObject
from open_responses.schema.client_items import AdditionalTools, ToolSearchOutput
from open_responses.schema.client_tools import ApplyPatchTool, CustomTool, Grammar, LocalShellTool, ShellTool
from open_responses.schema.items import InputItem
from open_responses.schema.tools import FunctionTool, NamespaceTool, ProviderTool, Tool, ToolSearchTool
from open_responses.tool_use.custom_input import INPUT

Form: TypeAlias = Literal["function", "custom", "tool_search", "shell", "local_shell", "apply_patch"]
"""The kind of the client's tool; it decides the item of its calls."""

Key: TypeAlias = tuple[Form, str | None, str]
"""(kind, namespace, name) of a tool. A tool without a name has its type's."""

_MAX_NAME = 64
# Gemini's names begin with a letter or an underscore.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")
_OTHERS = re.compile(r"[^a-zA-Z0-9_-]")
_DIGEST_CHARACTERS = 8
_MAX_REPEATED = 100_000
"""Characters of a namespace's description in all its functions together. A longer one stands in the first alone."""


@dataclass(frozen=True, slots=True)
class ClientTool:
    """One tool of the client. `shown` is the name of the function that stands for it."""

    form: Form
    name: str
    namespace: str | None
    shown: str
    function: FunctionTool


def offered_tools(tools: Iterable[Tool], items: Iterable[InputItem]) -> list[Tool]:
    """The tools of a request, and those that the items of its conversation add. `items` are in their order."""
    offered = list(tools)
    for item in items:
        if isinstance(item, AdditionalTools | ToolSearchOutput):
            offered += item.tools
    return offered


def client_tools(offered: Iterable[Tool], taken: Collection[str], *, is_native: bool) -> list[ClientTool]:
    """The client's tools. A later tool of the same kind, name and namespace replaces the one before it.

    Args:
        offered: The tools, as `offered_tools` has them.
        taken: Names that tools of this server have.
        is_native: The provider has OpenAI's tools itself, and with them programs that may call a tool.
    """
    found: dict[Key, FunctionTool] = {}
    for tool in offered:
        inner_tools: Sequence[Tool] = tool.tools if isinstance(tool, NamespaceTool) else (tool,)
        namespace, about = (tool.name, tool.description or "") if isinstance(tool, NamespaceTool) else (None, "")
        is_repeated = len(about) * len(inner_tools) <= _MAX_REPEATED
        for number, inner in enumerate(inner_tools):
            if not is_native and not _is_for_the_model(inner):
                continue
            made = _function_of(inner, about if is_repeated or number == 0 else "")
            if made is not None:
                form, function = made
                found[form, namespace, function.name] = function
    used = {name for form, namespace, name in found if namespace is None and form == "function"} | set(taken)
    tools: list[ClientTool] = []
    for (form, namespace, name), function in found.items():
        shown = name
        if namespace is not None or form != "function":
            shown = shown_name(namespace, name, used)
            used.add(shown)
        tools.append(ClientTool(form, name, namespace, shown, function.model_copy(update={"name": shown})))
    return tools


def shown_name(namespace: str | None, name: str, taken: Collection[str] = ()) -> str:
    """The name of the function for a tool: at most 64 characters that every provider takes, and not in `taken`."""
    plain = name if namespace is None else f"{namespace}__{name}"
    plain = _OTHERS.sub("_", plain)
    if _NAME.fullmatch(plain) and plain not in taken:
        return plain
    start = plain if plain[:1].isalpha() or plain[:1] == "_" else f"_{plain}"
    text = f"{namespace or ''}\n{name}"
    while True:
        digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        shown = f"{start[: _MAX_NAME - 1 - _DIGEST_CHARACTERS]}_{digest}"
        if shown not in taken:
            return shown
        # A tool of another kind has the same name and namespace, or a name that looks like this one.
        text = f"{text}\n"


def native_tools(tools: Sequence[Tool]) -> list[JsonObject]:
    """The client's tools that are no plain functions, as they were sent, for a provider that has them itself."""
    kinds = CustomTool | NamespaceTool | ToolSearchTool | ShellTool | LocalShellTool | ApplyPatchTool
    return [tool.model_dump(mode="json", exclude_unset=True) for tool in tools if isinstance(tool, kinds)]


def provider_tools(offered: Iterable[Tool]) -> list[JsonObject]:
    """The provider's built-in tools, as they were sent."""
    return [tool.model_dump(mode="json", exclude_unset=True) for tool in offered if isinstance(tool, ProviderTool)]


# --- the function for each kind


def _function_of(tool: Tool, about: str) -> tuple[Form, FunctionTool] | None:
    """(kind, function); None for a tool that no function stands for. `about` is the namespace's description."""
    match tool:
        case FunctionTool():
            words = "\n\n".join(part for part in (about, tool.description) if part)
            function = _function(tool.name, words or None, tool.parameters)
            return "function", function if tool.strict is None else function.model_copy(update={"strict": tool.strict})
        case CustomTool():
            return "custom", _text_function(tool, about)
        case ToolSearchTool() if tool.is_clients:
            words = tool.description or "Searches for more tools. Those that it finds can be called afterwards."
            return "tool_search", _function("tool_search", words, tool.parameters or _QUERY)
        case ShellTool() if not tool.is_hosted:
            return "shell", _function("shell", _ABOUT_SHELL, _SHELL)
        case LocalShellTool():
            return "local_shell", _function("local_shell", _ABOUT_LOCAL_SHELL, _LOCAL_SHELL)
        case ApplyPatchTool():
            return "apply_patch", _function("apply_patch", _ABOUT_PATCH, _PATCH)
        case _:
            return None


def _is_for_the_model(tool: Tool) -> bool:
    """Whether the model itself may call the tool, and not only a program of OpenAI's."""
    callers = getattr(tool, "allowed_callers", None)
    return callers is None or "direct" in callers


def _function(name: str, description: str | None, parameters: JsonObject | None) -> FunctionTool:
    return FunctionTool(type="function", name=name, description=description, parameters=parameters)


def _text_function(tool: CustomTool, about: str) -> FunctionTool:
    """A function with one string argument. The grammar stands in the description: no schema can express it."""
    words = [about, tool.description or "", _ABOUT_INPUT]
    if isinstance(tool.format, Grammar):
        kind = "Lark grammar (its first rule is `start`)" if tool.format.syntax == "lark" else "regular expression"
        words.append(f"The whole text of `{INPUT}` must match this {kind}:\n{tool.format.definition}")
    parameters: JsonObject = {
        "type": "object",
        "properties": {INPUT: {"type": "string", "description": "The whole text for the tool."}},
        "required": [INPUT],
        "additionalProperties": False,
    }
    return _function(tool.name, "\n\n".join(word for word in words if word), parameters)


_ABOUT_INPUT = (
    f"This tool takes free text. Call it as a function whose only argument, `{INPUT}`, is a string with exactly that "
    "text."
)
_QUERY: JsonObject = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
_ABOUT_SHELL = "Runs shell commands in the user's environment, in order, and returns what each wrote and how it ended."
_SHELL: JsonObject = {
    "type": "object",
    "properties": {
        "commands": {"type": "array", "items": {"type": "string"}, "description": "The commands, in order."},
        "timeout_ms": {"type": "integer", "description": "Milliseconds after which the commands are stopped."},
        "max_output_length": {"type": "integer", "description": "Characters of output to return at most."},
    },
    "required": ["commands"],
    "additionalProperties": False,
}
_ABOUT_LOCAL_SHELL = "Runs one command in the user's environment, and returns what it wrote."
_LOCAL_SHELL: JsonObject = {
    "type": "object",
    "properties": {
        "command": {
            "type": "array",
            "items": {"type": "string"},
            "description": 'The program and its arguments, such as ["bash", "-lc", "ls"].',
        },
        "working_directory": {"type": "string", "description": "The directory to run the command in."},
        "timeout_ms": {"type": "integer", "description": "Milliseconds after which the command is stopped."},
        "user": {"type": "string", "description": "The user to run the command as."},
        "env": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Environment variables of the command.",
        },
    },
    "required": ["command"],
    "additionalProperties": False,
}
_ABOUT_PATCH = (
    "Creates, changes or deletes one file in the user's workspace. `diff` is a V4A diff without a header of its own. "
    "To create a file, give its whole content with a '+' before each line. To change a file, give sections of lines "
    "that begin with ' ' (unchanged, for context), '-' (removed) or '+' (added); '@@' begins a section, and may name "
    "the class or function around it. To delete a file, leave `diff` out."
)
_PATCH: JsonObject = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
        "path": {"type": "string", "description": "The path of the file, relative to the workspace's root."},
        "diff": {"type": "string", "description": "The diff; not for delete_file."},
    },
    "required": ["type", "path"],
    "additionalProperties": False,
}
