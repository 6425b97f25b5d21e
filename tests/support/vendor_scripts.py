"""Scripts of the fake vendors, and the contract of each: what it reads of a request, and how it writes an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from tests.support.fake_upstream import Fault, Script

Json = dict[str, Any]


@dataclass(frozen=True)
class VendorFault(Fault):
    """`wait` are seconds, told in the vendor's own form; `error` breaks off in the middle with the vendor's own event
    for that status; `ends` closes the connection properly, without the last event."""

    wait: float | None = None
    error: int | None = None
    ends: bool = False


@dataclass
class Spoken(Script):
    """A script with words of thought before the text. `seal` is what the vendor wants back with them.

    `rereadings` counts the requests that read an answer again, which suffer `reread_faults`; `cancellations`, those
    that end it.
    """

    thoughts: int = 0
    seal: str = ""
    rereadings: int = 0
    cancellations: int = 0
    cancel_status: int = 200
    reread_faults: list[Fault | None] = field(default_factory=list)
    built_in: list[Json] = field(default_factory=list)
    """OpenAI's events of the tools that it runs before it answers, without the numbers that the stream gives them."""
    reported: Json = field(default_factory=dict)
    """Members of OpenAI's last response."""

    @property
    def thought(self) -> str:
        return "".join(f"t{i} " for i in range(self.thoughts))


def call(name: str = "get_weather", **arguments: Any) -> Json:
    """A call for `Script.tool_calls`, its arguments in pieces of four characters. `says` gives it an id."""
    text = json.dumps(arguments)
    return {"name": name, "arguments": [text[i : i + 4] for i in range(0, len(text), 4)]}


class Piece(NamedTuple):
    """`call` is the index of the call whose arguments it is of."""

    kind: Literal["thought", "text", "call", "built_in"]
    text: str
    call: int = 0


@dataclass(frozen=True)
class Asked:
    """What a request wants: the last prompt, how many turns with calls stand behind it, and the answer so far:
    unfinished (`prefix`), or a message of its own (`said`), behind which only calls are missing."""

    prompt: str
    turns: int
    prefix: str = ""
    said: str = ""
    thinks: bool = False


class Refused(Exception):
    """A request that the vendor would not take."""


class Encoder(Protocol):
    """One answer, in a vendor's events."""

    def begin(self) -> bytes: ...

    def piece(self, piece: Piece) -> bytes: ...

    def end(self) -> bytes: ...

    def error(self, status: int) -> bytes: ...


class Vendor(Protocol):
    """One API: what its requests mean, what it refuses, and how it speaks."""

    name: ClassVar[str]
    path: ClassVar[str]
    content_type: ClassVar[str]
    models_path: ClassVar[str]

    def models(self, query: dict[str, str]) -> Json:
        """A page of its list."""
        ...

    def read(self, body: Json) -> Asked: ...

    def check(self, body: Json, path: str) -> None:
        """Raises Refused."""
        ...

    def encoder(self, body: Json, script: Spoken) -> Encoder: ...

    def refusal(self, status: int, message: str, wait: float | None) -> Json: ...

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        """Where the vendor says in a header of its own how long to wait."""
        ...


LISTED = {
    "anthropic": ("claude-sonnet-4-6", "anthropic-lists-1", "anthropic-lists-2", "claude-haiku-4-5", "claude-opus-4-6"),
    "gemini": ("gemini-3-flash-preview", "gemini-lists-1", "gemini-lists-2"),
    "openai": ("gpt-5", "openai-lists-1", "openai-lists-2", "whisper-1"),
    "ollama": ("qwen3:latest", "ollama-lists-1:8b", "ollama-lists-2:latest"),
}
"""What each vendor has; to `{vendor}-lists-*` there is a route."""

LISTED_AT = 1_754_425_777

LISTED_MOMENT = "2025-08-05T20:29:37Z"

PAGE = 2


def event_of(event: Json, *, named: bool = True) -> bytes:
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()
