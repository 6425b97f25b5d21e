"""`encrypted_content` of a reasoning item: whose it is, and what that provider wants back (ITEM-8).

What this prevents: a signature of one provider sent to another, which refuses the whole request. The content stays the
provider's own; only the provider that made it (by its name in the configuration) reads it again.
"""

from __future__ import annotations

import base64
import binascii

_PREFIX = "orx1."


def mark(provider: str, content: str) -> str:
    """`orx1.<provider>.<content>`, both in base64url: opaque to clients, and the same on each call."""
    return f"{_PREFIX}{_encoded(provider)}.{_encoded(content)}"


def content_for(provider: str, encrypted_content: str | None) -> str | None:
    """What `mark` was given, if this provider gave it; None for another's, or for what no provider of ours made."""
    if encrypted_content is None or not encrypted_content.startswith(_PREFIX):
        return None
    owner, _, content = encrypted_content.removeprefix(_PREFIX).partition(".")
    return _decoded(content) if owner == _encoded(provider) else None


def is_marked(encrypted_content: str) -> bool:
    """Whether it was made here, by any provider; else it comes from a client of another server."""
    return encrypted_content.startswith(_PREFIX)


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
