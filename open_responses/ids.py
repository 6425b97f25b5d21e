"""Ids that cannot be guessed: a prefix for the type of the object, and 192 random bits."""

from __future__ import annotations

import re
import secrets

RANDOM_BYTES = 24
INDEX_DIGITS = 5
FIRST_INPUT_INDEX = 0xF0000
"""The index of the first input item of a response. Output items start at 0."""

_RANDOM_PART = re.compile(r"[0-9a-f]{48}")
_MEMBER = re.compile(r"[a-z]+_([0-9a-f]{48})([0-9a-f]{5})")


def new_id(prefix: str) -> str:
    """Return a new id: a prefix (`resp_`) and 48 hexadecimal digits. Do not use it in workflow code: it is random."""
    return prefix + secrets.token_hex(RANDOM_BYTES)


def is_id(prefix: str, text: str) -> bool:
    """Return whether a text has the form of an id. Check it before it becomes part of a key or a workflow id."""
    return text.startswith(prefix) and _RANDOM_PART.fullmatch(text, len(prefix)) is not None


def member_id(prefix: str, response_id: str, index: int) -> str:
    """Return the id of an item of a response.

    The id contains the response's, so that the item is found without a lookup table. It is deterministic, as workflow
    code requires.

    Args:
        prefix: The prefix for the type of the item.
        response_id: The id of the response.
        index: The output index, or `FIRST_INPUT_INDEX` plus the input index.
    """
    return f"{prefix}{response_id.removeprefix('resp_')}{index:0{INDEX_DIGITS}x}"


def position_of(member: str) -> tuple[str, int] | None:
    """Return (response id, index) of an id that `member_id` returned; None for any other id."""
    found = _MEMBER.fullmatch(member)
    return None if found is None else ("resp_" + found[1], int(found[2], 16))
