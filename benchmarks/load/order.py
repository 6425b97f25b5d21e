"""The order that a client's prompt gives the provider: how many tokens, how fast.

It has no character that JSON escapes, so that the provider finds it in a request's body without parsing it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(rb"words=(\d+) gap=([\d.]+) delay=([\d.]+)")


@dataclass(frozen=True, slots=True)
class Order:
    """An answer of `words` tokens: `delay` seconds until the first, `gap` seconds from each to the next. Without a gap
    each token is still a write of its own."""

    words: int
    gap: float = 0.0
    delay: float = 0.0

    @property
    def seconds(self) -> float:
        """The length of an answer that keeps its pace."""
        return self.delay + self.gap * (self.words - 1)

    @property
    def prompt(self) -> str:
        return f"words={self.words} gap={self.gap:.6f} delay={self.delay:.6f}"

    @property
    def text(self) -> str:
        return "".join(words(self.words))


def words(count: int) -> list[str]:
    """The tokens of an answer. They are numbered, so that a gap or a repeat shows."""
    return [f"w{number} " for number in range(count)]


def order_in(body: bytes) -> Order | None:
    """The last order in a request's body: the earlier ones are of earlier turns. None without one."""
    found = _FORM.findall(body)
    return Order(int(found[-1][0]), float(found[-1][1]), float(found[-1][2])) if found else None
