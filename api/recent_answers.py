"""Answers of the last second, by what was asked.

What this prevents: Temporal that answers the same list for each of twenty open consoles, each second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable

from open_responses.io.background import in_background
from open_responses.json_types import JsonObject

FRESH_SECONDS = 1.0
# Filters that differ. An answer is a page of at most 100 entries.
_MOST_KEPT = 200


class RecentAnswers:
    """Makes an answer once for all who ask within a second; those who ask meanwhile wait for the same."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made: dict[Hashable, tuple[float, JsonObject]] = {}
        self._making: dict[Hashable, asyncio.Task[JsonObject | Exception]] = {}

    async def get(self, key: Hashable, make: Callable[[], Awaitable[JsonObject]]) -> JsonObject:
        """The answer to `key`, from `make` if there is no fresh one. `key` has to name all that the answer depends on.

        Raises what `make` raises. An error is not kept.
        """
        self._drop_old()
        known = self._made.get(key)
        if known is not None:
            return known[1]
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = in_background("an operator's list", self._make(key, make))
        # A caller that leaves does not take the answer from the others.
        outcome = await asyncio.shield(making)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[JsonObject]]) -> JsonObject | Exception:
        try:
            answer = await make()
        except Exception as error:  # noqa: BLE001 - raised again in each caller, whose border maps it
            return error
        else:
            self._made[key] = (self._clock(), answer)
            return answer
        finally:
            del self._making[key]

    def _drop_old(self) -> None:
        oldest = self._clock() - FRESH_SECONDS
        for key, (made_at, _) in list(self._made.items()):
            # In the order in which they were made.
            if made_at > oldest and len(self._made) <= _MOST_KEPT:
                break
            del self._made[key]
