"""A log of each sample and tool call: tenant, model or tool, time, duration and tokens, without any content."""

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
    """Writes one JSON line for each attempt at a sample or a tool call.

    `outcome` is the finish reason of a sample, `done` for a tool call, the class of the error, or `stopped` for an
    attempt that was cancelled or moved to another worker. If the line cannot be written, the attempt fails, so that no
    call goes unrecorded.

    Args:
        path: The file to append to; standard output if None.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = Path(path) if path else None

    async def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        """Pass the sample on, and write a line at its end."""
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
        """Pass the call on, and write a line at its end."""
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
    """Append the line in one write, so that lines of several processes do not mix."""
    with path.open("ab", buffering=0) as file:
        file.write(line.encode())
