"""Usage of one answer: token counts as a vendor reports them, and an estimate for each that is missing.

What this prevents: an odd count (a string, a fraction, a word, a negative number) that fails an answer that was read
to its end, and a half of the usage that is charged as zero.
"""

from __future__ import annotations

import math
from typing import Any

from activities.providers.shared.estimates import estimated_input, estimated_output
from open_responses.contracts import SampleCall
from open_responses.deltas import Usage

# Beyond this, it is no count, and JSON numbers are not exact.
_LARGEST = 2**53


def count_in(value: Any) -> int | None:
    """The count that a vendor reports; None for null, a word, a negative number, and anything else that is none.

    A fraction is rounded up, and a number in a string is read.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        return None
    return math.ceil(value)


def first_count(*values: Any) -> int:
    """The first of the counts that is above zero; 0 where none is."""
    return next((count for value in values if (count := count_in(value))), 0)


class TokenCounts:
    """Makes the usage of one call. `received` are the characters of the answer so far, for the estimate."""

    def __init__(self, call: SampleCall) -> None:
        self.received = 0
        self._call = call
        self._sent: int | None = None

    def usage(
        self,
        read: int | None = None,
        written: int | None = None,
        *,
        cached: int = 0,
        cache_written: int = 0,
        reasoning: int = 0,
    ) -> Usage:
        """The usage, whose parts never exceed the whole.

        Args:
            read: All input tokens; None, or zero, if the vendor does not report them.
            written: All output tokens; None if the vendor does not report them. Zero is believed of a vendor that
                reports input tokens.
            cached: Those of the input from a cache.
            cache_written: Those of the input written to a cache.
            reasoning: Those of the output that are reasoning.
        """
        is_estimated = False
        if written is None or (not written and not read):
            written, is_estimated = max(estimated_output(self.received), reasoning), True
        if not read:
            read, is_estimated = max(self._estimated_input(), cached + cache_written), True
        cached = min(cached, read)
        return Usage(
            input_tokens=read,
            output_tokens=written,
            cached_tokens=cached,
            cache_write_tokens=min(cache_written, read - cached),
            reasoning_tokens=min(reasoning, written),
            estimated=is_estimated,
        )

    def _estimated_input(self) -> int:
        """Computed once: a server may report half of the usage with each chunk."""
        if self._sent is None:
            self._sent = estimated_input(self._call)
        return self._sent
