"""`encrypted_content` of a reasoning item: marks the provider that made it, and returns it to no other (ITEM-8).

What this prevents: a signature of one provider in a request to another, which rejects the whole request. A provider is
identified by its name in the configuration.
"""

from __future__ import annotations

import base64
import binascii

_PREFIX = "orx1."


def mark(provider: str, content: str) -> str:
    """`orx1.<provider>.<content>`, both in base64url. Equal arguments give equal results, for prompt caches."""
    return f"{_PREFIX}{_encoded(provider)}.{_encoded(content)}"


def content_for(provider: str, encrypted_content: str | None) -> str | None:
    """The content that `mark` was called with, if the provider is this one; None for other and unmarked content."""
    if encrypted_content is None or not encrypted_content.startswith(_PREFIX):
        return None
    owner, _, content = encrypted_content.removeprefix(_PREFIX).partition(".")
    return _decoded(content) if owner == _encoded(provider) else None


def is_marked(encrypted_content: str) -> bool:
    """Whether `mark` made the content. Any other comes from a client of another server."""
    return encrypted_content.startswith(_PREFIX)


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
