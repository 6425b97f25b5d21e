"""The times of one call of a model, for the metrics: until the first delta, until the last, and until its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from activities.sampling.attempt_state import AttemptState
from open_responses.contracts import Halt
from open_responses.deltas import Delta, Finish, ResumeToken
from open_responses.errors import OpenResponsesError
from open_responses.io.metrics import recording as metrics


class CallTimes:
    """Seconds on the monotonic clock, from the call on."""

    __slots__ = ("_began", "ended", "first", "last", "output_tokens")

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.first: float | None = None
        self.last: float | None = None
        self.ended: float | None = None
        self.output_tokens = 0

    def came(self, delta: Delta) -> None:
        """Note the time of a delta. Each delta calls this, so it only reads the clock."""
        if isinstance(delta, Finish):
            self.output_tokens, self.ended = delta.usage.output_tokens, self.so_far
        elif not isinstance(delta, ResumeToken):
            self.last = time.monotonic() - self._began
            if self.first is None:
                self.first = self.last

    @property
    def so_far(self) -> float:
        return time.monotonic() - self._began


@contextmanager
def timed_call(state: AttemptState) -> Iterator[CallTimes]:
    """Record the times of one call of the model, and the code of the error that ended it."""
    times, error = CallTimes(), None
    try:
        yield times
    except OpenResponsesError as failure:
        error = failure.error_code
        raise
    except (asyncio.CancelledError, GeneratorExit):
        error = "cancelled"
        raise
    except Halt:
        error = "halted"
        raise
    except Exception as failure:
        error = type(failure).__name__
        raise
    finally:
        call = state.attempt.call
        metrics.model_call_ended(
            call.provider,
            call.upstream_model,
            state.context.start.tenant,
            seconds=times.so_far if times.ended is None else times.ended,
            to_first=times.first,
            to_last=times.last,
            output_tokens=times.output_tokens,
            error=error,
        )
