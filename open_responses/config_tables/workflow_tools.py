"""Hosted tools that the response's workflow runs itself, as the configuration has them: without a worker's activity."""

from __future__ import annotations

from pydantic import Field

from open_responses.config_tables.table import Table

MOST_AGENT_LEVELS = 3
"""The agents of an agent's agents. Each response has the plans of all that are below it."""
AGENT_BUILT_INS = ("web_search",)
"""The built-in tools of this server that an agent may have: those that need no parameters."""
LONGEST_WAIT_SECONDS = 30 * 24 * 3600.0


class WaitConfig(Table):
    """`wait` in a `[[tools]]` table: the tool lets the model wait for a time, by a durable timer.

    Attributes:
        max_seconds: The longest single wait.
    """

    max_seconds: float = Field(default=7 * 24 * 3600.0, gt=0, le=LONGEST_WAIT_SECONDS)


class AgentConfig(Table):
    """`agent` in a `[[tools]]` table: each call of the tool starts a response of its own.

    Attributes:
        model: The model of the agent's response.
        instructions: Its instructions.
        tools: The hosted tools, by name, and the MCP servers, by label, that the agent may use, and `web_search`, if it
            has a table. Hosted tools may be agents.
        max_turns: The most model turns of one call.
        max_output_tokens: The most output tokens of one call; no limit if None.
        deadline_seconds: The longest time of one call.
        max_calls: The most calls of one response.
    """

    model: str = Field(min_length=1)
    instructions: str | None = None
    tools: tuple[str, ...] = ()
    max_turns: int = Field(default=30, ge=1)
    max_output_tokens: int | None = Field(default=None, ge=16)
    deadline_seconds: float = Field(default=3600.0, gt=0)
    max_calls: int = Field(default=8, ge=1, le=100)
