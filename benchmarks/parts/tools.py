"""The hosted tool of the benchmarks."""

from __future__ import annotations

import asyncio


async def wait(seconds: float) -> str:
    """Waits so many seconds."""
    await asyncio.sleep(seconds)
    return f"waited {seconds:g} s"
