"""Ids that nobody can guess: a prefix that tells the kind, and 192 random bits."""

from __future__ import annotations

import re
import secrets

RANDOM_BYTES = 24
INDEX_DIGITS = 5
FIRST_INPUT_INDEX = 0xF0000
"""Items of a response's input count from here, those of its output from 0."""

_RANDOM_PART = re.compile(r"[0-9a-f]{48}")
_MEMBER = re.compile(r"[a-z]+_([0-9a-f]{48})([0-9a-f]{5})")


def new_id(prefix: str) -> str:
    """`new_id("resp_")` -> `resp_` and 48 hexadecimal digits. Not for workflow code: it is not deterministic."""
    return prefix + secrets.token_hex(RANDOM_BYTES)


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` may be one of ours. Checked before it becomes part of a key or a workflow id."""
    return text.startswith(prefix) and _RANDOM_PART.fullmatch(text, len(prefix)) is not None


def member_id(prefix: str, response_id: str, index: int) -> str:
    """The id of what belongs to a response: an item at this place in its output. It names the response, so that whoever
    has the id finds the item without an index; and it is the same each time, as a workflow needs it."""
    return f"{prefix}{response_id.removeprefix('resp_')}{index:0{INDEX_DIGITS}x}"


def place_of(member: str) -> tuple[str, int] | None:
    """(response id, index) of an id that `member_id` made; None for any other."""
    found = _MEMBER.fullmatch(member)
    return None if found is None else ("resp_" + found[1], int(found[2], 16))
