"""Compares the requests of two turns: a provider's prompt cache applies only if the later one starts as the earlier."""

from __future__ import annotations

import json
from typing import Any


def without(value: Any, names: frozenset[str]) -> Any:
    """Return a JSON value without the named members, at any depth."""
    if isinstance(value, dict):
        return {name: without(inner, names) for name, inner in value.items() if name not in names}
    return [without(inner, names) for inner in value] if isinstance(value, list) else value


def difference(before: Any, after: Any, at: str = "$") -> str | None:
    """Return the path of the first difference, or None if `after` only appends to `before`, in one place at most."""
    if json.dumps(before) == json.dumps(after):
        return None
    if isinstance(before, str) and isinstance(after, str):
        return None if after.startswith(before) else at
    if isinstance(before, dict) and isinstance(after, dict) and list(before) == list(after):
        grown = [name for name in before if json.dumps(before[name]) != json.dumps(after[name])]
        return difference(before[grown[0]], after[grown[0]], f"{at}.{grown[0]}") if len(grown) == 1 else at
    if isinstance(before, list) and isinstance(after, list) and len(before) <= len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=False)):
            if json.dumps(one) != json.dumps(other):
                last = index == len(before) - 1
                return difference(one, other, f"{at}[{index}]") if last else f"{at}[{index}]"
        return None
    return at
