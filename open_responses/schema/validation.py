"""Parses a JSON body, and turns pydantic's first error into an `InvalidRequest`.

Pydantic's errors are for programmers: an error in a union lists every branch, and its paths contain names of our
classes. This module reports only the first error (ERR-1), with a path in the client's body (`input[0].content[1].text`)
and a sentence that names the allowed values.
"""

from __future__ import annotations

import difflib
import gc
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import UnionType
from typing import Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, ValidationError, ValidationInfo, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError, from_json

from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject

Path: TypeAlias = tuple[int | str, ...]

# The numbers that every JSON library on the way of the body can write: orjson stops at 64 bits.
SMALLEST_INTEGER, LARGEST_INTEGER = -(2**63), 2**64 - 1
SHOWN_CHARACTERS = 60
MAX_SCHEMA_VALUES = 50_000
"""Ours: ten for each of the 5,000 properties that OpenAI allows."""
MAX_VALUES = 500_000
"""The most values of one body. The parser holds the interpreter, and takes a sixth of a second for this many
objects."""
_UNCOUNTED_BYTES = 100_000
_COUNTED_AT_ONCE = 256 * 1024
# A member of an object has a text as its name, and may have another as its value.
_QUOTES_PER_VALUE = 4


CHECK_NAMES = {"refuse_unknown_names": True}


class RequestObject(BaseModel):
    """Base of the objects of a request. An unknown field is an error, since a typo would otherwise be ignored.

    Names are checked only when a client's body is read (`context=CHECK_NAMES`), not when a stored request is loaded: a
    worker of the previous version has to read a request that a newer API wrote.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, serialize_by_alias=True, defer_build=True)

    # name -> reason. Fields of OpenAI's API that this server does not have: harmless to ignore, or an error; and names
    # of the same field in other APIs.
    IGNORED: ClassVar[Mapping[str, str]] = {}
    UNSUPPORTED: ClassVar[Mapping[str, str]] = {}
    CALLED_HERE: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _names_are_known(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, dict) and info.context is CHECK_NAMES:
            known = [field.alias or name for name, field in cls.model_fields.items()]
            for name, content in value.items():
                if name in known or name in cls.IGNORED:
                    continue
                if name not in cls.UNSUPPORTED:
                    raise _unknown_name(name, known, cls.CALLED_HERE)
                if content is not None:
                    raise fault("unsupported_parameter", f"is not supported here: {cls.UNSUPPORTED[name]}", field=name)
        return value


def fault(code: str, complaint: str, *, field: str | None = None) -> PydanticCustomError:
    """Return an error for a validator to raise. The client reads "'<path>' <complaint>.".

    Args:
        code: The error code.
        complaint: The text after the path.
        field: The path of the field, relative to the validated value; None for the value itself.
    """
    return PydanticCustomError("fault", "{complaint}", {"code": code, "complaint": complaint, "field": field})


class Hint(dict[str, Any]):
    """The data of an error message about a union. Hashable, because `typing` hashes the annotations of a union."""

    def __hash__(self) -> int:  # type: ignore[override]
        return id(self)


def either(expected: str, **tags: type | UnionType) -> Discriminator:
    """Return the discriminator of a union by JSON type; each tag is `<name>`.

    An example: `either("a string or an array", text=str, parts=list)`.
    """

    def tag(value: Any) -> str | None:
        return next((f"<{name}>" for name, kind in tags.items() if isinstance(value, kind)), None)

    return Discriminator(tag, "wrong_type", "{expected}", Hint(expected=expected))


def by_type(what: str, *allowed: str) -> Discriminator:
    """Return the discriminator of a union by the member `type`; the tag of each branch is `<type>`."""

    def tag(value: Any) -> str | None:
        kind = member(value, "type")
        return f"<{kind}>" if isinstance(kind, str) else None

    return Discriminator(tag, "no_variant", "{what}", Hint(what=what, allowed=allowed))


def member(value: Any, name: str) -> Any:
    """Return a member of a model, or of an object that is still JSON."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def small_schema(schema: JsonObject) -> JsonObject:
    """Check the size of a schema, because this server compiles it, and providers make a grammar of it.

    Raises a `fault`.
    """
    left = MAX_SCHEMA_VALUES
    waiting: list[Any] = [schema]
    while waiting:
        node = waiting.pop()
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        left -= len(inner)
        if left < 0:
            raise fault("invalid_value", f"must be a schema of at most {MAX_SCHEMA_VALUES} values. Make it simpler")
        waiting += inner
    return schema


