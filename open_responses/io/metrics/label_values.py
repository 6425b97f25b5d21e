"""The values that labels may have: models, tools and MCP servers by the configuration, tenants up to a number."""

from __future__ import annotations

from open_responses.config import Config
from open_responses.io.metrics.families import OTHER
from open_responses.models.catalog import is_pattern

# The most values for models that only a pattern matches, and for tenants that only keys made at run time have.
_MOST_MODELS = 100
_MOST_TENANTS = 50
# docs/errors.md has about as many. Adapters and middlewares of an operator may have codes of their own.
_MOST_CODES = 150
_LONGEST = 100


class LabelValues:
    """Replaces each value that the configuration does not name by `other`, or by a number of first ones."""

    def __init__(self, config: Config) -> None:
        exact = {route.model for route in config.routes if not is_pattern(route)}
        upstream = {route.upstream_model for route in config.routes if route.upstream_model is not None}
        self._models = exact | upstream
        self._patterns = [route for route in config.routes if is_pattern(route)]
        self._most_models = len(self._models) + _MOST_MODELS
        self._tenants = {key.tenant for key in config.api_keys}
        self._most_tenants = max(_MOST_TENANTS, len(self._tenants))
        self._tools = {tool.name for tool in config.tools} | config.built_in_tools.keys()
        self._servers = {server.label for server in config.mcp_servers}
        self._providers = {provider.name for provider in config.providers}
        self._codes = set[str]()

    def model(self, name: str) -> str:
        """The name of a model that a route names; of those that a pattern matches, the first hundred."""
        if name in self._models:
            return name
        if len(name) > _LONGEST or len(self._models) >= self._most_models:
            return OTHER
        if not any(route.matches(name) for route in self._patterns):
            return OTHER
        self._models.add(name)
        return name

    def tenant(self, name: str) -> str:
        """The name of a tenant; of tenants that no configuration names, the first so many."""
        if name in self._tenants:
            return name
        if len(name) > _LONGEST or len(self._tenants) >= self._most_tenants:
            return OTHER
        self._tenants.add(name)
        return name

    def tool(self, name: str) -> str:
        """The name of a hosted or built-in tool, or `mcp:{label}` for the tools of a configured MCP server."""
        if name in self._tools:
            return name
        label, has_dot, _ = name.partition(".")
        return f"mcp:{self.server(label)}" if has_dot else OTHER

    def server(self, label: str) -> str:
        """The label of a configured MCP server."""
        return label if label in self._servers else OTHER

    def provider(self, name: str) -> str:
        """The name of a configured provider."""
        return name if name in self._providers else OTHER

    def code(self, code: str) -> str:
        """An error code; of all codes, the first so many."""
        if code in self._codes:
            return code
        if len(code) > _LONGEST or len(self._codes) >= _MOST_CODES:
            return OTHER
        self._codes.add(code)
        return code
