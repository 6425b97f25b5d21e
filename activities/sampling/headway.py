"""How far a try has come: what its failure means, and what comes next, depends on it."""

from __future__ import annotations

from dataclasses import dataclass

from open_responses.errors import OpenResponsesError, ProviderStreamBroken, ProviderTimeout


@dataclass(slots=True)
class Headway:
    """`deltas` counts those that the provider sent. `is_read_again`: they are of an answer that a lost try began, and
    `has_told` says whether any of them was new. `has_token`: the provider keeps the answer, to be read again.
    `halted_by`: the error that a middleware ended the response with. `excess`: the bound of ours that the answer was
    cut off at."""

    deltas: int = 0
    has_begun: bool = False
    has_token: bool = False
    is_read_again: bool = False
    has_told: bool = False
    halted_by: OpenResponsesError | None = None
    excess: str | None = None

    def has_lost_answer(self, error: OpenResponsesError) -> bool:
        """Whether an answer that could be read again would not go on: the provider ended it with an error, or has it no
        more.

        A connection that breaks or falls silent says nothing of the answer, unless a whole reading told nothing new.
        """
        if not self.has_token:
            return False
        if not isinstance(error, ProviderStreamBroken | ProviderTimeout):
            return error.retryable and self.has_begun
        return self.is_read_again and not self.has_told

    def goes_on_at_once(self, error: OpenResponsesError) -> bool:
        """A stream that broke after some progress goes on at once; without any, Temporal waits and tries again."""
        if self.halted_by is not None or not error.retryable:
            return False
        return self.deltas > 0 or (isinstance(error, ProviderStreamBroken) and self.has_lost_answer(error))
