"""The position of a response in a distributed trace, as the `traceparent` header of W3C Trace Context has it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256

_HEADER = re.compile(r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_SAMPLED = 1
_FIRST_VERSION = "00"


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span, by its ids in lower-case hexadecimal digits. `is_sampled`: its trace is recorded."""

    trace_id: str
    span_id: str
    is_sampled: bool = True

    @classmethod
    def parse(cls, header: str | None) -> TraceContext | None:
        """The context in a `traceparent` header. Returns None for an invalid one, which W3C says to ignore."""
        found = _HEADER.match(header or "")
        if header is None or found is None or found["version"] == "ff":
            return None
        rest = header[found.end() :]
        if rest and (found["version"] == _FIRST_VERSION or not rest.startswith("-")):
            return None
        if not int(found["trace"], 16) or not int(found["span"], 16):
            return None
        return cls(found["trace"], found["span"], bool(int(found["flags"], 16) & _SAMPLED))

    @classmethod
    def of_response(cls, response_id: str, traceparent: str | None) -> TraceContext:
        """The span of a whole response. Both ids follow from the response, so that each process computes the same.

        Its parent is the request's span in `traceparent`. Without one, the response begins a trace of its own.
        """
        parent = cls.parse(traceparent)
        trace_id = _digits(f"trace of {response_id}", 32) if parent is None else parent.trace_id
        return cls(trace_id, _digits(f"span of {response_id}", 16), parent is None or parent.is_sampled)

    @property
    def header(self) -> str:
        """The value of the `traceparent` header."""
        return f"{_FIRST_VERSION}-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"


def _digits(text: str, count: int) -> str:
    return sha256(text.encode()).hexdigest()[:count]