def read_json_object(raw: bytes) -> JsonObject:
    """Return the body as an object (HTTP-1).

    Args:
        raw: The bytes. They have to be strict UTF-8 (a lone surrogate is rejected), and at most 200 levels deep.

    Raises:
        InvalidRequest: The code is `invalid_json`, or `invalid_value` for a number that cannot be written again.
    """
    if len(raw) > _UNCOUNTED_BYTES and _has_too_many_values(raw):
        raise InvalidRequest(
            f"The body of your request has more than {MAX_VALUES} values. Send less.", code="invalid_value"
        )
    try:
        body = _parsed(raw)
    except ValueError as error:
        raise InvalidRequest(
            f"The body of your request is not valid JSON: {_json_reason(str(error))}.", code="invalid_json"
        ) from None
    if not isinstance(body, dict):
        raise InvalidRequest(
            f"The body of your request must be a JSON object, not {kind_of(body)}.", code="invalid_json"
        )
    _refuse_extreme_numbers(body)
    return body


def _has_too_many_values(raw: bytes) -> bool:
    """Count the values before they are created, since a value takes a hundred times its bytes.

    This takes linear time and bounded memory, and does not assume valid JSON. Characters in texts are not counted, but
    texts are searched for only if the count with them exceeds the limit.
    """
    pieces = range(0, len(raw), _COUNTED_AT_ONCE)
    found = 0
    for start in pieces:
        found += _separators(raw[start : start + _COUNTED_AT_ONCE])
        if found > MAX_VALUES:
            break
    else:
        return False
    values = quotes = 0
    is_text, cut = False, b""
    for start in pieces:
        piece = cut + raw[start : start + _COUNTED_AT_ONCE]
        # The end of a piece may split an escape.
        cut = b"\\" if (len(piece) - len(piece.rstrip(b"\\"))) % 2 else b""
        piece = piece[: len(piece) - len(cut)].replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = piece.split(b'"')
        values += _separators(b"".join(parts[is_text::2]))
        quotes += len(parts) - 1
        is_text ^= len(parts) % 2 == 0
        if values > MAX_VALUES or quotes > _QUOTES_PER_VALUE * MAX_VALUES:
            return True
    return False


def _separators(raw: bytes) -> int:
    return raw.count(b",") + raw.count(b"[") + raw.count(b"{")


def _parsed(raw: bytes) -> Any:
    """Parse the JSON, with the garbage collector paused: the values have no cycles, and it is slower than the parser.

    Raises:
        ValueError: The bytes are not JSON.
    """
    if len(raw) <= _UNCOUNTED_BYTES or not gc.isenabled():
        return from_json(raw, allow_inf_nan=False)
    gc.disable()
    try:
        return from_json(raw, allow_inf_nan=False)
    finally:
        gc.enable()


def complaint_of(error: ValidationError) -> InvalidRequest:
    """Return pydantic's first error as an error for the client."""
    first = error.errors(include_url=False)[0]
    path = tuple(part for part in first["loc"] if not (isinstance(part, str) and part[:1] == "<" and part[-1:] == ">"))
    complaint = _complain(first)
    param = format_path(path if complaint.field is None else (*path, complaint.field))
    if complaint.code == "missing_required_parameter" and not complaint.text:
        return InvalidRequest(f"Missing required parameter: '{param}'.", param=param, code=complaint.code)
    return InvalidRequest(f"'{param}' {complaint.text}.", param=param, code=complaint.code)


def format_path(path: Iterable[int | str]) -> str:
    """`("input", 0, "content")` -> `input[0].content`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{shorten(part)}" if text else shorten(part)
    return text


def one_of(allowed: Iterable[str]) -> str:
    """`'a', 'b' or 'c'`."""
    *rest, last = (f"'{value}'" for value in allowed)
    return f"{', '.join(rest)} or {last}" if rest else last


def shorten(text: str) -> str:
    """Return the text, cut to the length of an error message."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def kind_of(value: object) -> str:
    """Return the name of a value's JSON type, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number with a fraction"
        case str():
            return "a string"
        case list() | tuple():
            return "an array"
        case _:
            return "an object"


# An item without a type, but with one of these members, is treated as a message.
_OF_MESSAGES = ("role", "content")

_EXPECTED_TYPES = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean (true or false)",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


@dataclass(frozen=True, slots=True)
class _Complaint:
    """`text` follows the parameter's name; `field` is the path of the fault, below the path that pydantic reports."""

    code: str
    text: str
    field: str | None = None


