"""A metric with a bounded number of label sets, which writes its own text.

What this prevents: a metric that grows with what clients send, until the process is out of memory and each scrape takes
seconds; and a scrape that writes thousands of lines anew of which a few have changed, in a thread that the process's
streams wait for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

from open_responses.io.metrics.text_format import header_of, series_of

OTHER = "other"
_MOST = 500
# A histogram has a series for each bucket.
_MOST_OF_HISTOGRAM = 200

# The caller of `of` changes the child right after it. Its text is kept where it was written so much later.
_CHANGED_WITHIN_SECONDS = 5.0

Metric = TypeVar("Metric", bound=MetricWrapperBase)


@dataclass(slots=True)
class _Child(Generic[Metric]):
    """One set of label values; `used_at` and `written_at` are in seconds of the monotonic clock."""

    metric: Metric
    used_at: float = float("-inf")
    written_at: float = float("-inf")
    written: str = ""

    def text(self, labels: Iterable[tuple[str, str]]) -> str:
        """Its series, which are written anew if the child may have changed since they were."""
        if not self.written or self.used_at > self.written_at - _CHANGED_WITHIN_SECONDS:
            now = time.monotonic()
            self.written = _series_of_child(self.metric, labels)
            self.written_at = now
        return self.written


def _series_of_child(metric: MetricWrapperBase, labels: Iterable[tuple[str, str]]) -> str:
    (collected,) = metric.collect()
    return series_of(collected, labels)


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
        self._children: dict[tuple[str, ...], _Child[Metric]] = {}
        (described,) = metric.describe()
        self._header = header_of(described)

    def of(self, *values: str) -> Metric:
        """The child with these label values, in the order of the labels, to be changed at once and not kept."""
        child = self._children.get(values) or self._added(values)
        child.used_at = time.monotonic()
        return child.metric

    def text(self) -> str:
        """All series, in Prometheus' text format. May be called in any thread."""
        if not self.labels:
            return self._header + _series_of_child(self._metric, ())
        return self._header + "".join(
            [child.text(zip(self.labels, values, strict=True)) for values, child in [*self._children.items()]]
        )

    def _added(self, values: tuple[str, ...]) -> _Child[Metric]:
        if not values:
            child = self._children[values] = _Child(self._metric)
            return child
        if len(self._children) >= self._most:
            values = tuple(OTHER if is_open else v for v, is_open in zip(values, self._is_open, strict=True))
            known = self._children.get(values)
            if known is not None:
                return known
        child = self._children[values] = _Child(self._metric.labels(*values))
        return child


class Registry(CollectorRegistry):
    """The library's registry, which also knows the families."""

    def __init__(self, *, auto_describe: bool = False) -> None:
        super().__init__(auto_describe=auto_describe)
        self.families: list[Family[Any]] = []

    def add(self, family: Family[Metric]) -> Family[Metric]:
        """Note a family, whose metric is registered already."""
        self.families.append(family)
        return family


def counter(
    registry: Registry, name: str, text: str, labels: Sequence[str] = (), open_: Iterable[str] = ()
) -> Family[Counter]:
    """A counter. Its name in Prometheus ends in `_total`."""
    return registry.add(Family(name, Counter(name, text, labels, registry=registry), labels, open_, _MOST))


def gauge(
    registry: Registry, name: str, text: str, labels: Sequence[str] = (), open_: Iterable[str] = ()
) -> Family[Gauge]:
    """A gauge."""
    return registry.add(Family(name, Gauge(name, text, labels, registry=registry), labels, open_, _MOST))


def histogram(
    registry: Registry,
    name: str,
    text: str,
    labels: Sequence[str],
    open_: Iterable[str],
    buckets: Sequence[float],
) -> Family[Histogram]:
    """A histogram with these upper bounds of its buckets."""
    metric = Histogram(name, text, labels, registry=registry, buckets=buckets)
    return registry.add(Family(name, metric, labels, open_, _MOST_OF_HISTOGRAM))
