"""The model of the `[web_search]` table of the configuration file, and what each search backend can do."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from open_responses.config_tables.built_in import BuiltInToolConfig
from open_responses.json_types import JsonObject

SearchBackendName: TypeAlias = Literal["searxng", "brave", "tavily", "exa", "mcp"]

_ADDRESSES: dict[str, str] = {
    "brave": "https://api.search.brave.com/res/v1",
    "tavily": "https://api.tavily.com",
    "exa": "https://api.exa.ai",
}
_PLACEHOLDERS = ("query", "limit", "recency", "country", "allowed_domains", "blocked_domains")


class WebSearchConfig(BuiltInToolConfig):
    """The `[web_search]` table.

    Attributes:
        backend: Where searches go: `searxng`, `brave`, `tavily`, `exa`, or `mcp` for a tool of an MCP server. Required
            without a `target`.
        url: The backend's address. Required for `searxng`; the vendor's own if absent.
        api_key_env: The environment variable with the backend's API key. Required for `brave`, `tavily` and `exa`.
        mcp_server: The label of the MCP server in `[[mcp_servers]]`.
        mcp_tool: The name of its tool that searches.
        mcp_arguments: The tool's arguments. A value such as `"{query}"` is replaced; there are `{query}`, `{limit}`,
            `{recency}`, `{country}`, `{allowed_domains}` and `{blocked_domains}`. An argument whose value a search
            does not have is left out. If absent, `query` alone.
        language: The language of results where the backend can be asked for one, such as `en`.
        wait_seconds: The longest wait for the backend's answer, and for a page.
        open_pages: Whether the model may read pages. If false, it is offered the search alone.
        obey_robots: Whether a page that its site's `robots.txt` closes to `OpenResponses` stays unread.
        contact: An address for operators of sites, which the `User-Agent` names.
        private_hosts: Hosts, as in the URL with the port if there is one, whose pages may be read although they are on
            a private network or this machine.
    """

    backend: SearchBackendName | None = None
    url: str | None = Field(default=None, pattern=r"^https?://")
    api_key_env: str | None = Field(default=None, min_length=1)
    mcp_server: str | None = None
    mcp_tool: str | None = Field(default=None, min_length=1)
    mcp_arguments: JsonObject = Field(default_factory=lambda: {"query": "{query}"})
    language: str | None = Field(default=None, pattern=r"^[a-z]{2,3}$")
    wait_seconds: float = Field(default=15, gt=0, le=300)
    open_pages: bool = True
    obey_robots: bool = True
    contact: str | None = Field(default=None, pattern=r"^[!-'*-~]{3,200}$")
    private_hosts: tuple[str, ...] = ()

    @field_validator("private_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not host or any(character in "/@?#" or character.isspace() for character in host):
                raise ValueError(f"{host!r} is not a host such as 'wiki.corp' or '127.0.0.1:8080': leave the rest out")
        return tuple(host.lower() for host in hosts)

    @model_validator(mode="after")
    def _has_what_its_backend_needs(self) -> WebSearchConfig:
        if self.backend is None and self.target is None:
            raise ValueError("backend is missing: it is one of searxng, brave, tavily, exa and mcp")
        if self.wait_seconds > self.timeout_seconds:
            raise ValueError("wait_seconds is longer than timeout_seconds: an attempt would end before its wait")
        if self.backend == "searxng" and self.url is None:
            raise ValueError("url is missing: set it to the address of the SearXNG instance")
        if self.backend in _ADDRESSES and self.api_key_env is None:
            raise ValueError(
                f"api_key_env is missing: name the environment variable with the API key of {self.backend!r}"
            )
        if self.backend != "mcp":
            if self.mcp_server is not None or self.mcp_tool is not None:
                raise ValueError("mcp_server and mcp_tool need backend = 'mcp'")
            return self
        if self.mcp_server is None or self.mcp_tool is None:
            raise ValueError("backend 'mcp' needs mcp_server, a label in [[mcp_servers]], and mcp_tool")
        if self.url is not None or self.api_key_env is not None:
            raise ValueError("backend 'mcp' has neither url nor api_key_env: they are in [[mcp_servers]]")
        if "query" not in self.mcp_placeholders:
            raise ValueError("no value of mcp_arguments is '{query}', so the tool would not get the query")
        return self

    @property
    def address(self) -> str:
        """The backend's address without a slash at its end; empty for an MCP server."""
        return (self.url or _ADDRESSES.get(self.backend or "", "")).rstrip("/")

    @property
    def mcp_placeholders(self) -> frozenset[str]:
        """The placeholders in `mcp_arguments`."""
        values = [value for value in self.mcp_arguments.values() if isinstance(value, str)]
        return frozenset(name for name in _PLACEHOLDERS if f"{{{name}}}" in values)

    @property
    def takes_recency(self) -> bool:
        """Whether the backend can be asked for recent results."""
        return self.backend != "mcp" or "recency" in self.mcp_placeholders

    def takes_domains(self, which: Literal["allowed_domains", "blocked_domains"]) -> bool:
        """Whether the backend can be asked for results of some domains, or for none of others."""
        return self.backend != "mcp" or which in self.mcp_placeholders
