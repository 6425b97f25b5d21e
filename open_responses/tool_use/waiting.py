"""The tool with which a model waits for a time: its function, its arguments, and its outputs.

The outputs have no clock of their own: a workflow task that is repeated has another time than its first run, and would
publish another text (`workflows/waiting.py`).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from open_responses.config_tables.workflow_tools import WaitConfig
from open_responses.contracts import ToolError
from open_responses.json_types import JsonObject
from open_responses.schema.tools import FunctionTool

_DESCRIPTION = (
    "Waits until a time, or for some seconds, and returns when the time has come. Use it where something has to happen "
    "first: nothing runs and nothing is paid for meanwhile. A message of the user ends the wait early."
)
_PARAMETERS: JsonObject = {
    "type": "object",
    "properties": {
        "until": {
            "type": "string",
            "description": "The time to wait for, in RFC 3339 with its offset: 2026-12-01T09:00:00Z.",
        },
        "seconds": {"type": "number", "description": "The seconds to wait. Give this or 'until', not both."},
    },
    "additionalProperties": False,
}
PASSED = "There was nothing to wait for: that time has come already."
WOKEN = "A message of the user ended the wait before its time. It follows."


@dataclass(frozen=True, slots=True)
class Wait:
    """What a model asked for. `text` says it for people. One of `until` (Unix seconds) and `seconds` is set."""

    text: str
    until: float | None = None
    seconds: float | None = None

    def length(self, now: float) -> float:
        """The seconds from now on."""
        return self.seconds if self.seconds is not None else (self.until or 0) - now

    @property
    def over(self) -> str:
        """The output behind the wait."""
        return f"The wait is over: it was {self.text}."


def wait_function(name: str, config: WaitConfig, description: str | None, *, strict: bool | None) -> FunctionTool:
    """The function as the model gets it."""
    limit = f" The longest wait is {spoken(config.max_seconds)}."
    return FunctionTool(
        type="function",
        name=name,
        description=description or _DESCRIPTION + limit,
        parameters=_PARAMETERS,
        strict=strict,
    )


def read_wait(arguments: JsonObject, now: float, longest: float, ends_in: float | None) -> Wait:
    """The wait that a call asks for.

    Args:
        arguments: The call's arguments.
        now: Unix seconds.
        longest: The longest wait, in seconds.
        ends_in: The seconds that the response may still run; None for no limit.

    Raises:
        ToolError: The arguments are no wait, or the wait is too long. The model reads the message.
    """
    wait = _read(arguments)
    length = wait.length(now)
    if ends_in is not None and length >= ends_in:
        raise ToolError(
            f"Not waited: this response may run for {spoken(max(0.0, ends_in))} more, and would end before. Ask for "
            "less, or answer now."
        )
    if length > longest:
        raise ToolError(f"Not waited: the longest wait is {spoken(longest)}. Ask for less, and wait again after it.")
    return wait


def _read(arguments: JsonObject) -> Wait:
    unknown = [name for name in arguments if name not in ("until", "seconds")]
    until, seconds = arguments.get("until"), arguments.get("seconds")
    if unknown or (until is None) == (seconds is None):
        raise ToolError("Give either 'until', a time in RFC 3339, or 'seconds', a number, and nothing else.")
    if seconds is not None:
        # An integer of JSON may be larger than any float: its conversion would fail the workflow's task, without end.
        most = sys.float_info.max
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= most:
            raise ToolError("'seconds' must be a number that is not negative.")
        return Wait(f"for {spoken(seconds)}", seconds=float(seconds))
    try:
        # A date alone, or a time without an offset, would be read as another time than the model meant.
        time = datetime.fromisoformat(until) if isinstance(until, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ToolError(
            "'until' must be a time in RFC 3339 with its offset, such as 2026-12-01T09:00:00Z or "
            "2026-12-01T10:00:00+01:00."
        )
    try:
        shown, stamp = time.astimezone(UTC), time.timestamp()
    except OverflowError:
        raise ToolError("'until' must be a time in this or the next centuries.") from None
    return Wait(f"until {shown:%Y-%m-%d %H:%M:%S} UTC", until=stamp)


def spoken(seconds: float) -> str:
    """`2 days 3 h`, `90 s`: the two largest units."""
    if seconds < 120:
        return f"{seconds:g} s"
    left, parts = int(seconds), []
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count} {name if (name != 'days' or count > 1) else 'day'}")
    return " ".join(parts[:2])
