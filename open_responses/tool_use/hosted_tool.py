"""A hosted tool as one response may call it."""

from __future__ import annotations

from open_responses.schema.payload import Payload


class HostedTool(Payload):
    """A hosted tool as the request's response may call it: the configuration's limits, frozen at the start."""

    name: str
    timeout_seconds: float = 30
    max_attempts: int = 3
    retry_seconds: float = 1
    task_queue: str | None = None
    require_approval: bool = False
