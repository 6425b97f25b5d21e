"""The models of the configuration file (`open_responses.toml`): providers, routes, tools, middleware and API keys.

An unknown key is an error, because a typo would otherwise change the behaviour without notice. `io.settings` reads the
file.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from open_responses.config_tables.built_in import BuiltInToolConfig
from open_responses.config_tables.files import FilesConfig
from open_responses.config_tables.interpreter import CodeInterpreterConfig, ProgramConfig
from open_responses.config_tables.vector_stores import VectorStoresConfig
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.config_tables.workflow_tools import AGENT_BUILT_INS, MOST_AGENT_LEVELS, AgentConfig, WaitConfig
from open_responses.contracts import Resume
from open_responses.json_types import JsonObject
from open_responses.schedules.payloads import ScheduleLimits
from open_responses.schema.price import ModelPrice
from open_responses.schema.url_parts import is_below
from open_responses.webhooks.endpoints import WebhookConfig, WebhookDelivery

BUILT_IN_ADAPTERS = ("openai", "openai-chat", "anthropic", "gemini", "ollama", "scripted")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProviderConfig(_Table):
    """A `[[providers]]` table.

    Attributes:
        name: The name by which routes refer to the provider.
        adapter: A built-in adapter, or `my_package.module:Adapter`.
        base_url: The base URL, as in the vendor's own SDK. A scripted provider has none.
        api_key_env: The environment variable with the API key.
        timeout_seconds: The longest time without a byte from the provider. The length of an answer is not limited.
        resume: How an interrupted answer is continued; the adapter's default if None.
        max_event_bytes: The largest event of a stream, or the largest answer that is not streamed. An image arrives
            in one event.
        price_list: The provider of `genai-prices` whose prices apply, such as `openai`, for a gateway in front of it.
            If None, the address in `base_url` decides.
        script: The file with the answers of the adapter `scripted`.
    """

    name: str = Field(min_length=1)
    adapter: str
    base_url: str = Field(default="", pattern=r"^https?://")
    api_key_env: str | None = None
    timeout_seconds: float = Field(default=600, gt=0)
    resume: Resume | None = None
    max_event_bytes: int = Field(default=16 * 1024 * 1024, ge=1024 * 1024)
    price_list: str | None = Field(default=None, pattern=r"^[a-z0-9_-]{1,64}$")
    script: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _has_what_its_adapter_needs(self) -> ProviderConfig:
        if self.adapter == "scripted":
            if self.script is None:
                raise ValueError("script is missing: it names the file with the answers of the adapter 'scripted'")
        elif not self.base_url:
            raise ValueError("base_url is missing: set it to the address of the provider's API")
        return self

    @model_validator(mode="after")
    def _adapter_is_known(self) -> ProviderConfig:
        if self.adapter not in BUILT_IN_ADAPTERS and ":" not in self.adapter:
            known = ", ".join(BUILT_IN_ADAPTERS)
            raise ValueError(
                f"adapter must be one of {known}, or a 'my_package.module:Adapter', but is {self.adapter!r}"
            )
        return self


class RouteConfig(_Table):
    """A `[[routes]]` table. The first route that matches the request's model applies.

    Attributes:
        model: A shell pattern, compared with the request's `model`.
        provider: The name of the provider.
        upstream_model: The provider's name of the model; the request's if None.
        context_window: Tokens that the model can read, for `truncation: auto`.
        fallbacks: Models to use, in this order, while the provider is unavailable.
        price: The price of the model; that of `genai-prices` if None.
    """

    model: str = Field(min_length=1)
    provider: str
    upstream_model: str | None = None
    context_window: int | None = Field(default=None, gt=0)
    fallbacks: tuple[str, ...] = ()
    price: ModelPrice | None = None

    def matches(self, model: str) -> bool:
        """Return whether the route's pattern matches a model's name."""
        return fnmatchcase(model, self.model)


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


class ToolConfig(_Table):
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


class McpServerConfig(_Table):
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


class MiddlewareConfig(_Table):
    """A `[[middleware]]` table.

    Attributes:
        target: The class, as `my_package.module:Class`.
        options: The keyword arguments of the class.
    """

    target: str = Field(pattern=r"^[\w.]+:\w+$")
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


KeyScope = Literal["admin"]
"""What a key may do beyond the requests of its tenant."""

_KEY_ID_DIGITS = 24


def key_id(sha256: str) -> str:
    """Return the public id of an API key: a part of its hash, from which the key cannot be found."""
    return f"key_{sha256[:_KEY_ID_DIGITS]}"


class ApiKeyConfig(_Table):
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
"""Providers that need no configuration. A provider of the same name in the file replaces one of them."""

BUILT_IN_ROUTES = (
    *(RouteConfig(model=pattern, provider="openai") for pattern in ("gpt-*", "o1*", "o3*", "o4*")),
    RouteConfig(model="claude-*", provider="anthropic"),
    RouteConfig(model="gemini-*", provider="gemini"),
    *(RouteConfig(model=pattern, provider="ollama") for pattern in ("llama*", "mistral*", "phi*", "qwen*")),
)
"""Routes that apply after those of the file."""


class Config(_Table):
    """The whole configuration file.

    Attributes:
        max_turns: The largest number of model turns in one response.
        deadline_seconds: The longest time of one response; no limit if None.
        strict_tools: Whether a built-in tool that the route's provider lacks is an error. If false, it is left out of
            the provider's request, unless `tool_choice` forces it.
        allow_private_addresses: Whether requests may name MCP servers on loopback and private networks.
        providers: The `[[providers]]` tables.
        routes: The `[[routes]]` tables, in the order in which they are compared.
        tools: The `[[tools]]` tables.
        mcp_servers: The `[[mcp_servers]]` tables.
        web_search: The `[web_search]` table, which enables web search for providers that lack it.
        code_interpreter: The `[code_interpreter]` table, which enables the code interpreter for providers that lack it.
        programmatic_tool_calling: The `[programmatic_tool_calling]` table, which enables programs that call tools for
            providers that lack them.
        file_search: The `[file_search]` table, which enables the search in vector stores for providers that lack it.
        middleware: The `[[middleware]]` tables, outermost first.
        files: The `[files]` table.
        vector_stores: The `[vector_stores]` table.
        api_keys: The `[[api_keys]]` tables. Without any, the server is open and listens on loopback only.
        webhooks: The `[webhooks]` table.
        schedules: The `[schedules]` table.
    """

    max_turns: int = Field(default=100, ge=1)
    deadline_seconds: float | None = Field(default=None, gt=0)
    strict_tools: bool = False
    allow_private_addresses: bool = False
    providers: tuple[ProviderConfig, ...] = ()
    routes: tuple[RouteConfig, ...] = ()
    tools: tuple[ToolConfig, ...] = ()
    mcp_servers: tuple[McpServerConfig, ...] = ()
    web_search: WebSearchConfig | None = None
    code_interpreter: CodeInterpreterConfig | None = None
    programmatic_tool_calling: ProgramConfig | None = None
    file_search: BuiltInToolConfig | None = None
    middleware: tuple[MiddlewareConfig, ...] = ()
    files: FilesConfig = FilesConfig()
    vector_stores: VectorStoresConfig = VectorStoresConfig()
    api_keys: tuple[ApiKeyConfig, ...] = ()
    webhooks: WebhookDelivery = WebhookDelivery()
    schedules: ScheduleLimits = ScheduleLimits()

    @model_validator(mode="after")
    def _names_agree(self) -> Config:
        names = [provider.name for provider in self.providers]
        _refuse_doubles("providers are named", names)
        names += [provider.name for provider in BUILT_IN_PROVIDERS]
        for route in self.routes:
            if route.provider not in names:
                raise ValueError(
                    f"route {route.model!r} names provider {route.provider!r}, which is not in [[providers]]: add it "
                    "there"
                )
        self._check_embedding(names)
        _refuse_doubles("tools are named", [tool.name for tool in self.tools])
        _refuse_doubles("MCP servers have the label", [server.label for server in self.mcp_servers])
        label = self.web_search.mcp_server if self.web_search is not None else None
        if label is not None and self.mcp_server(label) is None:
            raise ValueError(
                f"[web_search] names the mcp_server {label!r}, which is not in [[mcp_servers]]: add it there"
            )
        self._check_keys()
        for tool in self.tools:
            self._check_agent(tool, ())
        return self

    def _check_embedding(self, names: list[str]) -> None:
        name = self.vector_stores.embedding_provider
        if name is None:
            return
        if name not in names:
            raise ValueError(
                f"vector_stores.embedding_provider names {name!r}, which is not in [[providers]]: add it there"
            )
        adapters = {provider.name: provider.adapter for provider in (*BUILT_IN_PROVIDERS, *self.providers)}
        if adapters[name] not in ("openai", "openai-chat"):
            raise ValueError(
                f"vector_stores.embedding_provider names {name!r}, whose adapter is {adapters[name]!r}: only providers "
                "with OpenAI's API ('openai', 'openai-chat') have /embeddings"
            )

    def _check_agent(self, tool: ToolConfig, above: tuple[str, ...]) -> None:
        """Reject an agent that would call itself, or has too many levels of agents below it."""
        if tool.agent is None:
            return
        if tool.name in above or len(above) >= MOST_AGENT_LEVELS:
            way = " -> ".join([*above, tool.name])
            raise ValueError(f"agents call each other in a circle, or on more than {MOST_AGENT_LEVELS} levels: {way}")
        for name in tool.agent.tools:
            found = self.tool(name)
            is_built_in = name in AGENT_BUILT_INS and name in self.built_in_tools
            if found is None and self.mcp_server(name) is None and not is_built_in:
                raise ValueError(
                    f"the agent {tool.name!r} names the tool {name!r}, which is neither in [[tools]], nor a label in "
                    f"[[mcp_servers]], nor {' or '.join(AGENT_BUILT_INS)} with a table of its own: add it there, or "
                    "remove it from the agent"
                )
            if found is not None:
                self._check_agent(found, (*above, tool.name))

    def _check_keys(self) -> None:
        """Reject a scope that names an unknown tool, so that a typo stops the start and not the tenant's requests."""
        # By their ids: the message goes into logs.
        _refuse_doubles("API keys have the hash of", [key.id for key in self.api_keys])
        known = {tool.name for tool in self.tools} | {server.label for server in self.mcp_servers}
        known |= self.built_in_tools.keys()
        for key in self.api_keys:
            _refuse_doubles(f"webhooks of the API key {key.id} have the url", [hook.url for hook in key.webhooks])
            for name in key.tools:
                if name not in known:
                    raise ValueError(
                        f"the API key of {key.tenant!r} names the tool {name!r}, which is neither in [[tools]], nor a "
                        "label in [[mcp_servers]], nor a built-in tool with a table of its own: add it there, or "
                        "remove it from the key"
                    )

    def with_built_ins(self) -> Config:
        """Return a copy with the built-in providers and routes after those of the file.

        Raises:
            ValueError: A route falls back to a model that no route matches.
        """
        names = {provider.name for provider in self.providers}
        added = tuple(provider for provider in BUILT_IN_PROVIDERS if provider.name not in names)
        whole = self.model_copy(
            update={"providers": (*self.providers, *added), "routes": (*self.routes, *BUILT_IN_ROUTES)}
        )
        for route in self.routes:
            for model in route.fallbacks:
                if whole.route(model) is None:
                    raise ValueError(
                        f"route {route.model!r} falls back to {model!r}, but no route matches that: add a route"
                    )
        for tool in whole.tools:
            if tool.agent is not None and whole.route(tool.agent.model) is None:
                raise ValueError(f"agent {tool.name!r} has the model {tool.agent.model!r}, but no route matches that")
        return whole

    def route(self, model: str) -> RouteConfig | None:
        """Return the first route that matches a model, or None: there is no default model."""
        return next((route for route in self.routes if route.matches(model)), None)

    def provider(self, name: str) -> ProviderConfig:
        """Return the provider of a name that a route has."""
        return next(provider for provider in self.providers if provider.name == name)

    def tool(self, name: str) -> ToolConfig | None:
        """Return the hosted tool of a name, or None."""
        return next((tool for tool in self.tools if tool.name == name), None)

    @property
    def built_in_tools(self) -> dict[str, BuiltInToolConfig]:
        """The built-in tools that this server runs, by name."""
        tables: dict[str, BuiltInToolConfig | None] = {
            "web_search": self.web_search,
            "code_interpreter": self.code_interpreter,
            "programmatic_tool_calling": self.programmatic_tool_calling,
            "file_search": self.file_search,
        }
        return {name: table for name, table in tables.items() if table is not None}

    def weight_of(self, tenant: str) -> float:
        """Return a tenant's share of the workers while work is waiting: the largest `weight` of its keys."""
        return max((key.weight for key in self.api_keys if key.tenant == tenant), default=1.0)

    def mcp_server(self, label: str) -> McpServerConfig | None:
        """Return the MCP server of a label, or None."""
        return next((server for server in self.mcp_servers if server.label == label), None)

    def trusts(self, url: str) -> bool:
        """Return whether a request may name this URL even if it leads to a private address.

        It may if `allow_private_addresses` is set, or if the URL is that of a configured MCP server or below it.
        Another path on the same host is not trusted, since a proxy may serve other systems there.
        """
        if self.allow_private_addresses:
            return True
        return any(is_below(server.url, url) for server in self.mcp_servers)


def _refuse_doubles(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two {what} {name!r}: change one of them")
