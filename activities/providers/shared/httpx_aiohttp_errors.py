"""Which of httpx's exceptions httpx-aiohttp raises for one of aiohttp's: the only module that changes its table.

`tests/unit/test_half_public_parts.py` checks that the table is where it was; `pyproject.toml` bounds the version.
"""

from __future__ import annotations

import aiohttp
import httpx
from httpx_aiohttp.transport import AIOHTTP_EXC_MAP


def tell_connection_errors_apart() -> None:
    """As shipped, every broken connection is a ConnectTimeout, a refused one and a reset in mid-stream included."""
    AIOHTTP_EXC_MAP[aiohttp.ClientConnectionError] = httpx.NetworkError
    AIOHTTP_EXC_MAP[aiohttp.ConnectionTimeoutError] = httpx.ConnectTimeout
