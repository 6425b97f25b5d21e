"""Filters on the attributes of files in a vector store: comparisons, combined by `and` and `or`.

A file without the attribute fails every comparison but `ne` and `nin`. A text is compared with texts alone and a number
with numbers, so a comparison of two types is false instead of an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, Tag

from open_responses.schema.validation import LARGEST_INTEGER, RequestObject, by_type, fault

MAX_KEY, MAX_TEXT, MAX_ATTRIBUTES = 64, 512, 16
MAX_FILTERS = 100
"""The most comparisons and combinations in one filter, and the deepest nesting is `MAX_DEPTH`."""
MAX_DEPTH = 10
_MAX_VALUES = 100

Scalar: TypeAlias = str | float | bool
Attributes: TypeAlias = Mapping[str, Scalar]


def _is_scalar(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return isinstance(value, bool) or (isinstance(value, int | float) and abs(value) <= LARGEST_INTEGER)


def _attributes(value: Any) -> Any:
    if not isinstance(value, dict):
        raise fault("invalid_type", "must be an object of texts, numbers and booleans")
    if len(value) > MAX_ATTRIBUTES:
        raise fault("invalid_value", f"must have at most {MAX_ATTRIBUTES} entries")
    for key, content in value.items():
        if not 0 < len(key) <= MAX_KEY:
            raise fault("invalid_value", f"must have keys of 1 to {MAX_KEY} characters")
        if not _is_scalar(content):
            raise fault(
                "invalid_value", f"must be a text of at most {MAX_TEXT} characters, a number or a boolean", field=key
            )
    return value


FileAttributes: TypeAlias = Annotated[dict[str, Any], BeforeValidator(_attributes)]
"""The attributes of a file, as a request gives them."""


def _value(value: Any) -> Any:
    if not _is_scalar(value):
        raise fault("invalid_value", f"must be a text of at most {MAX_TEXT} characters, a number or a boolean")
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise fault("invalid_type", "must be a number for this comparison")
    return _value(value)


def _list(value: Any) -> Any:
    if not isinstance(value, list):
        raise fault("invalid_type", "must be an array for this comparison")
    if len(value) > _MAX_VALUES:
        raise fault("invalid_value", f"must have at most {_MAX_VALUES} entries")
    return [_value(one) for one in value]


_Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY)]


class EqualityFilter(RequestObject):
    """`eq` and `ne`."""

    type: Literal["eq", "ne"]
    key: _Key
    value: Annotated[Any, BeforeValidator(_value)]


class OrderFilter(RequestObject):
    """`gt`, `gte`, `lt` and `lte`, of numbers."""

    type: Literal["gt", "gte", "lt", "lte"]
    key: _Key
    value: Annotated[Any, BeforeValidator(_number)]


class MemberFilter(RequestObject):
    """`in` and `nin`."""

    type: Literal["in", "nin"]
    key: _Key
    value: Annotated[list[Any], BeforeValidator(_list)]

    @cached_property
    def members(self) -> frozenset[tuple[bool, Scalar]]:
        """The values as `_comparable` has them. A search asks for each file of a store."""
        return frozenset(_comparable(one) for one in self.value)


class CompoundFilter(RequestObject):
    """All of the filters, or any of them."""

    type: Literal["and", "or"]
    filters: Annotated[list[AttributeFilter], Field(min_length=1, max_length=MAX_FILTERS, fail_fast=True)]


_NAMES = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "and", "or")
AttributeFilter: TypeAlias = Annotated[
    Annotated[EqualityFilter, Tag("<eq>")]
    | Annotated[EqualityFilter, Tag("<ne>")]
    | Annotated[OrderFilter, Tag("<gt>")]
    | Annotated[OrderFilter, Tag("<gte>")]
    | Annotated[OrderFilter, Tag("<lt>")]
    | Annotated[OrderFilter, Tag("<lte>")]
    | Annotated[MemberFilter, Tag("<in>")]
    | Annotated[MemberFilter, Tag("<nin>")]
    | Annotated[CompoundFilter, Tag("<and>")]
    | Annotated[CompoundFilter, Tag("<or>")],
    by_type("an object with a filter", *_NAMES),
]


def _bounded(value: Any) -> Any:
    """Bound the nesting before the models are built, which recurses."""
    left, waiting = MAX_FILTERS, [(value, 1)]
    while waiting:
        node, depth = waiting.pop()
        inner = node.get("filters") if isinstance(node, dict) else None
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise fault("invalid_value", f"must have at most {MAX_FILTERS} filters, at most {MAX_DEPTH} levels deep")
        waiting += [(one, depth + 1) for one in inner] if isinstance(inner, list) else []
    return value


BoundedFilter: TypeAlias = Annotated[AttributeFilter, BeforeValidator(_bounded)]
"""A filter, as a request gives it."""


def matches(filter: AttributeFilter | None, attributes: Attributes) -> bool:
    """Whether a file with these attributes passes. No filter passes every file."""
    match filter:
        case None:
            return True
        case CompoundFilter(type="and"):
            return all(matches(one, attributes) for one in filter.filters)
        case CompoundFilter():
            return any(matches(one, attributes) for one in filter.filters)
        case MemberFilter():
            given = attributes.get(filter.key)
            return (given is not None and _comparable(given) in filter.members) == (filter.type == "in")
        case EqualityFilter():
            return _is_equal(attributes.get(filter.key), filter.value) == (filter.type == "eq")
        case OrderFilter():
            return _is_ordered(filter.type, attributes.get(filter.key), filter.value)


def _comparable(value: Scalar) -> tuple[bool, Scalar]:
    return isinstance(value, bool), value


def _is_equal(one: Scalar | None, other: Scalar) -> bool:
    # True is 1 in Python.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _is_ordered(kind: str, one: Scalar | None, other: float) -> bool:
    if isinstance(one, bool) or not isinstance(one, int | float):
        return False
    match kind:
        case "gt":
            return one > other
        case "gte":
            return one >= other
        case "lt":
            return one < other
    return one <= other
