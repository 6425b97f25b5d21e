"""`python -m benchmarks fairness`: how long one tenant's queue holds up another tenant's first answer.

Tenant A queues 300 responses; workers have few slots, so that most of them wait. Then tenant B, who has asked for
nothing else, asks once. Printed: B's latency, as a multiple of what it is when nobody else is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time

import httpx

from benchmarks.stack import WORKERS, prompt, running

_QUEUED, _SLOTS, _ROUNDS = 300, 8, 5
# Ten deltas in half a second: a slot is busy for about as long as a short answer of a real model takes.
_BODY = {"model": "fake", "input": prompt(10, 0.04, 0.1)}
_NOT_ENDED = ("queued", "in_progress")
_KEYS = """
[[api_keys]]
tenant = "{tenant}"
sha256 = "{sha256}"
"""


async def main() -> None:
    """On real parts of its own."""
    keys = "".join(_KEYS.format(tenant=key, sha256=hashlib.sha256(key.encode()).hexdigest()) for key in "ab")
    env = {"OPEN_RESPONSES_MAX_CONCURRENT_SAMPLES": str(_SLOTS // len(WORKERS))}
    async with running(tail=keys, env=env) as (stack, _):
        limits = httpx.Limits(max_connections=1000)
        async with httpx.AsyncClient(base_url=stack.api_url, timeout=300, limits=limits, trust_env=False) as client:
            await measure(client)


async def measure(client: httpx.AsyncClient) -> float:
    """Prints and returns the ratio."""
    await _ask(client, "b")
    alone = statistics.median([await _ask(client, "b") for _ in range(_ROUNDS)])
    began = time.perf_counter()
    queued = await asyncio.gather(*(_queue(client) for _ in range(_QUEUED)))
    behind = [await _ask(client, "b") for _ in range(_ROUNDS)]
    running = await _running(client, queued)
    left = len(running)
    while running:
        await asyncio.sleep(0.5)
        running = await _running(client, running)
    drained = time.perf_counter() - began
    ratio = behind[0] / alone
    print(f"\n{_QUEUED} responses of tenant a wait for {_SLOTS} slots; tenant b asks")
    print(f"  b alone                 {alone * 1000:.0f} ms (median of {_ROUNDS})")
    print(f"  b's first, behind a     {behind[0] * 1000:.0f} ms: {ratio:.1f} x its own latency")
    print(f"  b's first {_ROUNDS}, behind a   median {statistics.median(behind) / alone:.1f} x")
    print(f"  a still had {left} to come when b had its {_ROUNDS}; all were done after {drained:.0f} s")
    return ratio


async def _ask(client: httpx.AsyncClient, tenant: str) -> float:
    began = time.perf_counter()
    answer = await client.post("/v1/responses", json=_BODY, headers=_key(tenant))
    answer.raise_for_status()
    return time.perf_counter() - began


async def _queue(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/responses", json={**_BODY, "background": True}, headers=_key("a"))
    answer.raise_for_status()
    response_id: str = answer.json()["id"]
    return response_id


async def _running(client: httpx.AsyncClient, response_ids: list[str]) -> list[str]:
    """Those that have not ended."""
    answers = await asyncio.gather(*(client.get(f"/v1/responses/{id}", headers=_key("a")) for id in response_ids))
    return [id for id, answer in zip(response_ids, answers, strict=True) if answer.json()["status"] in _NOT_ENDED]


def _key(tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {tenant}"}


if __name__ == "__main__":
    asyncio.run(main())
