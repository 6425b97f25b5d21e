"""What an operator sends to create or change an API key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, field_validator

from open_responses.api_keys.limits import LIMITS
from open_responses.config import Config
from open_responses.config_tables.api_keys import KeyScope
from open_responses.errors import InvalidRequest
from open_responses.io.temporal.visibility import literal
from open_responses.schema.validation import RequestObject, fault

# What the counters in Redis hold exactly, with room to add.
_LARGEST = 10**15
_LARGEST_USD = 1_000_000
# The end of the year 9999.
_LATEST = 253_402_300_799
_MAX_PATTERNS = 100

_Count = Annotated[int, Field(gt=0, le=_LARGEST)] | None
_Pattern = Annotated[str, Field(min_length=1, max_length=128)]
_Name = Annotated[str, Field(min_length=1, max_length=64)]


class KeyLimits(RequestObject):
    """The limits of a key, as in `[[api_keys]]`. Null is the default of `[[api_keys]]`: no limit, for most."""

    requests_per_minute: _Count = None
    tokens_per_minute: _Count = None
    max_concurrent: _Count = None
    max_open_streams: _Count = None
    max_received_bytes: _Count = None
    reads_per_minute: _Count = None
    budget_tokens: _Count = None
    budget_usd: Annotated[float, Field(gt=0, le=_LARGEST_USD, strict=False)] | None = None
    budget_period: Literal["day", "month"] | None = None

    def given(self) -> dict[str, int | float | str | None]:
        """Name -> value of those that the request has, null included."""
        return {name: getattr(self, name) for name in LIMITS if name in self.model_fields_set}


class ChangeKeyBody(RequestObject):
    """`POST /v1/admin/keys/{id}`: what is not given stays as it is."""

    name: _Name | None = None
    scopes: Annotated[list[KeyScope], Field(max_length=1)] | None = None
    models: Annotated[list[_Pattern], Field(max_length=_MAX_PATTERNS)] | None = None
    tools: Annotated[list[_Pattern], Field(max_length=_MAX_PATTERNS)] | None = None
    limits: KeyLimits | None = None
    weight: Annotated[float, Field(ge=0.001, le=1000, strict=False)] | None = None
    expires_at: Annotated[int, Field(gt=0, le=_LATEST)] | None = None

    @field_validator("name", "tenant", check_fields=False)
    @classmethod
    def _is_printable(cls, value: str | None) -> str | None:
        """They go into logs, into Temporal's search attributes, and onto an operator's screen."""
        if value is not None and not (value.isprintable() and value.strip() == value):
            raise fault("invalid_value", "must have printable characters only, and no space at its ends")
        return value

    def values(self, config: Config) -> dict[str, JsonValue]:
        """Name -> new value of what is given. Raises InvalidRequest for a tool that the configuration does not have."""
        known = {tool.name for tool in config.tools} | {server.label for server in config.mcp_servers}
        for index, tool in enumerate(self.tools or []):
            if tool not in known:
                raise InvalidRequest(
                    f"'tools[{index}]' must be the name of a hosted tool or the label of an MCP server of the "
                    "configuration.",
                    param=f"tools[{index}]",
                    code="invalid_value",
                )
        values: dict[str, JsonValue] = {
            name: getattr(self, name) for name in ("name", "expires_at") if name in self.model_fields_set
        }
        for name in ("scopes", "models", "tools"):
            if name in self.model_fields_set:
                values[name] = list(getattr(self, name) or [])
        if "weight" in self.model_fields_set:
            values["weight"] = 1.0 if self.weight is None else self.weight
        if self.limits is not None:
            values["limits"] = dict(self.limits.given())
        elif "limits" in self.model_fields_set:
            values["limits"] = dict.fromkeys(LIMITS)
        return values


class CreateKeyBody(ChangeKeyBody):
    """`POST /v1/admin/keys`."""

    tenant: _Name

    @field_validator("tenant")
    @classmethod
    def _is_searchable(cls, value: str) -> str:
        """The lists of the tenant's responses are queries of Temporal's index."""
        try:
            literal(value)
        except ValueError as error:
            raise fault(
                "invalid_value", f"{error}, and Temporal's index cannot search for it. Choose another name"
            ) from None
        return value
