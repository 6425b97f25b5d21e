"""Upper bound of the work that one JSON Schema causes, computed before anything is compiled or validated.

Without it, 41 definitions of 60 bytes, each an `allOf` of twice the next, keep a validator busy for 2^40 steps. The
cost of a schema is its size after every `$ref` was replaced by its target. It is computed on the graph of subschemas:
each subschema is visited once, so the time is linear in the schema's text however large the expansion is.

A reference that goes back to an enclosing definition (a tree, a linked list) counts as one step, because how often it
is followed depends on the answer. The deadline of the process that validates (`open_responses.io.schema_checks`)
bounds that part.

Keywords: JSON Schema 2020-12, core and validation, and those of draft 4 to 2019-09 that validators still apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any
from urllib.parse import unquote

from open_responses.json_types import JsonObject

MAX_COST = 200_000
"""For all schemas of one request, or of one MCP server's list, together: 512 tools of some 400 steps each."""
_MAX_DEPTH = 100
"""Levels of subschemas after expansion: validators and translations recurse, and OpenAI takes ten."""
_MAX_NESTING = 64
"""Levels of objects and arrays, as of what an MCP server sends."""
_PATTERN_COST = 50
"""A pattern compiles in 70 microseconds, some 50 times a keyword."""
_FOREIGN_COST = 1000
"""A reference to another document: nothing is fetched, but validators have the meta-schemas built in."""
_CHARACTERS_PER_STEP = 64

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# Each keyword that holds subschemas. "same": they are applied to the value that the schema is applied to; "inner": to
# the values inside it. Definitions are applied where they are referred to.
_SAME = frozenset(
    {"not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas", "dependencies", "extends", "disallow"}
)
_INNER = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "contains",
        "contentSchema",
        "items",
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
_MAPS = frozenset({"dependentSchemas", "dependencies", "properties", "patternProperties"})
_COMPARED = ("enum", "const", "required", "dependentRequired")
_META_SCHEMAS = ("http://json-schema.org/", "https://json-schema.org/")
_ANCHORS = ("$anchor", "$dynamicAnchor")

_PLAIN = frozenset(
    {
        "$comment",
        "$defs",
        "$ref",
        "$schema",
        "additionalProperties",
        "allOf",
        "anyOf",
        "const",
        "default",
        "definitions",
        "deprecated",
        "description",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "not",
        "oneOf",
        "prefixItems",
        "properties",
        "readOnly",
        "required",
        "title",
        "type",
        "writeOnly",
    }
)


class SchemaTooCostly(ValueError):
    """The schema cannot be accepted; the message completes the sentence "'<param>' …"."""


@dataclass(frozen=True, slots=True)
class SchemaCost:
    """`steps` bounds the subschemas that are applied to one value and the values in it, level by level.

    `is_plain`: `steps` times the length of a text bounds the work of validating that text. Not so with patterns, with
    recursion, and with keywords that compare or re-evaluate (`uniqueItems`, `unevaluatedProperties`).
    """

    steps: int
    is_plain: bool


@dataclass(slots=True)
class SchemaBudget:
    """What the schemas of one request, or of one MCP server, may cost together."""

    left: int = MAX_COST

    def spend(self, schema: JsonObject) -> SchemaCost:
        """Subtract the cost of a schema. Raises SchemaTooCostly, and subtracts nothing, if it exceeds the rest."""
        cost = schema_cost(schema, self.left)
        self.left -= cost.steps
        return cost


def schema_cost(schema: JsonObject, limit: int = MAX_COST) -> SchemaCost:
    """Return the cost of a schema, in time linear in its size.

    Args:
        schema: The JSON Schema.
        limit: The highest cost, in steps.

    Raises:
        SchemaTooCostly: The cost is above `limit`, or the schema applies itself to the same value without end.
    """
    _refuse_addresses(schema)
    _refuse_nesting(schema)
    graph = _Graph(schema)
    steps, is_recursive = _expanded(graph, limit)
    if steps > limit:
        raise SchemaTooCostly(
            "is too large a schema once every '$ref' is replaced by its target: the schemas of a request may have "
            f"{MAX_COST} steps together. Define each part once, and combine fewer alternatives"
        )
    return SchemaCost(steps, is_plain=graph.is_plain and not is_recursive)


