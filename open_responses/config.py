"""The TOML file: what is routed where. Its shape is fixed, people write it by hand.

Unknown keys are refused: a typo in a configuration must not pass in silence. Reading the file is `io.settings`' job.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from open_responses.contracts import Resume
from open_responses.json_types import JsonObject

BUILT_IN_ADAPTERS = ("openai", "openai-chat", "anthropic", "gemini", "ollama")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderConfig(_Table):
    """`[[providers]]`. `base_url` is as in that vendor's own SDK; `timeout_seconds` bounds silence, not length.

    `max_event_bytes` bounds one event of a stream, or a whole answer that is not streamed. Images come in one event.
    """

    name: str = Field(min_length=1)
    adapter: str
    base_url: str = Field(pattern=r"^https?://")
    api_key_env: str | None = None
    timeout_seconds: float = Field(default=600, gt=0)
    resume: Resume | None = None
    max_event_bytes: int = Field(default=16 * 1024 * 1024, ge=1024 * 1024)

    @model_validator(mode="after")
    def _adapter_is_known(self) -> ProviderConfig:
        if self.adapter not in BUILT_IN_ADAPTERS and ":" not in self.adapter:
            known = ", ".join(BUILT_IN_ADAPTERS)
            raise ValueError(f"adapter {self.adapter!r} is not one of {known}, nor a 'my_package.module:Adapter'")
        return self


class RouteConfig(_Table):
    """`[[routes]]`: the first whose shell pattern matches the request's model wins."""

    model: str = Field(min_length=1)
    provider: str
    upstream_model: str | None = None
    context_window: int | None = Field(default=None, gt=0)
    fallbacks: tuple[str, ...] = ()

    def matches(self, model: str) -> bool:
        return fnmatchcase(model, self.model)


RESERVED_TOOL_NAMES = frozenset({"sample", "finish", "publish", "list_mcp_tools", "call_mcp_tool", "claim_approvals"})
"""Names of our own activities: a tool's name is the name of its activity."""


class ToolConfig(_Table):
    """`[[tools]]`: a hosted tool.

    With `task_queue`, another worker fleet runs it as an activity of that name; if `target` cannot be imported here,
    `description` and `parameters` (a JSON Schema) say what the model is told. `retry_seconds` is the pause before the
    second attempt; it doubles from there.
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
    require_approval: bool = False

    @model_validator(mode="after")
    def _can_be_run(self) -> ToolConfig:
        if self.name in RESERVED_TOOL_NAMES:
            raise ValueError(f"the name {self.name!r} is one of the server's own activities; choose another")
        if self.target is None and self.task_queue is None:
            raise ValueError(f"tool {self.name!r} needs a target, or the task_queue of the fleet that runs it")
        return self


class McpServerConfig(_Table):
    """`[[mcp_servers]]`: offered to requests by label."""

    label: str = Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$")
    url: str = Field(pattern=r"^https?://")
    headers_env: dict[str, str] = Field(default_factory=dict)
    timeout_seconds: float = Field(default=60, gt=0, le=600)


class MiddlewareConfig(_Table):
    """`[[middleware]]`: `target` is called with `options` as keywords."""

    target: str = Field(pattern=r"^[\w.]+:\w+$")
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


class ApiKeyConfig(_Table):
    """`[[api_keys]]`: one tenant's key, by its SHA-256. What it may ask for and how much of it is the entry's own: a
    second key of the same tenant has its own limits.

    `models` are shell patterns, `tools` names of hosted tools and labels of MCP servers; without any, all may be had.
    Tokens are counted as responses end. `max_open_streams`, `max_received_bytes` (of requests not answered yet) and
    `reads_per_minute` (all requests that begin no response) are counted by each API process for itself. `weight` is
    the tenant's share where work has to wait.
    """

    tenant: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    requests_per_minute: int | None = Field(default=None, gt=0)
    tokens_per_minute: int | None = Field(default=None, gt=0)
    max_concurrent: int | None = Field(default=None, gt=0)
    max_open_streams: int = Field(default=100, gt=0)
    max_received_bytes: int = Field(default=128 * 1024 * 1024, gt=0)
    reads_per_minute: int | None = Field(default=None, gt=0)
    budget_tokens: int | None = Field(default=None, gt=0)
    budget_period: Literal["day", "month"] = "month"
    weight: float = Field(default=1.0, ge=0.001, le=1000)

    @property
    def account(self) -> str:
        """What its use is counted under: the first half of the key's SHA-256 hash's hexadecimal digits."""
        return self.sha256[:32]

    @property
    def has_limits(self) -> bool:
        limits = (self.requests_per_minute, self.tokens_per_minute, self.max_concurrent, self.budget_tokens)
        return any(limit is not None for limit in limits)

    def allows_model(self, model: str) -> bool:
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def allows_tool(self, name: str) -> bool:
        """A hosted tool by its name, an MCP server by its label."""
        return not self.tools or name in self.tools


BUILT_IN_PROVIDERS = (
    ProviderConfig(name="openai", adapter="openai", base_url="https://api.openai.com/v1", api_key_env="OPENAI_API_KEY"),
    ProviderConfig(
        name="anthropic", adapter="anthropic", base_url="https://api.anthropic.com", api_key_env="ANTHROPIC_API_KEY"
    ),
    ProviderConfig(
        name="gemini",
        adapter="gemini",
        base_url="https://generativelanguage.googleapis.com",
        api_key_env="GEMINI_API_KEY",
    ),
    ProviderConfig(name="ollama", adapter="ollama", base_url="http://127.0.0.1:11434"),
)
"""There without a word of configuration; a provider of the same name in the file takes its place."""

BUILT_IN_ROUTES = (
    *(RouteConfig(model=pattern, provider="openai") for pattern in ("gpt-*", "o1*", "o3*", "o4*")),
    RouteConfig(model="claude-*", provider="anthropic"),
    RouteConfig(model="gemini-*", provider="gemini"),
    *(RouteConfig(model=pattern, provider="ollama") for pattern in ("llama*", "mistral*", "phi*", "qwen*")),
)
"""Behind the file's own."""


