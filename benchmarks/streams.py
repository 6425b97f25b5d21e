"""One streamed answer as its client sees it: when the first delta came, and how long after it each of the others."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

THROUGH, DIRECT = "/v1/responses", "/v1/chat/completions"


@dataclass
class Sample:
    """Seconds to the first delta, to each delta from the one before, and in all."""

    first: float = 0.0
    gaps: list[float] = field(default_factory=list)
    total: float = 0.0


async def stream(client: httpx.AsyncClient, url: str, body: Mapping[str, object]) -> Sample:
    """`url` ends in one of `THROUGH` and `DIRECT`, which say how a delta looks."""
    sample, began = Sample(), time.perf_counter()
    last = began
    marker = "output_text.delta" if url.endswith(THROUGH) else '"content"'
    async with client.stream("POST", url, json={"model": "fake", "stream": True, **body}) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: ") and marker in line:
                now = time.perf_counter()
                if sample.first:
                    sample.gaps.append(now - last)
                else:
                    sample.first = now - began
                last = now
    assert sample.first, "a stream without a delta"
    sample.total = time.perf_counter() - began
    return sample
