"""A tool of type `mcp`: an MCP server of the request or of the configuration, and which of its tools may run.

The checks of a server's URL and of its headers are strict, because the server sends them to a third party.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Tag

from open_responses.schema.client_tools import Callers
from open_responses.schema.validation import RequestObject, either, fault, shorten

# OpenAI's API takes 128 tools; room for a gateway that joins several MCP servers.
MAX_TOOLS = 512

HOSTED_LABEL = "open_responses"
"""The `server_label` of an approval request for a hosted tool."""

_HOST = re.compile(r"[A-Za-z0-9._~-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._~-]+)?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
_HEADER_VALUE = re.compile(r"([!-~]([\t -~]*[!-~])?)?")
# A request must not set the headers that delimit a message or name its destination.
_HEADERS_OF_HTTP = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class ToolFilter(RequestObject):
    """A subset of a server's tools: by name, by the tools' own read-only annotation, or both."""

    tool_names: Annotated[list[str], Field(max_length=MAX_TOOLS, fail_fast=True)] | None = None
    read_only: bool | None = None

    def includes(self, name: str, *, read_only: bool) -> bool:
        """Return whether the subset has a tool."""
        if self.tool_names is not None and name not in self.tool_names:
            return False
        return self.read_only is None or self.read_only == read_only


class ApprovalFilter(RequestObject):
    """The tools that always, and those that never need an approval. A tool in neither list needs one."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None


def _is_http(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
        is_host = _HOST.fullmatch((parts.hostname or "").encode("idna").decode()) is not None
    except ValueError:
        raise fault("invalid_value", "must be a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise fault("invalid_value", "must be an http or https URL")
    if not is_host or not url.isprintable() or " " in url:
        raise fault("invalid_value", "must be a URL")
    if parts.username is not None or parts.password is not None:
        raise fault("invalid_value", "must not have credentials. Send them in 'authorization' or 'headers'")
    return url


def _is_header_value(value: str) -> str:
    """Check a header value. The error does not repeat the value, which may be a secret."""
    if not _HEADER_VALUE.fullmatch(value):
        raise fault("invalid_value", "must be printable ASCII, in one line, without spaces around it")
    return value


def _are_headers(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if not _HEADER_NAME.fullmatch(name):
            raise fault("invalid_value", f"has {shorten(name)!r}, which is not a header's name. Correct it")
        if name.lower() in _HEADERS_OF_HTTP:
            raise fault("invalid_value", f"has {shorten(name)!r}, which a request may not set. Leave it out")
    return headers


def _is_not_ours(label: str) -> str:
    if label == HOSTED_LABEL:
        raise fault("invalid_value", f"is {label!r}, the label of the server's own tools. Choose another")
    return label


HeaderValue: TypeAlias = Annotated[str, Field(max_length=16_384), AfterValidator(_is_header_value)]


class McpTool(RequestObject):
    """The tools of an MCP server, as OpenAI's API has it. Without `server_url`, the label names a configured server.

    `headers` and `authorization` (a token, sent as `Authorization: Bearer …`) are sealed before they leave the API.
    """

    UNSUPPORTED: ClassVar[dict[str, str]] = {
        "connector_id": "OpenAI's own connectors. Send 'server_url' instead",
        "tunnel_id": "OpenAI's own tunnels. Send 'server_url' instead",
    }
    IGNORED: ClassVar[dict[str, str]] = {
        "server_description": "helps OpenAI's tool search",
        "defer_loading": "a hint that saves tokens: every tool is loaded at once",
    }

    type: Literal["mcp"]
    server_label: Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9_-]{0,63}$"), AfterValidator(_is_not_ours)]
    server_url: Annotated[str, Field(max_length=2048), AfterValidator(_is_http)] | None = None
    headers: Annotated[dict[str, HeaderValue], Field(max_length=64), AfterValidator(_are_headers)] | None = None
    authorization: HeaderValue | None = None
    allowed_tools: (
        Annotated[
            Annotated[list[str], Field(max_length=MAX_TOOLS, fail_fast=True), Tag("<names>")]
            | Annotated[ToolFilter, Tag("<filter>")],
            either("an array of names or an object", names=list, filter=dict | ToolFilter),
        ]
        | None
    ) = None
    require_approval: (
        Annotated[
            Annotated[Literal["always", "never"], Tag("<mode>")] | Annotated[ApprovalFilter, Tag("<filter>")],
            either("'always', 'never' or an object", mode=str, filter=dict | ApprovalFilter),
        ]
        | None
    ) = None
    allowed_callers: Callers | None = None

    def offers(self, name: str, *, read_only: bool) -> bool:
        """Return whether `allowed_tools` includes a tool of the server."""
        if self.allowed_tools is None:
            return True
        if isinstance(self.allowed_tools, list):
            return name in self.allowed_tools
        return self.allowed_tools.includes(name, read_only=read_only)

    def needs_approval(self, name: str, *, read_only: bool) -> bool:
        """Return whether a call of a tool needs approval. By default every call does, as in OpenAI's API."""
        wanted = self.require_approval or "always"
        if isinstance(wanted, str):
            return wanted == "always"
        if wanted.always is not None and wanted.always.includes(name, read_only=read_only):
            return True
        return wanted.never is None or not wanted.never.includes(name, read_only=read_only)

    @property
    def may_need_approval(self) -> bool:
        """Whether a call may need approval, as far as is known before the server has listed its tools."""
        if self.require_approval == "never":
            return False
        if isinstance(self.allowed_tools, list):
            return any(self.needs_approval(name, read_only=False) for name in self.allowed_tools)
        return True