@dataclass(slots=True)
class _Node:
    """One subschema: what it costs by itself, and the numbers of those that it applies."""

    own: int = 1
    factor: int = 1
    same: list[int] = field(default_factory=list)
    inner: list[int] = field(default_factory=list)


class _Graph:
    """The subschemas that are reachable from the root, each once."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._numbers: dict[int, int] = {id(root): 0}
        self._schemas: list[JsonObject] = [root]
        self._anchors: dict[str, list[JsonObject]] | None = None
        self.nodes: list[_Node] = []
        self.is_plain = True
        while len(self.nodes) < len(self._schemas):
            self.nodes.append(self._read(self._schemas[len(self.nodes)]))

    def _read(self, schema: JsonObject) -> _Node:
        node = _Node()
        for key, value in schema.items():
            if key not in _PLAIN:
                self.is_plain = False
            if key in _REFERENCES and isinstance(value, str):
                for target in self._targets(value):
                    node.same.append(self._number(target))
                node.own += 1 if value.startswith("#") else _FOREIGN_COST
            elif key in _SAME or key in _INNER:
                applied = node.same if key in _SAME else node.inner
                for one in _subschemas(key, value):
                    if isinstance(one, dict):
                        applied.append(self._number(one))
                    else:
                        node.own += 1
            elif key in _COMPARED:
                node.own += _size(value)
            if key == "pattern":
                node.own += _pattern_cost(value)
            elif key == "patternProperties" and isinstance(value, dict):
                node.own += sum(map(_pattern_cost, value))
            elif key in ("unevaluatedItems", "unevaluatedProperties"):
                # What stands beside it is applied once more, to learn what it has evaluated.
                node.factor = 2
        return node

    def _number(self, schema: JsonObject) -> int:
        number = self._numbers.setdefault(id(schema), len(self._schemas))
        if number == len(self._schemas):
            self._schemas.append(schema)
        return number

    # --- references

    def _targets(self, reference: str) -> list[JsonObject]:
        """Every subschema that a reference can mean: more than one where names repeat. Empty for another document."""
        if reference in ("#", ""):
            return [self._root]
        if reference.startswith("#/"):
            found = self._at(reference)
            return [found] if found is not None else []
        return self._anchored().get(unquote(reference[1:]), []) if reference.startswith("#") else []

    def _at(self, pointer: str) -> JsonObject | None:
        node: Any = self._root
        for step in pointer.split("/")[1:]:
            name = (unquote(step) if "%" in step else step).replace("~1", "/").replace("~0", "~")
            if isinstance(node, dict) and name in node:
                node = node[name]
            elif isinstance(node, list) and name.isdigit() and len(name) < 8 and int(name) < len(node):
                node = node[int(name)]
            else:
                return None
        return node if isinstance(node, dict) else None

    def _anchored(self) -> dict[str, list[JsonObject]]:
        """Anchors by name, wherever they stand."""
        if self._anchors is None:
            self._anchors = {}
            for schema in _objects(self._root):
                for key in _ANCHORS:
                    name = schema.get(key)
                    if isinstance(name, str):
                        self._anchors.setdefault(name, []).append(schema)
        return self._anchors


def _refuse_addresses(root: JsonObject) -> None:
    """Reject addresses, which the graph cannot follow.

    An address inside a schema changes the meaning of each `$ref` below it, and a `$ref` can spell an address of this
    document in many ways.
    """
    address = "id" if "draft-04" in str(root.get("$schema")) else "$id"
    is_meta = _META_SCHEMAS[0] in f"{root.get(address)}/" or _META_SCHEMAS[1] in f"{root.get(address)}/"
    has_address = has_reference = False
    for schema in _objects(root):
        has_address = has_address or (schema is not root and isinstance(schema.get(address), str))
        for key in _REFERENCES:
            reference = schema.get(key)
            if isinstance(reference, str):
                has_reference = True
                if reference[:1] not in ("#", "") and (is_meta or not reference.startswith(_META_SCHEMAS)):
                    raise SchemaTooCostly(
                        f"has a '{key}' to '{reference[:60]}', and nothing is fetched: refer by '#/$defs/…'"
                    )
    if has_address and has_reference:
        raise SchemaTooCostly(f"has an '{address}' inside it beside a '$ref': leave the inner '{address}' out")


def _refuse_nesting(root: JsonObject) -> None:
    level: list[Any] = [root]
    for _ in range(_MAX_NESTING):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise SchemaTooCostly(f"is nested more than {_MAX_NESTING} levels deep")


def _subschemas(key: str, value: Any) -> Iterable[Any]:
    """The subschemas that a keyword holds: a map's values, a list's entries, or the value itself."""
    if isinstance(value, dict):
        return value.values() if key in _MAPS else (value,)
    return value if isinstance(value, list) else (value,)


def _objects(root: JsonObject) -> Iterator[JsonObject]:
    """Every object in a schema, whether it is a subschema or not."""
    waiting: list[Any] = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _size(value: Any) -> int:
    """Values, and what comparing long texts costs."""
    size, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        size += 1
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, str):
            size += len(one) // _CHARACTERS_PER_STEP
    return size


def _pattern_cost(pattern: Any) -> int:
    return _PATTERN_COST + (len(pattern) if isinstance(pattern, str) else 0)


# --- the expansion


def _expanded(graph: _Graph, limit: int) -> tuple[int, bool]:
    """(steps of the root, at most `limit + 1`; whether anything is recursive)."""
    nodes = graph.nodes
    group_of, groups = _groups(nodes)
    steps, depth = [0] * len(nodes), [0] * len(nodes)
    is_recursive = False
    for number, group in enumerate(groups):
        once = 0
        for member in group if len(group) == 1 else _innermost_first(nodes, group, group_of):
            node = nodes[member]
            if member in node.same:
                raise _endless()
            total, outside, deepest = node.own, node.own, 0
            for target in node.same:
                total += steps[target]
                outside += steps[target] if group_of[target] != number else 0
                deepest = max(deepest, depth[target])
            for target in node.inner:
                if group_of[target] == number:
                    is_recursive = True
                    total += 1
                else:
                    total += steps[target]
                    outside += steps[target]
                    deepest = max(deepest, depth[target])
            once = min(once + outside * node.factor, limit + 1)
            steps[member], depth[member] = min(total * node.factor, limit + 1), deepest + 1
            if depth[member] > _MAX_DEPTH:
                raise SchemaTooCostly(f"is nested more than {_MAX_DEPTH} levels deep once every '$ref' is replaced")
        for member in group:
            # A cycle costs as much as all that is on it, wherever it is entered.
            steps[member] = max(steps[member], once)
    return steps[0], is_recursive


def _endless() -> SchemaTooCostly:
    return SchemaTooCostly("has a '$ref' that leads back to itself without going into a property or an item")


def _innermost_first(nodes: list[_Node], group: list[int], group_of: list[int]) -> list[int]:
    """Return the members of a cycle, each after those that it applies to the same value.

    Raises:
        SchemaTooCostly: There is no such order.
    """
    number = group_of[group[0]]
    waits_for = {member: sum(1 for target in nodes[member].same if group_of[target] == number) for member in group}
    wanted_by: dict[int, list[int]] = {member: [] for member in group}
    for member in group:
        for target in nodes[member].same:
            if group_of[target] == number:
                wanted_by[target].append(member)
    ready = [member for member in group if not waits_for[member]]
    for member in ready:
        for outer in wanted_by[member]:
            waits_for[outer] -= 1
            if not waits_for[outer]:
                ready.append(outer)
    if len(ready) < len(group):
        raise _endless()
    return ready


def _groups(nodes: list[_Node]) -> tuple[list[int], list[list[int]]]:
    """Return the strongly connected components, by Tarjan's algorithm without recursion.

    Returns:
        The number of each node's component, and the components, each after those that it leads to.
    """
    index, low = [-1] * len(nodes), [0] * len(nodes)
    group_of, groups = [-1] * len(nodes), list[list[int]]()
    count, path = 0, list[int]()
    calls: list[tuple[int, Iterator[int]]] = []

    def enter(node: int) -> None:
        nonlocal count
        index[node] = low[node] = count
        count += 1
        path.append(node)
        calls.append((node, chain(nodes[node].same, nodes[node].inner)))

    enter(0)
    while calls:
        node, targets = calls[-1]
        for target in targets:
            if index[target] < 0:
                enter(target)
                break
            if group_of[target] < 0:
                low[node] = min(low[node], index[target])
        else:
            calls.pop()
            if calls:
                low[calls[-1][0]] = min(low[calls[-1][0]], low[node])
            if low[node] == index[node]:
                group = list[int]()
                while not group or group[-1] != node:
                    group.append(path.pop())
                    group_of[group[-1]] = len(groups)
                groups.append(group)
    return group_of, groups
