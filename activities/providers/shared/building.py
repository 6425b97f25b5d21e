"""A turn's request body, built off the event loop where the context is long.

What this prevents: all streams of the worker pause for half a second while one context of 160,000 parts is translated.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from open_responses.contracts import SampleCall
from open_responses.schema.content import OutputText
from open_responses.schema.items import InputItem
from open_responses.schema.off_loop import LARGE_BYTES, off_loop

# Items and parts. Translating this many takes two milliseconds.
_MANY = 500
Built = TypeVar("Built")


async def built(call: SampleCall, work: Callable[[], Built]) -> Built:
    """Return `work()`, computed in a thread if the context is long. Raises the errors of `work`."""
    return await off_loop(LARGE_BYTES + 1 if _is_long(call) else 0, work)


def _is_long(call: SampleCall) -> bool:
    found = len(call.items)
    for item in call.items:
        if found > _MANY:
            break
        found += _entries(item)
    return found > _MANY


def _entries(item: InputItem) -> int:
    """Count parts and their citations: each citation of an answer is an entry of its own."""
    lists = [found for name in ("content", "output", "summary") if isinstance(found := getattr(item, name, None), list)]
    return sum(
        1 + len((part.annotations or ()) if isinstance(part, OutputText) else ()) for parts in lists for part in parts
    )
