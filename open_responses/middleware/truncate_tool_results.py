"""Long results of tools, cut for the model: it rarely needs a whole log, and pays for it on every turn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

from open_responses.context.excerpt import shorten_results
from open_responses.contracts import Middleware, SampleContext, SampleNext
from open_responses.deltas import Delta


class TruncateToolResults(Middleware):
    """Each result that is longer keeps its beginning and its end, with a note in between of what was left out.

    Only for the model: the response keeps the whole result, and so does whoever reads it. An image or a file in it
    counts as four characters for each of its tokens (4,000 for an image), and goes, with a note, if that is too much.
    """

    def __init__(self, max_characters: int = 20_000) -> None:
        if max_characters < 100:
            raise ValueError("max_characters must be at least 100")
        self._limit = max_characters

    def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        items = shorten_results(context.call.items, self._limit)
        return call_next(replace(context, call=replace(context.call, items=items)))
