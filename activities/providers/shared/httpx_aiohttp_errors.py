"""Corrects the table by which httpx-aiohttp maps aiohttp's exceptions to httpx's. No other module changes that table.

`tests/unit/test_half_public_parts.py` checks that the table is where it was; `pyproject.toml` bounds the version.
"""

from __future__ import annotations

import aiohttp
import httpx
from httpx_aiohttp.transport import AIOHTTP_EXC_MAP


def tell_connection_errors_apart() -> None:
    """Correct the table. As shipped, it maps every broken connection to ConnectTimeout, including a refused one and a
    reset in the middle of a stream."""
    AIOHTTP_EXC_MAP[aiohttp.ClientConnectionError] = httpx.NetworkError
    AIOHTTP_EXC_MAP[aiohttp.ConnectionTimeoutError] = httpx.ConnectTimeout
