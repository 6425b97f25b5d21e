"""Upper bound of the work that one JSON Schema causes, computed before anything is compiled or validated.

Without this bound, 41 definitions of 60 bytes, each an `allOf` with two references to the next, keep a validator busy
for 2^40 steps. The cost of a schema is its size after every `$ref` was replaced by its target. It is computed on the
graph of subschemas: each subschema is visited once, so the time is linear in the schema's text however large the
expansion is.

A reference that goes back to an enclosing definition (a tree, a linked list) counts as one step, because how often it
is followed depends on the answer. The deadline of the process that validates (`open_responses.io.schema_checks`)
bounds that part.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from open_responses.json_types import JsonObject
from open_responses.schema.json_schema_graph import REFERENCES, Node, SchemaGraph, objects

MAX_COST = 200_000
"""For all schemas of one request, or of one MCP server's list, together: 512 tools of some 400 steps each."""
_MAX_DEPTH = 100
"""Levels of subschemas after expansion: validators and translations recurse, and OpenAI takes ten."""
_MAX_NESTING = 64
"""Levels of objects and arrays, as of what an MCP server sends."""
_META_SCHEMAS = ("http://json-schema.org/", "https://json-schema.org/")


class SchemaTooCostly(ValueError):
    """The schema cannot be accepted; the message completes the sentence "'<param>' …"."""


@dataclass(frozen=True, slots=True)
class SchemaCost:
    """`steps` bounds the subschemas that are applied to one value and the values in it, level by level.

    `is_plain`: `steps` times the length of a text bounds the work of validating that text. It is False with patterns,
    with recursion, and with keywords that compare or re-evaluate (`uniqueItems`, `unevaluatedProperties`).
    """

    steps: int
    is_plain: bool


@dataclass(slots=True)
class SchemaBudget:
    """The cost that the schemas of one request, or of one MCP server, may have together."""

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
    graph = SchemaGraph(schema)
    steps, is_recursive = _expanded(graph, limit)
    if steps > limit:
        raise SchemaTooCostly(
            "is too large a schema once every '$ref' is replaced by its target: the schemas of a request may have "
            f"{MAX_COST} steps together. Define each part once, and combine fewer alternatives"
        )
    return SchemaCost(steps, is_plain=graph.is_plain and not is_recursive)


def _refuse_addresses(root: JsonObject) -> None:
    """Reject addresses, which the graph cannot follow.

    An address inside a schema changes the meaning of each `$ref` below it, and a `$ref` can spell an address of this
    document in many ways.
    """
    address = "id" if "draft-04" in str(root.get("$schema")) else "$id"
    is_meta = _META_SCHEMAS[0] in f"{root.get(address)}/" or _META_SCHEMAS[1] in f"{root.get(address)}/"
    has_address = has_reference = False
    for schema in objects(root):
        has_address = has_address or (schema is not root and isinstance(schema.get(address), str))
        for key in REFERENCES:
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


def _expanded(graph: SchemaGraph, limit: int) -> tuple[int, bool]:
    """Return (the steps of the root, at most `limit + 1`; whether a part of the schema is recursive)."""
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
            # A cycle costs as much as all of its members, at whichever member it is entered.
            steps[member] = max(steps[member], once)
    return steps[0], is_recursive


def _endless() -> SchemaTooCostly:
    return SchemaTooCostly("has a '$ref' that leads back to itself without going into a property or an item")


def _innermost_first(nodes: list[Node], group: list[int], group_of: list[int]) -> list[int]:
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


def _groups(nodes: list[Node]) -> tuple[list[int], list[list[int]]]:
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
