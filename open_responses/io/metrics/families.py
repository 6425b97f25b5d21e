"""A metric with a bounded number of label sets.

What this prevents: a metric that grows with what clients send, until the process is out of memory and each scrape takes
seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

OTHER = "other"
_MOST = 500
# A histogram has a series for each bucket.
_MOST_OF_HISTOGRAM = 200

Metric = TypeVar("Metric", bound=MetricWrapperBase)


class Family(Generic[Metric]):
    """A metric, and its children by their label values.

    Once there are `most` of them, a new set has `other` for each label that is `open_`. Those are the labels whose
    values come from requests or from other servers; the values of all others are in the code or in the configuration.
    """

    def __init__(self, name: str, metric: Metric, labels: Sequence[str], open_: Iterable[str], most: int) -> None:
        self.name = name
        self.labels = tuple(labels)
        self._metric = metric
        self._is_open = [label in frozenset(open_) for label in labels]
        self._most = most
        self._children: dict[tuple[str, ...], Metric] = {}

    def of(self, *values: str) -> Metric:
        """The child with these label values, in the order of the labels."""
        child = self._children.get(values)
        return self._added(values) if child is None else child

    def _added(self, values: tuple[str, ...]) -> Metric:
        if not values:
            return self._metric
        if len(self._children) >= self._most:
            values = tuple(OTHER if is_open else v for v, is_open in zip(values, self._is_open, strict=True))
        child = self._children[values] = self._metric.labels(*values)
        return child


def counter(
    registry: CollectorRegistry, name: str, text: str, labels: Sequence[str] = (), open_: Iterable[str] = ()
) -> Family[Counter]:
    """A counter. Its name in Prometheus ends in `_total`."""
    return Family(name, Counter(name, text, labels, registry=registry), labels, open_, _MOST)


def gauge(
    registry: CollectorRegistry, name: str, text: str, labels: Sequence[str] = (), open_: Iterable[str] = ()
) -> Family[Gauge]:
    """A gauge."""
    return Family(name, Gauge(name, text, labels, registry=registry), labels, open_, _MOST)


def histogram(
    registry: CollectorRegistry,
    name: str,
    text: str,
    labels: Sequence[str],
    open_: Iterable[str],
    buckets: Sequence[float],
) -> Family[Histogram]:
    """A histogram with these upper bounds of its buckets."""
    metric = Histogram(name, text, labels, registry=registry, buckets=buckets)
    return Family(name, metric, labels, open_, _MOST_OF_HISTOGRAM)
