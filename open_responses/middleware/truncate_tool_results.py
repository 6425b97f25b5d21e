"""Shortens long tool results in the context: a model rarely needs a whole log, and reads it again on every turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from open_responses.context.excerpt import shorten_results
from open_responses.contracts import Middleware, SampleContext, SampleNext
from open_responses.deltas import Delta


class TruncateToolResults(Middleware):
    """Keeps the beginning and the end of each long result, with a note between them about the omitted part.

    Only the model reads the shortened result: the response keeps the whole. An image or a file counts as four
    characters for each of its tokens (4,000 characters for an image); if that exceeds the limit, a note replaces it.

    Args:
        max_characters: The longest result that is passed on whole, at least 100 characters.

    Raises:
        ValueError: `max_characters` is less than 100.
    """

    def __init__(self, max_characters: int = 20_000) -> None:
        if max_characters < 100:
            raise ValueError("max_characters must be at least 100")
        self._limit = max_characters

    def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        """Shorten the results in the context, and pass the sample on."""
        items = shorten_results(context.call.items, self._limit)
        return call_next(replace(context, call=replace(context.call, items=items)))
