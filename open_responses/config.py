"""The configuration file (`open_responses.toml`) as a whole, and its tables of providers, routes and middleware.

`open_responses/config_tables/` has the other tables. `io.settings` reads the file.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from pydantic import Field, model_validator

from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.config_tables.built_in import BuiltInToolConfig
from open_responses.config_tables.files import FilesConfig
from open_responses.config_tables.interpreter import CodeInterpreterConfig, ProgramConfig
from open_responses.config_tables.table import Table
from open_responses.config_tables.tools import McpServerConfig, ToolConfig
from open_responses.config_tables.vector_stores import VectorStoresConfig
from open_responses.config_tables.web_search import WebSearchConfig
from open_responses.config_tables.workflow_tools import AGENT_BUILT_INS, MOST_AGENT_LEVELS
from open_responses.contracts import Resume
from open_responses.schedules.payloads import ScheduleLimits
from open_responses.schema.price import ModelPrice
from open_responses.schema.url_parts import is_below
from open_responses.webhooks.endpoints import WebhookDelivery

BUILT_IN_ADAPTERS = ("openai", "openai-chat", "anthropic", "gemini", "ollama", "scripted")


class ProviderConfig(Table):
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


class RouteConfig(Table):
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


class MiddlewareConfig(Table):
    """A `[[middleware]]` table.

    Attributes:
        target: The class, as `my_package.module:Class`.
        options: The keyword arguments of the class.
    """

    target: str = Field(pattern=r"^[\w.]+:\w+$")
    options: dict[str, str | int | float | bool] = Field(default_factory=dict)


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


class Config(Table):
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
