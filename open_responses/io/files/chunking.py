"""Cuts a text into chunks of so many tokens, at the ends of paragraphs, lines and sentences where there are any."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

# A paragraph's end, a line's end, or a sentence's end with the space behind it; U+3002 needs none.
_UNIT = re.compile(r".+?(?:\n\s*|[.!?]\s+|\u3002|$)|\s+", re.DOTALL)
_BYTES_PER_TOKEN = 4
_LONGEST_UNIT = 20_000
"""In characters: a text without any end is cut, so that no count takes long."""

Count = Callable[[str], int]


def chunks_of(texts: Iterable[str], most: int, overlap: int, count: Count) -> Iterator[tuple[str, int]]:
    """(text, characters that it has in common with the one before) of each chunk.

    Args:
        texts: The text, in pieces that follow each other.
        most: The tokens of a chunk at most.
        overlap: The tokens that a chunk repeats of the one before at most; at most half of `most`.
        count: Counts the tokens of a text.
    """
    window: list[tuple[str, int]] = []
    used, repeated = 0, 0
    for unit, tokens in _units(texts, most - overlap, count):
        if window and used + tokens > most:
            yield "".join(text for text, _ in window), sum(len(text) for text, _ in window[:repeated])
            window, used = _kept(window, overlap)
            repeated = len(window)
        window.append((unit, tokens))
        used += tokens
    if len(window) > repeated:
        yield "".join(text for text, _ in window), sum(len(text) for text, _ in window[:repeated])


def _kept(window: list[tuple[str, int]], overlap: int) -> tuple[list[tuple[str, int]], int]:
    """The last units of a chunk, which begin the next one."""
    kept: list[tuple[str, int]] = []
    used = 0
    for unit, tokens in reversed(window):
        if used + tokens > overlap:
            break
        kept.append((unit, tokens))
        used += tokens
    return kept[::-1], used


def _units(texts: Iterable[str], most: int, count: Count) -> Iterator[tuple[str, int]]:
    """Pieces of at most `most` tokens, so that one always fits behind an overlap."""
    for text in texts:
        for found in _UNIT.finditer(text):
            waiting = [found[0][at : at + _LONGEST_UNIT] for at in range(0, len(found[0]), _LONGEST_UNIT)][::-1]
            while waiting:
                unit = waiting.pop()
                tokens = count(unit)
                if tokens <= most or len(unit) == 1:
                    yield unit, tokens
                else:
                    middle = _middle(unit)
                    waiting += [unit[middle:], unit[:middle]]


def _middle(unit: str) -> int:
    """Where to cut a piece that is too long: behind the space next to its middle."""
    space = unit.rfind(" ", len(unit) // 4, len(unit) // 2)
    return space + 1 if space > 0 else len(unit) // 2


def estimated_tokens(text: str) -> int:
    """A token for each four bytes of UTF-8, and at least one for each word.

    The exact count of a tokenizer would take a process that reads one file a second and 100 MB more.
    """
    return max(-(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN), len(text.split()))
