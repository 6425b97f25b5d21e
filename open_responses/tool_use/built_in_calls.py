"""The earlier calls of built-in tools in a context, as far as the next model turn needs them.

A new call gets the number behind theirs, a text may cite their sources, and a tool may go on with what its newest call
used (a container).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import CALL, BuiltInCall, without_call
from open_responses.schema.items import InputItem


@dataclass(frozen=True, slots=True)
class EarlierCalls:
    """The calls of built-in tools in a context.

    Attributes:
        count: The number of the newest call; 0 if there is none.
        newest: The newest item by its type, in OpenAI's form.
        sources: The annotations that a text may cite, by their marks: `1:2` is the second source of the first call.
    """

    count: int = 0
    newest: Mapping[str, JsonObject] = field(default_factory=dict)
    sources: Mapping[str, JsonObject] = field(default_factory=dict)


def earlier_calls(items: Iterable[InputItem], output: Iterable[JsonObject]) -> EarlierCalls:
    """Return the calls in a context: the conversation before the response and its input, then its output so far."""
    found = [item.model_dump(mode="json", exclude_unset=True) for item in items if isinstance(item, BuiltInCall)] + [
        item for item in output if CALL in item
    ]
    if not found:
        return EarlierCalls()
    count, newest, sources = 0, dict[str, JsonObject](), dict[str, JsonObject]()
    for item in found:
        call = item[CALL]
        ordinal = call.get("ordinal", 0)
        if "caller" not in item:
            # The numbers of a program's calls follow from the program's.
            count = max(count, ordinal)
        newest[item["type"]] = without_call(item)
        sources |= {f"{ordinal}:{number}": cited for number, cited in enumerate(call.get("citations") or [], start=1)}
    return EarlierCalls(count, newest, sources)
