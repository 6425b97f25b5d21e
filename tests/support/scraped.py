"""What `/metrics` of the suite's processes says, as a Prometheus reads it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.stack import Stack, until

Samples = Counter[tuple[str, frozenset[tuple[str, str]]]]


def samples_in(text: str) -> Samples:
    """Each sample's value, by its name and labels."""
    found: Samples = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] += sample.value  # type: ignore[assignment]
    return found


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of all samples of this name that have these labels, among others."""
    wanted = labels.items()
    return sum(value for (found, given), value in samples.items() if found == name and wanted <= given)


async def scraped(client: httpx.AsyncClient, stack: Stack) -> Samples:
    """The sum over the API and all workers. Waits for a worker that was started a moment ago."""
    urls = ["/metrics", *(f"http://127.0.0.1:{port}/metrics" for port in stack.metrics_ports.values())]
    answers = list[httpx.Response]()

    async def have_answered() -> bool:
        with contextlib.suppress(httpx.TransportError):
            answers[:] = await asyncio.gather(*map(client.get, urls))
        return len(answers) == len(urls)

    await until(have_answered)
    found: Samples = Counter()
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/plain; version=")
        found.update(samples_in(answer.text))
    return found
