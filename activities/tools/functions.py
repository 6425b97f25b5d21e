"""A hosted tool from a Python function: the model gets its signature and docstring."""

from __future__ import annotations

import asyncio
import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from open_responses.contracts import ToolContext, ToolError, ToolOutput
from open_responses.json_types import JsonObject
from open_responses.schema.tools import FunctionTool
from open_responses.tool_use.strict_schema import made_strict
from open_responses.tool_use.tool_output import tool_output

_PARAMETER_LINE = re.compile(r"^\s*(?::param\s+(?:\w+\s+)?)?\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.+)$")
_SECTION = re.compile(r"^\s*(Args|Arguments|Parameters|Returns|Raises|Yields|Examples?|Notes?)\s*:\s*$")
_MAX_COMPLAINTS = 8


class HostedFunction:
    """A function as a `Tool`. Raises ValueError if no JSON object can fill the function's signature."""

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        description: str | None = None,
        strict: bool | None = None,
    ) -> None:
        self._name = name
        self._function = function
        self._context_parameter, self._model = _arguments_model(name, function)
        self.definition = FunctionTool(
            type="function",
            name=name,
            description=description or _first_paragraph(function),
            parameters=_schema(self._model, strict=strict is True),
            strict=strict,
        )

    async def call(self, context: ToolContext) -> ToolOutput:
        """Call the function. Raises ToolError for arguments that do not fit, with one complaint for each."""
        try:
            arguments = self._model.model_validate(_without_nulls(context.arguments, self._model))
        except ValidationError as error:
            raise ToolError(_complaint(self._name, error)) from None
        given = {
            info.validation_alias or field: getattr(arguments, field)
            for field, info in self._model.model_fields.items()
            if field in arguments.model_fields_set
        }
        if self._context_parameter is not None:
            given[self._context_parameter] = context
        return tool_output(await self._run(given))

    async def _run(self, given: dict[Any, Any]) -> object:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(**given)
        result = await asyncio.to_thread(self._function, **given)
        return await result if inspect.isawaitable(result) else result


def _arguments_model(name: str, function: Callable[..., Any]) -> tuple[str | None, type[BaseModel]]:
    """(the parameter that takes the context, a model of all others)."""
    hints = typing.get_type_hints(function, include_extras=True)
    described = _parameter_descriptions(inspect.getdoc(function) or "")
    context_parameter: str | None = None
    fields: dict[str, Any] = {}
    for position, parameter in enumerate(inspect.signature(function).parameters.values()):
        annotation = hints.get(parameter.name, Any)
        if annotation is ToolContext:
            context_parameter = parameter.name
            continue
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise ValueError(f"tool {name!r}: parameter {parameter.name!r} cannot be given by name")
        # The fields have names of our own, because `schema`, `_x` and the like would collide with members of the
        # pydantic model.
        fields[f"field_{position}"] = (annotation, _field(parameter, described.get(parameter.name)))
    return context_parameter, create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


def _field(parameter: inspect.Parameter, description: str | None) -> FieldInfo:
    default = ... if parameter.default is parameter.empty else parameter.default
    info: FieldInfo = Field(default, alias=parameter.name)
    if description is not None:
        info = Field(default, alias=parameter.name, description=description)
    return info


class _Plain(GenerateJsonSchema):
    """Generates schemas without the titles that pydantic derives from names: they cost tokens without adding
    information."""

    def get_title_from_name(self, name: str) -> str:
        return ""


def _schema(model: type[BaseModel], *, strict: bool) -> JsonObject:
    schema: JsonObject = _without_titles(model.model_json_schema(by_alias=True, schema_generator=_Plain))
    schema.setdefault("properties", {})
    schema["additionalProperties"] = False
    return made_strict(schema) if strict else schema


def _without_titles(node: Any) -> Any:
    """`title` is dropped where it is a keyword, and kept where it is the name of a property."""
    if isinstance(node, list):
        return [_without_titles(child) for child in node]
    if not isinstance(node, dict):
        return node
    cleaned = {}
    for key, child in node.items():
        if key == "title" and isinstance(child, str):
            continue
        if key in ("properties", "$defs") and isinstance(child, dict):
            cleaned[key] = {name: _without_titles(below) for name, below in child.items()}
        else:
            cleaned[key] = _without_titles(child)
    return cleaned


def _without_nulls(arguments: JsonObject, model: type[BaseModel]) -> JsonObject:
    """Drop each null whose parameter has a default. Models send null in place of a default, in strict mode and without
    it."""
    optional = {
        info.alias for info in model.model_fields.values() if not info.is_required() and info.default is not None
    }
    return {name: value for name, value in arguments.items() if value is not None or name not in optional}


def _complaint(name: str, error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False)[:_MAX_COMPLAINTS]:
        where = ".".join(str(part) for part in problem["loc"]) or "arguments"
        lines.append(f"{where}: {problem['msg']}")
    return f"The arguments of {name!r} do not fit: {'; '.join(lines)}. Correct them and call the tool again."


def _first_paragraph(function: Callable[..., Any]) -> str | None:
    lines: list[str] = []
    for line in (inspect.getdoc(function) or "").splitlines():
        if not line.strip() or _SECTION.match(line) or line.lstrip().startswith(":"):
            break
        lines.append(line.strip())
    return " ".join(lines) or None


def _parameter_descriptions(doc: str) -> dict[str, str]:
    """From an `Args:` section, or from `:param name:` lines."""
    described: dict[str, str] = {}
    current, in_arguments = None, False
    for line in doc.splitlines():
        section = _SECTION.match(line)
        if section:
            in_arguments, current = section[1] in ("Args", "Arguments", "Parameters"), None
            continue
        found = _PARAMETER_LINE.match(line)
        if found and (in_arguments or line.lstrip().startswith(":param")):
            current = found[1]
            described[current] = found[2].strip()
        elif current is not None and line.startswith("  ") and line.strip():
            described[current] += " " + line.strip()
        elif not line.strip():
            current = None
    return described
