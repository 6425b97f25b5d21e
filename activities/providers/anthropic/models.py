"""The features of each Anthropic model, by its name.

A name that is not Claude's is treated as the model of a compatible server. It gets the oldest common form of a request
(thinking by budget, no prefill, no structured outputs), and its thinking is raw. That of Claude from 4 on is a summary.

Sources: platform.claude.com/docs (thinking, effort, structured outputs, what's new in 4.6 to 5.5), anthropics/skills
(claude-api).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from open_responses.errors import InvalidRequest

_NAME = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_OLD_NAME = re.compile(r"claude-(\d)(?:[-.](\d))?-(opus|sonnet|haiku)")
_OTHERS_MAX_TOKENS = 32_768


@dataclass(frozen=True, slots=True)
class Model:
    """The features of a model. `family` is None for a model that is not Claude; `version` is (4, 6) for 4.6."""

    family: str | None
    version: tuple[int, int] = (0, 0)

    @classmethod
    def named(cls, name: str) -> Model:
        if found := _NAME.search(name):
            return cls(found[1], (int(found[2]), int(found[3] or 0)))
        if found := _OLD_NAME.search(name):
            return cls(found[3], (int(found[1]), int(found[2] or 0)))
        return cls("mythos", (4, 7)) if "claude-mythos-preview" in name else cls(None)

    @property
    def is_claude(self) -> bool:
        return self.family is not None

    @property
    def max_tokens(self) -> int:
        """The model's limit on output, which the API requires in each request. For other vendors' models it is a
        guess."""
        if not self.is_claude:
            return _OTHERS_MAX_TOKENS
        if self.version >= (4, 6):
            return 128_000
        if self.version >= (3, 7):
            return 32_000 if self.family == "opus" and self.version < (4, 5) else 64_000
        return 8192 if self.version >= (3, 5) else 4096

    @property
    def is_adaptive(self) -> bool:
        """Whether the model decides how long it thinks, by `effort`. Earlier models have a budget of tokens."""
        return self.version >= (4, 6)

    @property
    def has_budget(self) -> bool:
        return not self.is_claude or (3, 7) <= self.version < (4, 6)

    @property
    def thinks_unasked(self) -> bool:
        return self.always_thinks or self.version >= (5, 0)

    @property
    def always_thinks(self) -> bool:
        return self.family in ("fable", "mythos") or (self.family == "opus" and self.version >= (5, 5))

    @property
    def can_be_forced(self) -> bool:
        """Whether the model accepts `tool_choice` any and tool. Fable and Mythos from 5.1, Opus and Sonnet from 5.5
        reject them."""
        return self.version < (5, 1) or self.family == "haiku"

    @property
    def off_switch(self) -> str:
        return "between_tools" if self.family == "sonnet" and self.version >= (5, 5) else "disabled"

    @property
    def binds_thoughts(self) -> bool:
        """Fable and Mythos from 5.1, all others from 5.5: there is no other model between."""
        return self.version >= (5, 1)

    @property
    def takes_sampling(self) -> bool:
        return not self.is_claude or self.version < (4, 7)

    @property
    def has_structured_outputs(self) -> bool:
        """Also of strict tools."""
        return self.version >= (4, 5)

    @property
    def has_prefill(self) -> bool:
        return self.is_claude and self.version < (4, 6)

    @property
    def has_system_role(self) -> bool:
        """In the middle of the conversation: Opus from 4.8, Fable and Mythos from 5, Sonnet and Haiku from 5.5."""
        since = {"opus": (4, 8), "fable": (5, 0), "mythos": (5, 0), "sonnet": (5, 5), "haiku": (5, 5)}
        return self.family is not None and self.version >= since[self.family]

    @property
    def summarizes(self) -> bool:
        """Whether the answer has a summary of the thinking, and not the thinking itself."""
        return self.version >= (4, 0)

    def effort(self, asked: str) -> str:
        """Return the highest level of this model that is not above the given one. `xhigh` exists from 4.7 on."""
        if asked == "minimal":
            return "low"
        return "high" if asked == "xhigh" and self.version < (4, 7) else asked


def refused(message: str, param: str) -> InvalidRequest:
    """Return the error for a setting that this model rejects, with an alternative."""
    return InvalidRequest(message, param=param, code="unsupported_parameter")
