"""Compares the URL of a request with one of the configuration."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def is_below(base: str, url: str) -> bool:
    """Return whether a URL has the scheme, the host and the port of `base`, and a path that is `base`'s or below it.

    False for a URL that servers could read in more than one way.
    """
    above, below = _address(base), _address(url)
    if above is None or below is None:
        return False
    return above[:3] == below[:3] and below.path[: len(above.path)] == above.path


class _Address(NamedTuple):
    scheme: str
    host: str
    port: int | None
    path: tuple[str, ...]


def _address(url: str) -> _Address | None:
    """Return the parts of a URL, or None if servers could read the URL in more than one way.

    Such a URL has a user, a backslash, an empty segment, a dot segment, or an escaped slash or dot.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    segments = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    is_odd = any(part in ("", ".", "..") or re.search(r"%(2[ef]|5c|25)", part, re.IGNORECASE) for part in segments)
    if host is None or "@" in parts.netloc or "\\" in url or "//" in parts.path or is_odd:
        return None
    return _Address(parts.scheme, host, port or _PORTS.get(parts.scheme), tuple(segments))
