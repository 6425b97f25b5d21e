"""Has the model write the summary that takes the place of a long conversation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from open_responses.contracts import SampleContext
from open_responses.deltas import Delta, Finish, TextDelta, Usage
from open_responses.errors import ProviderStreamBroken


async def summarize(
    sample: Callable[[SampleContext], AsyncGenerator[Delta, None]], context: SampleContext
) -> tuple[str, Usage]:
    """The notes and what they cost. Raises what the sample raises, ProviderStreamBroken for notes without a word."""
    words: list[str] = []
    async with aclosing(sample(context)) as stream:
        async for delta in stream:
            if isinstance(delta, TextDelta):
                words.append(delta.text)
            if isinstance(delta, Finish):
                if not "".join(words).strip():
                    break
                return "".join(words), delta.usage
    raise ProviderStreamBroken("the model wrote no summary of the conversation that is to be compacted")
