"""The `[[tools]]` and `[[mcp_servers]]` tables: the tools that this server runs for the model."""

from __future__ import annotations

from pydantic import Field, model_validator

from open_responses.config_tables.table import Table
from open_responses.config_tables.workflow_tools import AgentConfig, WaitConfig
from open_responses.json_types import JsonObject

RESERVED_TOOL_NAMES = frozenset(
    {
        "announce_webhooks",
        "call_built_in_tool",
        "call_mcp_tool",
        "claim_approvals",
        "finish",
        "ingest_embed",
        "ingest_end",
        "ingest_read",
        "list_mcp_tools",
        "publish",
        "run_program_step",
        "sample",
        "send_webhook",
    }
)
"""Names that no tool may have, because the server's own activities have them: each tool is an activity of its name."""


class ToolConfig(Table):
    """A `[[tools]]` table: a hosted tool.

    Attributes:
        name: The name that the model calls, and the name of the activity.
        target: The function, as `my_package.module:function`.
        description: The description that the model reads; the function's docstring if None.
        parameters: The JSON Schema of the arguments; the function's signature if None.
        strict: Whether the provider must enforce the schema; its default if None.
        timeout_seconds: The longest time of one attempt.
        max_attempts: The number of attempts in all.
        retry_seconds: The pause before the second attempt. Each later pause is twice as long.
        task_queue: The task queue of another worker fleet that runs the tool. `target` is then optional.
        wait: The tool waits for a time, in the workflow itself. It has no `target`.
        agent: The tool is an agent: each call starts a response of its own. It has no `target`.
        require_approval: Whether a person must approve each call.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    target: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None
    timeout_seconds: float = Field(default=30, gt=0)
    max_attempts: int = Field(default=3, ge=1)
    retry_seconds: float = Field(default=1, gt=0)
    task_queue: str | None = None
    wait: WaitConfig | None = None
    agent: AgentConfig | None = None
    require_approval: bool = False

    @model_validator(mode="after")
    def _can_be_run(self) -> ToolConfig:
        if self.name in RESERVED_TOOL_NAMES:
            raise ValueError(f"the name {self.name!r} is one of the server's own activities; choose another")
        if self.runs_in_workflow:
            if any(given is not None for given in (self.target, self.task_queue, self.parameters)) or (
                self.wait is not None and self.agent is not None
            ):
                raise ValueError(
                    f"tool {self.name!r} has 'wait' or 'agent': remove its target, its task_queue, its parameters, and "
                    "the other of the two"
                )
            if self.agent is not None and not self.description:
                raise ValueError(f"tool {self.name!r} is an agent without a description: add what it is good for")
            return self
        if self.target is None and self.task_queue is None:
            raise ValueError(
                f"tool {self.name!r} has no target: add one, or the task_queue of the fleet that runs the tool"
            )
        return self

    @property
    def runs_in_workflow(self) -> bool:
        """Whether the response's workflow runs the tool, and no activity."""
        return self.wait is not None or self.agent is not None


class McpServerConfig(Table):
    """A `[[mcp_servers]]` table: an MCP server that requests name by its label.

    Attributes:
        label: The `server_label` of requests.
        url: The URL of the server's streamable HTTP endpoint.
        headers_env: HTTP headers, each with the environment variable that has its value.
        timeout_seconds: The longest time of one call.
    """

    label: str = Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")
    url: str = Field(pattern=r"^https?://")
    headers_env: dict[str, str] = Field(default_factory=dict)
    timeout_seconds: float = Field(default=60, gt=0, le=600)
