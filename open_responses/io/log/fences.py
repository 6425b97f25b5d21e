"""Fences: numbers that order the attempts at one response, so that the log rejects the appends of an earlier one.

What this prevents: a worker that resumes late and appends to a log that has a newer writer.
"""

from __future__ import annotations

_MAX_ATTEMPTS = 1 << 20


def fence(epoch: int, attempt: int) -> int:
    """The order of the attempts at one response: the workflow's epoch, then Temporal's attempt."""
    return epoch * _MAX_ATTEMPTS + attempt


def is_of_attempt(owner: int) -> bool:
    """Whether a fence is that of an attempt at a model turn.

    The workflow's own events (its end among them) have attempt 0; a closed log has the highest number of all.
    """
    return 0 < owner % _MAX_ATTEMPTS < _MAX_ATTEMPTS - 1


END_FENCE = fence(1 << 32, 0)
"""The fence of an end that another process writes for the run (`outside_ends.py`): above every epoch of a workflow."""


def epoch_of(owner: int) -> int:
    """The epoch in a fence; 0 for the fences of ends, which no workflow mints."""
    return 0 if owner >= END_FENCE else owner // _MAX_ATTEMPTS