class Config(_Table):
    """The whole file.

    `max_turns` bounds the loop of one response, `deadline_seconds` its whole time (none by default).
    `allow_private_addresses` lets requests name MCP servers on loopback and private networks.
    """

    max_turns: int = Field(default=100, ge=1)
    deadline_seconds: float | None = Field(default=None, gt=0)
    allow_private_addresses: bool = False
    providers: tuple[ProviderConfig, ...] = ()
    routes: tuple[RouteConfig, ...] = ()
    tools: tuple[ToolConfig, ...] = ()
    mcp_servers: tuple[McpServerConfig, ...] = ()
    middleware: tuple[MiddlewareConfig, ...] = ()
    api_keys: tuple[ApiKeyConfig, ...] = ()

    @model_validator(mode="after")
    def _names_agree(self) -> Config:
        names = [provider.name for provider in self.providers]
        _refuse_doubles("providers are named", names)
        names += [provider.name for provider in BUILT_IN_PROVIDERS]
        for route in self.routes:
            if route.provider not in names:
                raise ValueError(
                    f"route {route.model!r} names provider {route.provider!r}, which is not in [[providers]]"
                )
        _refuse_doubles("tools are named", [tool.name for tool in self.tools])
        _refuse_doubles("MCP servers have the label", [server.label for server in self.mcp_servers])
        self._check_keys()
        return self

    def _check_keys(self) -> None:
        """A scope with a typo would be found by the tenant who cannot work."""
        _refuse_doubles("API keys have the hash", [key.sha256 for key in self.api_keys])
        known = {tool.name for tool in self.tools} | {server.label for server in self.mcp_servers}
        for key in self.api_keys:
            for name in key.tools:
                if name not in known:
                    raise ValueError(
                        f"the API key of {key.tenant!r} names the tool {name!r}, which is neither in [[tools]] nor a "
                        "label in [[mcp_servers]]"
                    )

    def with_built_ins(self) -> Config:
        """The same, with the built-in providers and routes behind its own.

        Raises ValueError for a fallback to a model that no route knows.
        """
        names = {provider.name for provider in self.providers}
        added = tuple(provider for provider in BUILT_IN_PROVIDERS if provider.name not in names)
        whole = self.model_copy(
            update={"providers": (*self.providers, *added), "routes": (*self.routes, *BUILT_IN_ROUTES)}
        )
        for route in self.routes:
            for model in route.fallbacks:
                if whole.route(model) is None:
                    raise ValueError(f"route {route.model!r} falls back to {model!r}, which no route knows")
        return whole

    def route(self, model: str) -> RouteConfig | None:
        """The first route that matches, or None: there is no silent default model."""
        return next((route for route in self.routes if route.matches(model)), None)

    def provider(self, name: str) -> ProviderConfig:
        return next(provider for provider in self.providers if provider.name == name)

    def tool(self, name: str) -> ToolConfig | None:
        return next((tool for tool in self.tools if tool.name == name), None)

    def weight_of(self, tenant: str) -> float:
        """A tenant's share where work has to wait: that of its weightiest key."""
        return max((key.weight for key in self.api_keys if key.tenant == tenant), default=1.0)

    def mcp_server(self, label: str) -> McpServerConfig | None:
        return next((server for server in self.mcp_servers if server.label == label), None)

    def trusts(self, url: str) -> bool:
        """Whether a request may name this URL wherever it points: all may, or it is at or below a configured server's.
        A neighbour of that server, behind the same proxy, is not the server."""
        if self.allow_private_addresses:
            return True
        place = _place(url)
        return place is not None and any(_is_below(_place(server.url), place) for server in self.mcp_servers)


_PORTS = {"http": 80, "https": 443}


class _Place(NamedTuple):
    scheme: str
    host: str
    port: int | None
    path: tuple[str, ...]


def _place(url: str) -> _Place | None:
    """Where a URL points, segment by segment. None for one that could be read in more than one way: with a user, a
    backslash, an empty segment, a dot segment, or an escaped slash or dot."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    segments = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    is_odd = any(part in ("", ".", "..") or re.search(r"%(2[ef]|5c|25)", part, re.IGNORECASE) for part in segments)
    if host is None or "@" in parts.netloc or "\\" in url or "//" in parts.path or is_odd:
        return None
    return _Place(parts.scheme, host, port or _PORTS.get(parts.scheme), tuple(segments))


def _is_below(server: _Place | None, place: _Place) -> bool:
    return server is not None and place[:3] == server[:3] and place.path[: len(server.path)] == server.path


def _refuse_doubles(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what} {name!r}; names are unique")
