"""The limits of a hosted tool, as one response has them."""

from __future__ import annotations

from open_responses.schema.payload import Payload


class HostedTool(Payload):
    """A hosted tool with the configuration's limits at the start of the response: later changes do not reach it."""

    name: str
    timeout_seconds: float = 30
    max_attempts: int = 3
    retry_seconds: float = 1
    task_queue: str | None = None
    require_approval: bool = False
