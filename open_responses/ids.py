"""Ids that nobody can guess: a prefix that tells the kind, and 192 random bits."""

from __future__ import annotations

import re
import secrets

RANDOM_BYTES = 24
_RANDOM_PART = re.compile(r"[0-9a-f]{48}")


def new_id(prefix: str) -> str:
    """`new_id("resp_")` -> `resp_` and 48 hexadecimal digits. Not for workflow code: it is not deterministic."""
    return prefix + secrets.token_hex(RANDOM_BYTES)


def is_id(prefix: str, text: str) -> bool:
    """Whether `text` may be one of ours. Checked before it becomes part of a key or a workflow id."""
    return text.startswith(prefix) and _RANDOM_PART.fullmatch(text, len(prefix)) is not None
