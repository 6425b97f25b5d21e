"""Filters on the attributes of files."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from open_responses.errors import InvalidRequest
from open_responses.schema.attribute_filters import MAX_DEPTH, BoundedFilter, matches
from open_responses.schema.validation import CHECK_NAMES, complaint_of

FILTER: TypeAdapter[Any] = TypeAdapter(BoundedFilter)
ATTRIBUTES = {"author": "ada", "year": 1843, "draft": False}


def read(given: Any) -> Any:
    try:
        return FILTER.validate_python(given, context=CHECK_NAMES)
    except ValidationError as error:
        raise complaint_of(error) from None


def compare(kind: str, key: str, value: Any) -> dict[str, Any]:
    return {"type": kind, "key": key, "value": value}


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        (compare("eq", "author", "ada"), True),
        (compare("eq", "author", "bob"), False),
        (compare("ne", "author", "bob"), True),
        (compare("ne", "missing", "bob"), True),
        (compare("eq", "missing", "bob"), False),
        (compare("gt", "year", 1842), True),
        (compare("gt", "year", 1843), False),
        (compare("gte", "year", 1843), True),
        (compare("lt", "year", 1843.5), True),
        (compare("lte", "year", 1842), False),
        (compare("gt", "author", 1), False),
        (compare("gt", "missing", 1), False),
        (compare("gte", "draft", 0), False),
        (compare("eq", "draft", False), True),
        (compare("eq", "draft", 0), False),
        (compare("in", "author", ["bob", "ada"]), True),
        (compare("in", "year", ["1843"]), False),
        (compare("nin", "author", ["bob"]), True),
        (compare("nin", "missing", ["bob"]), True),
        ({"type": "and", "filters": [compare("eq", "author", "ada"), compare("gt", "year", 1900)]}, False),
        ({"type": "or", "filters": [compare("eq", "author", "ada"), compare("gt", "year", 1900)]}, True),
    ],
)
def test_a_file_passes_or_does_not(given: Any, passes: bool) -> None:
    assert matches(read(given), ATTRIBUTES) is passes


def test_no_filter_passes_everything() -> None:
    assert matches(None, {})


def nested(depth: int) -> dict[str, Any]:
    found = compare("eq", "a", "b")
    for _ in range(depth):
        found = {"type": "and", "filters": [found]}
    return found


@pytest.mark.parametrize(
    "given",
    [
        {"type": "like", "key": "a", "value": "b"},
        {"type": "eq", "key": "", "value": "b"},
        {"type": "eq", "key": "a"},
        {"type": "eq", "key": "a", "value": ["b"]},
        {"type": "gt", "key": "a", "value": "b"},
        {"type": "in", "key": "a", "value": "b"},
        {"type": "and", "filters": []},
        {"type": "and", "filters": [compare("eq", "a", "b")] * 100},
        {"type": "eq", "key": "a", "value": "b" * 513},
        {"type": "eq", "key": "a", "value": None},
        nested(MAX_DEPTH),
        nested(5000),
    ],
    ids=range(12),
)
def test_a_bad_filter_is_a_clear_error(given: Any) -> None:
    with pytest.raises(InvalidRequest):
        read(given)
