"""The request's `tools` and `tool_choice` (REQ-2). Functions only, so far: each other kind is refused by its name."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from open_responses.items import SLUG, FunctionName
from open_responses.json_types import JsonObject
from open_responses.validation import Hint, Settings, fault, kind_of, member, shorten

# OpenAI's API takes 128 tools; room for a gateway that joins several MCP servers.
MAX_TOOLS = 512
# The specification's bound for `allowed_tools`.
MAX_ALLOWED_TOOLS = 128

HOSTED_TOOL_TYPES = frozenset(
    {
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use",
        "computer_use_preview",
        "custom",
        "file_search",
        "image_generation",
        "local_shell",
        "mcp",
        "namespace",
        "programmatic_tool_calling",
        "shell",
        "tool_search",
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
    }
)


def _refuse_hosted(value: Any) -> Any:
    kind = member(value, "type")
    if isinstance(kind, str) and (kind in HOSTED_TOOL_TYPES or kind.startswith(SLUG)):
        raise fault("unsupported_tool", f"names '{shorten(kind)}', which this server does not run", field="type")
    return value


def _is_function(value: Any) -> Any:
    _refuse_hosted(value)
    if isinstance(value, dict) and isinstance(value.get("type", ""), str):
        if value.get("type") is None:
            raise fault("missing_required_parameter", "is missing: it must be 'function'", field="type")
        if value["type"] != "function":
            raise fault("invalid_value", f"must be 'function', but is '{shorten(value['type'])}'", field="type")
    return value


def _looks_like_a_schema(schema: JsonObject) -> JsonObject:
    """Only what would surely fail later: providers differ in how much of JSON Schema they take."""
    if schema.get("type", "object") != "object":
        raise fault("invalid_value", "must be 'object': arguments are named", field="type")
    if not isinstance(schema.get("properties", {}), dict):
        complaint = f"must be an object, but is {kind_of(schema['properties'])}"
        raise fault("invalid_type", complaint, field="properties")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise fault("invalid_type", "must be an array of strings", field="required")
    return schema


class FunctionTool(Settings):
    """A function that the client runs. `parameters` is a JSON Schema; None or {} takes no arguments."""

    # The Chat Completions shape, seen often enough to deserve a sentence of its own.
    UNSUPPORTED: ClassVar[dict[str, str]] = {
        "function": "name, description and parameters stand beside type in the Responses API",
        "allowed_callers": "functions are called by the model alone",
    }
    IGNORED: ClassVar[dict[str, str]] = {
        "defer_loading": "a hint that saves tokens: every tool is loaded at once",
        "output_schema": "describes the output to OpenAI's own programmatic caller",
    }

    type: Literal["function"]
    name: FunctionName
    description: str | None = None
    parameters: Annotated[JsonObject, AfterValidator(_looks_like_a_schema)] | None = None
    strict: bool | None = None


Tool: TypeAlias = Annotated[FunctionTool, BeforeValidator(_is_function)]
Tools: TypeAlias = Annotated[list[Tool], Field(max_length=MAX_TOOLS)]


class FunctionChoice(Settings):
    UNSUPPORTED: ClassVar[dict[str, str]] = {"function": "name stands beside type in the Responses API"}

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1)]


class AllowedTools(Settings):
    """A subset of `tools`, which the server enforces; `tools` itself goes to the model unchanged."""

    type: Literal["allowed_tools"]
    tools: Annotated[
        list[Annotated[FunctionChoice, BeforeValidator(_is_function)]],
        Field(min_length=1, max_length=MAX_ALLOWED_TOOLS),
    ]
    mode: Literal["none", "auto", "required"] = "auto"


ToolChoiceMode: TypeAlias = Literal["none", "auto", "required"]


_CHOICES = ("function", "allowed_tools")


def _choice_tag(value: Any) -> str | None:
    if isinstance(value, str):
        return "<mode>"
    kind = member(value, "type")
    return f"<{kind}>" if kind in _CHOICES else None


ToolChoice: TypeAlias = Annotated[
    Annotated[ToolChoiceMode, Tag("<mode>")]
    | Annotated[FunctionChoice, Tag("<function>")]
    | Annotated[AllowedTools, Tag("<allowed_tools>")],
    Discriminator(
        _choice_tag,
        "no_variant",
        "{what}",
        Hint(what="'none', 'auto', 'required' or an object", allowed=_CHOICES),
    ),
    BeforeValidator(_refuse_hosted),
]


def check_names_are_unique(tools: list[FunctionTool]) -> None:
    for name, count in Counter(tool.name for tool in tools).items():
        if count > 1:
            second = [index for index, tool in enumerate(tools) if tool.name == name][1]
            raise fault("invalid_value", f"is '{name}' a second time; names are unique", field=f"tools[{second}].name")


def check_choice_fits(choice: ToolChoice | None, tools: list[FunctionTool]) -> None:
    """A choice that names no tool of the request could never be kept (REQ-2)."""
    names = {tool.name for tool in tools}
    match choice:
        case "required" if not tools:
            raise fault("invalid_value", "is 'required', but the request has no tools", field="tool_choice")
        case FunctionChoice():
            _check_named(choice.name, names, "tool_choice.name")
        case AllowedTools():
            for index, allowed in enumerate(choice.tools):
                _check_named(allowed.name, names, f"tool_choice.tools[{index}].name")


def _check_named(name: str, names: set[str], field: str) -> None:
    if name not in names:
        raise fault("invalid_value", f"is '{shorten(name)}', which is not in tools", field=field)
