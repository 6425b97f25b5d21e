"""Who asked which model and ran which tool, when, for how long, at what cost. Never what was said."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from open_responses.contracts import Middleware, SampleContext, SampleNext, ToolContext, ToolNext, ToolOutput
from open_responses.deltas import Delta, Finish


class AuditLog(Middleware):
    """One JSON line for each sample and each tool call, appended to `path`, or on standard output without one.

    A try that was retried has a line of its own, with its `attempt`. `outcome` is the sample's finish reason, `done`,
    or the name of the error; `stopped` for what was cancelled or handed over in the middle.
    What cannot be written fails the try: nothing goes on unrecorded.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = Path(path) if path else None

    async def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        began, outcome, usage = time.monotonic(), "stopped", None
        try:
            async for delta in call_next(context):
                if isinstance(delta, Finish):
                    outcome, usage = delta.reason, delta.usage
                yield delta
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self._write(
                "sample",
                began,
                response_id=context.response_id,
                tenant=context.tenant,
                turn=context.turn,
                attempt=context.attempt,
                model=context.call.model,
                outcome=outcome,
                input_tokens=usage.input_tokens if usage else None,
                output_tokens=usage.output_tokens if usage else None,
            )

    async def around_tool(self, context: ToolContext, call_next: ToolNext) -> ToolOutput:
        began, outcome = time.monotonic(), "stopped"
        try:
            output = await call_next(context)
            outcome = "done"
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self._write(
                "tool_call",
                began,
                response_id=context.response_id,
                tenant=context.tenant,
                tool=context.tool,
                call_id=context.call_id,
                attempt=context.attempt,
                outcome=outcome,
            )
        return output

    def _write(self, what: str, began: float, **members: Any) -> None:
        seconds = round(time.monotonic() - began, 3)
        line = json.dumps({"at": round(time.time(), 3), "event": what, **members, "seconds": seconds}) + "\n"
        if self._path is None:
            sys.stdout.write(line)
            sys.stdout.flush()
        else:
            _append(self._path, line)


def _append(path: Path, line: str) -> None:
    """One write of a whole line: processes that append to one file do not mix theirs."""
    with path.open("ab", buffering=0) as file:
        file.write(line.encode())
