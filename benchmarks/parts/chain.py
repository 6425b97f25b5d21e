"""What a long chain of responses costs: the next link beside a response without a chain.

To the first delta: what comes after it is the same for both. And what the longer conversation alone costs a client that
sends it to the upstream itself, in the same run.
"""

from __future__ import annotations

import statistics

import httpx

from benchmarks.stack import OURS, cpu, ms, prompt
from benchmarks.streams import DIRECT, THROUGH, stream
from tests.support.stack import Stack

_LINKS = 500
_AIM_MS = 10
# Blocks are interleaved, and long enough for clocks of CPU that tick a hundred times a second.
_BLOCKS, _EACH = 6, 9


async def measure(client: httpx.AsyncClient, stack: Stack, upstream: str) -> None:
    """Prints ratios and differences of medians."""
    asked = prompt(1)
    previous: str | None = None
    for _ in range(_LINKS):
        previous = await _link(client, stack, asked, previous)
    message = {"role": "user", "content": asked}
    conversation = [*[message, {"role": "assistant", "content": "w0 "}] * _LINKS, message]
    alone, linked, short, long = list[float](), list[float](), list[float](), list[float]()
    spent_alone, spent_linked = 0.0, 0.0
    for _ in range(_BLOCKS):
        spent_alone += await _block(client, stack, {"input": asked}, alone)
        spent_linked += await _block(client, stack, {"input": asked, "previous_response_id": previous}, linked)
        for messages, took in (([message], short), (conversation, long)):
            took += [(await stream(client, upstream + DIRECT, {"messages": messages})).first for _ in range(_EACH)]
    with_chain, without = statistics.median(linked), statistics.median(alone)
    theirs = statistics.median(long) - statistics.median(short)
    print(
        f"\nthe next link of a chain of {_LINKS}, to the first delta: {ms(with_chain)}, {with_chain / without:.2f} x a "
        f"response without a chain; added {ms(with_chain - without)}, the aim is {_AIM_MS} ms; a client that sends the "
        f"conversation itself pays {ms(theirs)} of them"
    )
    more = (spent_linked - spent_alone) / len(linked)
    print(f"  CPU, API and workers       {spent_linked / spent_alone:.2f} x, {ms(more)} more per response")


async def _link(client: httpx.AsyncClient, stack: Stack, asked: str, previous: str | None) -> str:
    body = {"model": "fake", "input": asked, "previous_response_id": previous}
    response = (await client.post(stack.api_url + THROUGH, json=body)).json()
    assert response.get("status") == "completed", response
    response_id: str = response["id"]
    return response_id


async def _block(client: httpx.AsyncClient, stack: Stack, body: dict[str, object], took: list[float]) -> float:
    """Adds to the seconds that each took to its first delta; returns those of CPU that all took."""
    before = cpu(stack)
    took += [(await stream(client, stack.api_url + THROUGH, body)).first for _ in range(_EACH)]
    after = cpu(stack)
    return sum(after[name] - before[name] for name in OURS)
