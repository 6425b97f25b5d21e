"""Fits a call to the limits of its vendor, and restores the original names in the answer.

Each built-in adapter translates the fitted call. Names of functions, names of their properties and ids of calls that
the vendor refuses get others, schemas get an object at their root, and images the media type of their bytes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from activities.providers.shared.argument_keys import KeyRenamer, renamed_keys
from activities.providers.shared.modern_schema import SCHEMAS_BY_NAME, VALUES, modern_schema
from activities.providers.shared.root_schema import has_plain_root, plain_root
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta, Finish, ToolCallDelta
from open_responses.json_types import JsonObject
from open_responses.models.media_types import typed_by_its_bytes
from open_responses.models.vendor_limits import NameRule, VendorLimits
from open_responses.schema.client_items import CustomToolCallOutput
from open_responses.schema.content import InputFile, InputImage
from open_responses.schema.items import FunctionCall, FunctionCallOutput, InputItem, UserMessage
from open_responses.schema.tool_choice import AllowedTools, FunctionChoice, ToolChoice
from open_responses.schema.tools import FunctionTool


class Fitting:
    """One call as its vendor takes it. Made for each sample; `restored` takes the deltas of its answer."""

    def __init__(self, call: SampleCall, limits: VendorLimits) -> None:
        self.given = call
        self._limits = limits
        self._names = {name: tool.name for tool in call.tools if (name := self._name(tool.name)) != tool.name}
        # Tool -> original property -> the vendor's name.
        self._keys = {tool.name: keys for tool in call.tools if (keys := self._fitted_keys(tool))}
        self._calls: dict[int, _OpenCall] = {}

    def call(self) -> SampleCall:
        """The fitted call. It takes time in proportion to the context, so that a long one is fitted in a thread."""
        given = self.given
        return replace(
            given,
            items=_Items(self._limits, self._keys).fitted(given.items),
            tools=[self._tool(tool) for tool in given.tools],
            tool_choice=self._choice(given.tool_choice),
        )

    def restored(self, deltas: Iterable[Delta]) -> Iterator[Delta]:
        """The deltas, with the original names of functions and properties."""
        if not self._names and not self._keys:
            yield from deltas
            return
        for delta in deltas:
            if isinstance(delta, ToolCallDelta):
                yield from self._calls.setdefault(delta.index, _OpenCall(self)).read(delta)
                continue
            if isinstance(delta, Finish):
                for index, opened in self._calls.items():
                    yield from opened.rest(index)
            yield delta

    @property
    def names(self) -> list[str]:
        """The functions' names as the vendor has them."""
        return [self._name(tool.name) for tool in self.given.tools]

    def original_name(self, name: str) -> str:
        return self._names.get(name, name)

    def original_keys(self, tool: str) -> Mapping[str, str]:
        """The vendor's name of a property -> the original one."""
        return {fitted: original for original, fitted in self._keys.get(tool, {}).items()}

    def _name(self, name: str) -> str:
        return self._limits.function_name.fitted(name)

    def _fitted_keys(self, tool: FunctionTool) -> dict[str, str]:
        rule = self._limits.property_name
        if rule is None or not tool.parameters:
            return {}
        return {name: rule.fitted(name) for name in _property_names(tool.parameters) if not rule.takes(name)}

    def _tool(self, tool: FunctionTool) -> FunctionTool:
        changes: dict[str, Any] = {}
        name, keys, schema = self._name(tool.name), self._keys.get(tool.name), tool.parameters
        if name != tool.name:
            changes["name"] = name
        if schema:
            schema = _in_modern_form(schema)
        if schema and not has_plain_root(schema):
            schema, note = plain_root(schema)
            if note is not None:
                changes["description"] = f"{tool.description}\n{note}" if tool.description else note
            if tool.strict:
                # What was joined is not in the form of strict mode any more.
                changes["strict"] = False
        if schema and keys:
            schema = _with_keys(schema, keys)
        if schema is not tool.parameters:
            changes["parameters"] = schema
        return tool.model_copy(update=changes) if changes else tool

    def _choice(self, choice: ToolChoice | None) -> ToolChoice | None:
        if isinstance(choice, FunctionChoice):
            return choice.model_copy(update={"name": self._name(choice.name)})
        if isinstance(choice, AllowedTools):
            named = [self._named(one) if isinstance(one, FunctionChoice) else one for one in choice.tools]
            return choice.model_copy(update={"tools": named})
        return choice

    def _named(self, choice: FunctionChoice) -> FunctionChoice:
        return choice.model_copy(update={"name": self._name(choice.name)})


