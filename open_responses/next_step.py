"""The pure decision after each turn: is this the answer, or does the loop go on?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from open_responses.payloads import SampleResult


@dataclass(frozen=True, slots=True)
class Stop:
    """The response ends with this status."""

    status: Literal["completed", "incomplete"]
    incomplete_reason: str | None = None


def next_step(result: SampleResult) -> Stop:
    """What follows from a finished turn (REQ-4, ITEM-2).

    Calls of client tools end the response as `completed`: the client runs them and comes back. Hosted tools will add a
    second kind of step here.
    """
    if result.finish_reason == "length":
        return Stop("incomplete", "max_output_tokens")
    if result.finish_reason == "content_filter":
        return Stop("incomplete", "content_filter")
    return Stop("completed")