def _complain(error: ErrorDetails) -> _Complaint:
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind == "fault":
        return _Complaint(context["code"], context["complaint"], context["field"])
    if kind == "missing":
        return _Complaint("missing_required_parameter", "")
    if kind == "no_variant":
        return _no_variant(value, context)
    if kind == "wrong_type":
        return _wrong_type(context["expected"], value)
    if kind == "int_type" and isinstance(value, float):
        return _Complaint("invalid_type", "must be an integer, without a fraction")
    if kind in _EXPECTED_TYPES:
        return _wrong_type(_EXPECTED_TYPES[kind], value)
    if kind == "literal_error":
        return _not_allowed(value, context["expected"])
    return _Complaint("invalid_value", _out_of_bounds(kind, context, error["msg"]))


def _no_variant(value: object, context: Mapping[str, Any]) -> _Complaint:
    if not isinstance(value, dict):
        return _wrong_type(context["what"], value)
    field, allowed = "type", context["allowed"]
    is_message = value.get("type") == "message" or (
        value.get("type") is None and not value.keys().isdisjoint(_OF_MESSAGES)
    )
    if "roles" in context and is_message:
        field, allowed = "role", context["roles"]
    if value.get(field) is None:
        return _Complaint("missing_required_parameter", "", field)
    return replace(_not_allowed(value[field], one_of(allowed)), field=field)


def _wrong_type(expected: str, value: object) -> _Complaint:
    return _Complaint("invalid_type", f"must be {expected}, but is {kind_of(value)}")


def _not_allowed(value: object, allowed: str) -> _Complaint:
    if not isinstance(value, str):
        return _wrong_type(allowed, value)
    return _Complaint("invalid_value", f"must be {allowed}, but is '{shorten(value)}'")


def _out_of_bounds(kind: str, context: Mapping[str, Any], fallback: str) -> str:
    match kind:
        case "greater_than":
            return f"must be greater than {context['gt']}"
        case "greater_than_equal":
            return f"must be at least {context['ge']}"
        case "less_than_equal":
            return f"must be at most {context['le']}"
        case "string_too_long":
            return f"must be at most {context['max_length']} characters long"
        case "string_too_short" | "too_short":
            return "must not be empty"
        case "too_long":
            return f"must have at most {context['max_length']} entries"
        case "string_pattern_mismatch":
            return f"must match the pattern {context['pattern']}"
        case _:
            return f"is not valid: {fallback}"


def _unknown_name(name: str, known: Collection[str], called_here: Mapping[str, str]) -> PydanticCustomError:
    nearest = difflib.get_close_matches(name[:SHOWN_CHARACTERS], known, n=1)
    if name in called_here:
        hint = f". Send '{called_here[name]}' instead"
    elif nearest:
        hint = f". Send '{nearest[0]}' if you meant that"
    else:
        hint = f". Send {one_of(sorted(known))}, or leave it out"
    return fault("unknown_parameter", f"is not a known parameter{hint}", field=name)


def _json_reason(reason: str) -> str:
    if reason.endswith("at line 1 column 0"):
        return "it is empty"
    if "hex escape" in reason:
        return f"a \\u escape is broken or half of a surrogate pair ({reason})"
    if "recursion limit" in reason:
        return f"it is nested too deeply ({reason})"
    return reason


def _refuse_extreme_numbers(body: JsonObject) -> None:
    """Reject numbers that a JSON library cannot write again, because they would cause a server error much later."""
    path = _path_of_extreme_number(body)
    if path is not None:
        param = format_path(path)
        raise InvalidRequest(
            f"'{param}' must be a number that a JSON library can write again. Send a smaller one.",
            param=param,
            code="invalid_value",
        )


def _path_of_extreme_number(value: Any) -> Path | None:
    """Return the path of the first number that a JSON library cannot write again.

    This visits every value of the body, so it must be fast. The reader has bounded the depth.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return None
    if kind is dict or kind is list:
        for name, child in value.items() if kind is dict else enumerate(value):
            if type(child) is not str and (below := _path_of_extreme_number(child)) is not None:
                return (name, *below)
        return None
    is_extreme = not math.isfinite(value) if kind is float else not SMALLEST_INTEGER <= value <= LARGEST_INTEGER
    return () if is_extreme else None
