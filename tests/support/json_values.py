"""Values for hypothesis out of a JSON Schema, as the served document uses it, and ways to spoil them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Json = Any
_LONGEST, _MOST, _DEEPEST = 24, 3, 7

JUNK: st.SearchStrategy[Json] = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        2**63,
        10**30,
        1e308,
        0.5,
        "",
        "x" * 70,
        "a\u0000b",
        "\u202e🜁é",
        "resp_" + "0" * 48,
        "../../etc/passwd",
        "' OR 1=1 --",
        [],
        {},
        [None],
        [[[[[[]]]]]],
        {"type": "x"},
        {"type": None},
        {"": {"": {}}},
    ]
).map(copy.deepcopy)


class Values:
    """`of(schema)` draws what fits a schema; `$ref`s lead into `schemas`."""

    def __init__(self, schemas: Mapping[str, Json]) -> None:
        self._schemas = schemas

    def of(self, schema: Json, depth: int = 0) -> st.SearchStrategy[Json]:
        if schema is True or not schema.keys() - {"description", "title", "default", "deprecated"}:
            return JUNK
        if "$ref" in schema:
            return self.of(self._schemas[schema["$ref"].rpartition("/")[2]], depth + 1)
        if "const" in schema:
            return st.just(schema["const"])
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "anyOf" in schema:
            branches = schema["anyOf"]
            if depth > _DEEPEST:
                branches = [branch for branch in branches if "$ref" not in branch] or branches
            return st.one_of(*(self.of(branch, depth) for branch in branches))
        return getattr(self, f"_{schema['type']}")(schema, depth)  # type: ignore[no-any-return]

    def _string(self, schema: Json, depth: int) -> st.SearchStrategy[str]:
        if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=schema["pattern"].endswith("$")).filter(
                lambda text: len(text) <= 200
            )
        shortest = schema.get("minLength", 0)
        return st.text(min_size=shortest, max_size=max(shortest, min(schema.get("maxLength", _LONGEST), _LONGEST)))

    def _integer(self, schema: Json, depth: int) -> st.SearchStrategy[int]:
        return st.integers(schema.get("minimum", -5), schema.get("maximum", 2**40))

    def _number(self, schema: Json, depth: int) -> st.SearchStrategy[float]:
        return st.floats(schema.get("minimum", -1e9), schema.get("maximum", 1e9))

    def _boolean(self, schema: Json, depth: int) -> st.SearchStrategy[bool]:
        return st.booleans()

    def _null(self, schema: Json, depth: int) -> st.SearchStrategy[None]:
        return st.none()

    def _array(self, schema: Json, depth: int) -> st.SearchStrategy[list[Json]]:
        shortest = schema.get("minItems", 0)
        most = max(shortest, min(schema.get("maxItems", _MOST), _MOST if depth < _DEEPEST else 0))
        return st.lists(self.of(schema["items"], depth + 1), min_size=shortest, max_size=most)

    @st.composite
    @staticmethod
    def _members(draw: st.DrawFn, self: Values, schema: Json, depth: int) -> dict[str, Json]:
        properties = schema.get("properties", {})
        needed = set(schema.get("required", ()))
        optional = sorted(properties.keys() - needed)
        chosen = draw(st.lists(st.sampled_from(optional), unique=True, max_size=4)) if optional else []
        made = {name: draw(self.of(properties[name], depth + 1)) for name in [*sorted(needed), *chosen]}
        more = schema.get("additionalProperties", False)
        if more and draw(st.booleans()):
            made[draw(st.text(max_size=8))] = draw(self.of(more, depth + 1) if isinstance(more, dict) else JUNK)
        return made

    def _object(self, schema: Json, depth: int) -> st.SearchStrategy[dict[str, Json]]:
        return Values._members(self, schema, depth)


@st.composite
def spoiled(draw: st.DrawFn, values: st.SearchStrategy[Json]) -> Json:
    """A value with up to two places changed: replaced by junk, taken out, renamed."""
    value = copy.deepcopy(draw(values))
    for _ in range(draw(st.integers(0, 2))):
        places = list(_places(value))
        if not places:
            return draw(JUNK)
        holder, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["replace", "remove", "rename"]))
        if how == "replace":
            holder[key] = draw(JUNK)
        elif how == "remove" or isinstance(holder, list):
            del holder[key]
        else:
            holder[f"{key}_"] = holder.pop(key)
    return value


def _places(value: Json) -> Any:
    for key, child in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(child, dict | list):
            yield from _places(child)
