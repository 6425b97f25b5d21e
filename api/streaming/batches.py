"""Events that are sent to a client together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TypeAlias

Batch: TypeAlias = list[bytes]
"""Consecutive encoded events of one stream. An empty one stands for a second of silence."""

NextBatch: TypeAlias = Callable[[], Awaitable[Batch | None]]
"""Reads on in one stream: the next batch, or None behind the last one."""

# As much as uvicorn's buffer holds before a sender has to wait for its client. A larger batch would only be a second
# copy of what waits.
_LARGEST_BYTES = 64 * 1024


def in_batches(events: Iterable[bytes]) -> Iterator[Batch]:
    """These events, in batches of at most 64 KiB; a larger event is a batch of its own."""
    batch: Batch = []
    size = 0
    for event in events:
        if batch and size + len(event) > _LARGEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event)
    if batch:
        yield batch