class _OpenCall:
    """One call of the answer. Its arguments are held back until its name is known."""

    def __init__(self, fitting: Fitting) -> None:
        self._fitting = fitting
        self._renamer: KeyRenamer | None = None
        self._held: list[str] = []

    def read(self, delta: ToolCallDelta) -> Iterator[Delta]:
        if self._renamer is None and delta.name is None:
            self._held.append(delta.arguments)
            if delta.call_id is not None:
                yield replace(delta, arguments="")
            return
        name = None
        if self._renamer is None and delta.name is not None:
            name = self._fitting.original_name(delta.name)
            self._renamer = KeyRenamer(self._fitting.original_keys(name))
        assert self._renamer is not None
        arguments = self._renamer.rename("".join(self._held) + delta.arguments)
        self._held.clear()
        if arguments or name is not None or delta.call_id is not None:
            yield replace(delta, arguments=arguments, name=name if name is not None else delta.name)

    def rest(self, index: int) -> Iterator[Delta]:
        left = "".join(self._held) if self._renamer is None else self._renamer.rest()
        if left:
            yield ToolCallDelta(index, left)


class _Items:
    """Fits the items of a context, in their order."""

    def __init__(self, limits: VendorLimits, keys: Mapping[str, Mapping[str, str]]) -> None:
        self._limits = limits
        self._keys = keys
        self._used: set[str] = set()
        self._waiting: dict[str, deque[str]] = defaultdict(deque)
        self._last: dict[str, str] = {}

    def fitted(self, items: Sequence[InputItem]) -> list[InputItem]:
        return [self._item(item) for item in items]

    def _item(self, item: InputItem) -> InputItem:
        match item:
            case FunctionCall():
                return self._call(item)
            case FunctionCallOutput():
                changes: dict[str, Any] = {}
                waiting = self._waiting[item.call_id]
                call_id = waiting.popleft() if waiting else self._last.get(item.call_id, item.call_id)
                if call_id != item.call_id:
                    changes["call_id"] = call_id
                if isinstance(item.output, list) and (parts := _typed(item.output)) is not None:
                    changes["output"] = parts
                return item.model_copy(update=changes) if changes else item
            case CustomToolCallOutput(output=[*output]) if (parts := _typed(output)) is not None:
                return item.model_copy(update={"output": parts})
            case UserMessage(content=[*content]) if (parts := _typed(content)) is not None:
                return item.model_copy(update={"content": parts})
        return item

    def _call(self, item: FunctionCall) -> FunctionCall:
        rule = self._limits.call_id
        call_id, times = rule.fitted(item.call_id), 1
        while call_id in self._used:
            times += 1
            call_id = _numbered(item.call_id, times, rule)
        self._used.add(call_id)
        self._waiting[item.call_id].append(call_id)
        self._last[item.call_id] = call_id
        name, keys = self._limits.function_name.fitted(item.name), self._keys.get(item.name)
        changes: dict[str, Any] = {}
        if call_id != item.call_id:
            changes["call_id"] = call_id
        if name != item.name:
            changes["name"] = name
        if keys:
            changes["arguments"] = renamed_keys(item.arguments, keys)
        return item.model_copy(update=changes) if changes else item


def _in_modern_form(schema: JsonObject) -> JsonObject:
    try:
        return modern_schema(schema)
    except RecursionError:
        return schema


def _numbered(call_id: str, times: int, rule: NameRule) -> str:
    """Another id for a call whose id an earlier call of the context has."""
    return rule.fitted(f"{call_id}_{times}" if rule.longest > len(call_id) + 4 else f"{times}_{call_id}")


def _typed(parts: Sequence[Any]) -> list[Any] | None:
    """The parts, each image with the media type of its bytes; None if no part changes."""
    typed = [_typed_part(part) for part in parts]
    return typed if any(one is not other for one, other in zip(typed, parts, strict=True)) else None


def _typed_part(part: Any) -> Any:
    match part:
        case InputImage(image_url=str(url)):
            name = "image_url"
        case InputFile(file_data=str(url)) if url.startswith("data:image/"):
            name = "file_data"
        case _:
            return part
    typed = typed_by_its_bytes(url)
    return part if typed == url else part.model_copy(update={name: typed})


def _property_names(schema: Any) -> set[str]:
    names: set[str] = set()
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        if not isinstance(node, dict):
            continue
        properties = node.get("properties")
        if isinstance(properties, dict):
            names |= properties.keys()
        for key, value in node.items():
            if key in SCHEMAS_BY_NAME and isinstance(value, dict):
                waiting += value.values()
            elif key not in VALUES:
                waiting.append(value)
    return names


def _with_keys(node: Any, keys: Mapping[str, str]) -> Any:
    """The schema with other names of properties."""
    if isinstance(node, list):
        return [_with_keys(inner, keys) for inner in node]
    if not isinstance(node, dict):
        return node
    written: JsonObject = {}
    for key, value in node.items():
        if key == "properties" and isinstance(value, dict):
            written[key] = {keys.get(name, name): _with_keys(inner, keys) for name, inner in value.items()}
        elif key == "required" and isinstance(value, list):
            written[key] = [keys.get(name, name) if isinstance(name, str) else name for name in value]
        elif key in SCHEMAS_BY_NAME and isinstance(value, dict):
            written[key] = {name: _with_keys(inner, keys) for name, inner in value.items()}
        elif key == "$ref" and isinstance(value, str):
            written[key] = "/".join(keys.get(_unescaped(step), step) for step in value.split("/"))
        else:
            written[key] = value if key in VALUES else _with_keys(value, keys)
    return written


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
