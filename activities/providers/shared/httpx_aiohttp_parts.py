"""The parts of httpx-aiohttp that it does not promise to keep: the table by which it maps aiohttp's exceptions to
httpx's, which is corrected here, and the body behind its answer. No other module uses them.

`tests/unit/test_half_public_parts.py` checks that each is where it was; `pyproject.toml` bounds the version.
"""

from __future__ import annotations

import aiohttp
import httpx
from httpx_aiohttp.transport import AIOHTTP_EXC_MAP, AiohttpResponseStream, map_aiohttp_exceptions

from activities.providers.shared.answer_guard import Pieces


def tell_connection_errors_apart() -> None:
    """Correct the table. As shipped, it maps every broken connection to ConnectTimeout, including a refused one and a
    reset in the middle of a stream."""
    AIOHTTP_EXC_MAP[aiohttp.ClientConnectionError] = httpx.NetworkError
    AIOHTTP_EXC_MAP[aiohttp.ConnectionTimeoutError] = httpx.ConnectTimeout


def pieces_of(response: httpx.Response) -> Pieces:
    """The body of an answer that the transport has just returned.

    An iteration over the answer's stream passes each piece through three generators that add nothing.
    """
    stream = response.stream
    assert isinstance(stream, AiohttpResponseStream)
    return Pieces(stream._aiohttp_response.content.readany, map_aiohttp_exceptions)
