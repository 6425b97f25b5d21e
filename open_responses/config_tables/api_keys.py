"""The `[[api_keys]]` tables: an API key with its tenant, its scopes and its limits."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from open_responses.config_tables.table import Table
from open_responses.webhooks.endpoints import WebhookConfig

KeyScope = Literal["admin"]
"""What a key may do beyond the requests of its tenant."""

_KEY_ID_DIGITS = 24


def key_id(sha256: str) -> str:
    """Return the public id of an API key: a part of its hash, from which the key cannot be found."""
    return f"key_{sha256[:_KEY_ID_DIGITS]}"


class ApiKeyConfig(Table):
    """An `[[api_keys]]` table: an API key of a tenant, with its own scope and limits.

    Each API process counts `max_open_streams`, `max_received_bytes` and `reads_per_minute` by itself. The other limits
    are shared by all processes. A limit of None does not apply.

    Attributes:
        tenant: The tenant that owns everything that the key creates.
        sha256: The SHA-256 of the key, in hexadecimal.
        scopes: `admin` lets the key read what every tenant has stored, and use the endpoints of operators.
        models: Shell patterns of the models that the key may use; all models if empty.
        tools: Names of hosted tools, of built-in tools that this server runs, and labels of MCP servers that the key
            may use; all if empty.
        requests_per_minute: Responses that the key may start in a minute.
        tokens_per_minute: Tokens in a minute, counted as responses end.
        max_concurrent: Responses that may run at the same time.
        max_open_streams: Streams that may be open at the same time.
        max_received_bytes: Bytes of requests that are not answered yet.
        reads_per_minute: Requests in a minute that start no response.
        budget_tokens: Tokens in a `budget_period`. A model turn reserves an estimate; the count is exact once the
            response has ended.
        budget_usd: US dollars in a `budget_period`, reserved and counted in the same way.
        budget_period: The period of the budgets: a day or a month.
        weight: The tenant's share of the workers while work is waiting.
        webhooks: The `[[api_keys.webhooks]]` tables.
    """

    tenant: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[KeyScope, ...] = ()
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)
    max_concurrent: int | None = Field(default=None, gt=0)
    max_open_streams: int = Field(default=100, gt=0)
    max_received_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    reads_per_minute: int | None = Field(default=None, gt=0)
    budget_tokens: int | None = Field(default=None, gt=0)
    budget_usd: float | None = Field(default=None, gt=0, le=1_000_000, allow_inf_nan=False)
    budget_period: Literal["day", "month"] = "month"
    weight: float = Field(default=1.0, ge=0.001, le=1000)
    webhooks: tuple[WebhookConfig, ...] = ()

    @property
    def id(self) -> str:
        """The public id of the key."""
        return key_id(self.sha256)

    @property
    def is_admin(self) -> bool:
        """Whether the key is an operator's."""
        return "admin" in self.scopes

    @property
    def account(self) -> str:
        """The name under which usage is counted: the first 32 hexadecimal digits of `sha256`."""
        return self.sha256[:32]

    @property
    def has_limits(self) -> bool:
        """Whether the key has a limit or budget that all API processes share."""
        limits = (
            self.requests_per_minute,
            self.tokens_per_minute,
            self.max_concurrent,
            self.budget_tokens,
            self.budget_usd,
        )
        return any(limit is not None for limit in limits)

    def allows_model(self, model: str) -> bool:
        """Return whether the key may use a model."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def allows_tool(self, name: str) -> bool:
        """Return whether the key may use a hosted or built-in tool, by its name, or an MCP server, by its label."""
        return not self.tools or name in self.tools
