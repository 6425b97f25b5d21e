"""The limits of a hosted tool, as one response has them."""

from __future__ import annotations

from open_responses.schema.payload import Payload
from open_responses.tool_use.agents import AgentPlan


class HostedTool(Payload):
    """A hosted tool with the configuration's limits at the start of the response: later changes do not reach it.

    `max_wait_seconds`: the tool waits, and this is its longest wait; None for any other tool. `lifetime_seconds` is the
    longest time from the response's start to the end of a wait. `agent`: the tool is an agent.
    """

    name: str
    timeout_seconds: float = 30
    max_attempts: int = 3
    retry_seconds: float = 1
    task_queue: str | None = None
    require_approval: bool = False
    max_wait_seconds: float | None = None
    lifetime_seconds: float | None = None
    agent: AgentPlan | None = None
