"""`python -m benchmarks floor`: the product beside the least that Python and Temporal cost for the same work.

Two comparisons, each in turns on the same servers, ROUNDS times:

- STREAMS streams of TOKENS deltas at RATE a second, through two bare processes (`relay.py`) and through the product's
  workers and API: CPU per 1,000 deltas;
- short responses, 64 at once, and as many runs of a workflow that has one empty activity (`workflow.py`): CPU per
  response, of Temporal and of the workers.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence

import redis.asyncio as aioredis
from temporalio.client import Client as Temporal

from benchmarks.floor.relay import ASKS
from benchmarks.floor.workflow import QUEUE
from benchmarks.load.client import Client, Stream, Target
from benchmarks.load.order import Order
from benchmarks.stack import WORKERS, cpu, running
from benchmarks.streams import THROUGH
from dev import services
from tests.support.stack import Stack, until

_BEGIN_SECONDS = 2.0
_END_SECONDS = 1.0
_AT_ONCE = 64
_SHORT = Order(50)
_FLOOR = "bare-workflow"
_BARE = {"worker": ("bare-reader", _FLOOR), "API": ("bare-sender",), "Temporal": ("temporal",), "Valkey": ("valkey",)}
_OURS = {**_BARE, "worker": WORKERS, "API": ("api",)}


async def main() -> None:
    """On real parts of its own."""
    rounds, responses = _number("ROUNDS", 2), _number("RESPONSES", 300)
    load = (_number("STREAMS", 80), Order(_number("TOKENS", 200), 1 / _number("RATE", 20)))
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    async with running(upstream_module="benchmarks.load.upstream") as (stack, upstream):
        client = Client()
        temporal = await Temporal.connect(stack.temporal_address)
        redis = aioredis.Redis(host="127.0.0.1", port=_port(stack.redis_url))
        bare, ours = await _started(stack, upstream, redis), Target(_port(stack.api_url), THROUGH)
        for target in (bare, ours):
            await _paced(client, target, (4, Order(10, 0.05)))
        await _runs(temporal, redis, "warm", 10)
        for number in range(rounds):
            deltas = load[0] * load[1].words
            found["a delta, bare"].append(await _spent(stack, _BARE, deltas, lambda: _paced(client, bare, load)))
            found["a delta, ours"].append(await _spent(stack, _OURS, deltas, lambda: _paced(client, ours, load)))
            prefix = f"round-{number}"
            found["a response, bare"].append(
                await _spent(stack, _BARE, responses, lambda p=prefix: _runs(temporal, redis, p, responses))  # type: ignore[misc]
            )
            found["a response, ours"].append(
                await _spent(stack, _OURS, responses, lambda: _short(client, ours, responses))
            )
        client.close()
        await redis.aclose()
    _report(found, rounds)


async def _started(stack: Stack, upstream: str, redis: aioredis.Redis) -> Target:
    port, redis_port = services.free_port(), _port(stack.redis_url)
    relay = (sys.executable, "-m", "benchmarks.floor.relay")
    floor = (sys.executable, "-m", "benchmarks.floor.workflow", str(_port(stack.temporal_address)), str(redis_port))
    commands = {
        "bare-reader": (*relay, "reader", str(redis_port), str(_port(upstream))),
        "bare-sender": (*relay, "sender", str(redis_port), str(port)),
        _FLOOR: floor,
    }
    for name, command in commands.items():
        stack.services[name] = services.Service(name, command, lambda: services.port_answers(port))
    for name in ("bare-sender", "bare-reader", _FLOOR):
        await stack.start(name)

    async def is_reading() -> bool:
        return (await redis.pubsub_numsub(ASKS))[0][1] == 1

    await until(is_reading)
    return Target(port, "/")


async def _paced(client: Client, target: Target, load: tuple[int, Order]) -> None:
    """Streams that start within two seconds. Raises AssertionError for a stream with another text."""
    streams, order = load

    async def one(number: int) -> Stream:
        await asyncio.sleep(_BEGIN_SECONDS * number / streams)
        return await client.stream(target, _body(order))

    for stream in await asyncio.gather(*(one(number) for number in range(streams))):
        assert stream.text == order.text, "a stream brought another text than the provider's"


async def _short(client: Client, target: Target, responses: int) -> None:
    await _in_turns(responses, lambda _: client.stream(target, _body(_SHORT)))


async def _runs(temporal: Temporal, redis: aioredis.Redis, prefix: str, responses: int) -> None:
    async def one(number: int) -> None:
        key = f"floor-{prefix}-{number}"
        await temporal.start_workflow("floor", key, id=key, task_queue=QUEUE)
        await redis.blpop([key], timeout=60)  # type: ignore[misc]

    await _in_turns(responses, one)


async def _in_turns(count: int, one: Callable[[int], Awaitable[object]]) -> None:
    left = iter(range(count))

    async def some() -> None:
        for number in left:
            await one(number)

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


async def _spent(
    stack: Stack, parts: Mapping[str, Sequence[str]], divisor: int, act: Callable[[], Awaitable[None]]
) -> dict[str, float]:
    """Milliseconds of CPU for one of `divisor`, by part: of the processes that the part has."""
    before = cpu(stack)
    await act()
    await asyncio.sleep(_END_SECONDS)
    spent = {name: (after - before[name]) * 1000 / divisor for name, after in cpu(stack).items()}
    return {part: sum(spent[name] for name in names) for part, names in parts.items()}


def _report(found: dict[str, list[dict[str, float]]], rounds: int) -> None:
    print(f"\nmilliseconds of CPU, mean of {rounds} rounds; deltas by the thousand")
    print(f"  {'':<18}" + "".join(f"{part:>12}" for part in _OURS))
    for name, figures in found.items():
        scale = 1000.0 if "delta" in name else 1.0
        means = [sum(figure[part] for figure in figures) / len(figures) * scale for part in _OURS]
        print(f"  {name:<18}" + "".join(f"{mean:>12.1f}" for mean in means))


def _body(order: Order) -> bytes:
    return json.dumps({"model": "fake", "stream": True, "input": order.prompt}).encode()


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/")[0])


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, str(default)))
