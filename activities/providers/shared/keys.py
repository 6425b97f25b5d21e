"""The provider key of one call: chooses it, puts it into headers, and hides it in texts."""

from __future__ import annotations

from dataclasses import dataclass, field

from open_responses.contracts import SampleCall


@dataclass(frozen=True, slots=True)
class Key:
    """`is_own`: the request brought it. `value` is None where neither the request nor the configuration has one."""

    value: str | None = field(repr=False)
    is_own: bool

    @classmethod
    def of(cls, call: SampleCall, configured: str | None) -> Key:
        """The request's own goes before the configured one."""
        return cls(call.api_key or configured, is_own=call.api_key is not None)

    def as_header(self, name: str) -> dict[str, str]:
        return {name: self.value} if self.value else {}

    def as_bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.value}"} if self.value else {}

    def hidden_in(self, text: str) -> str:
        """Return a text without the key, because some servers repeat a key that they reject."""
        return text.replace(self.value, "…") if self.value else text
