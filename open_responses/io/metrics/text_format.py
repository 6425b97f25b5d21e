"""Prometheus' text format, in less time than the client library's own writer takes.

A histogram has a line for each bucket of each set of labels, and only its value changes from scrape to scrape. The
library writes names and labels anew each time; here they are written once.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from prometheus_client import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

# More than the series of a process.
_MOST_SERIES = 50_000
_MOST_NUMBERS = 10_000


def text_of(collector: Collector) -> str:
    """All metrics of a collector. Equal to `prometheus_client.generate_latest`, but for the order of labels."""
    return "".join(header_of(metric) + series_of(metric, ()) for metric in collector.collect())


def header_of(metric: Metric) -> str:
    """The lines with a metric's documentation and type."""
    name = f"{metric.name}_total" if metric.type == "counter" else metric.name
    kind = "untyped" if metric.type == "unknown" else metric.type
    text = metric.documentation.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def series_of(metric: Metric, labels: Iterable[tuple[str, str]]) -> str:
    """A line for each of a metric's series. `labels` precede those of the series."""
    own = tuple(labels)
    return "".join(
        [
            f"{_series(sample.name, (*own, *sample.labels.items()))}{_number(sample.value)}\n"
            for sample in metric.samples
        ]
    )


@lru_cache(_MOST_SERIES)
def _series(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    if not labels:
        return f"{name} "
    written = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels)
    return f"{name}{{{written}}} "


@lru_cache(_MOST_NUMBERS)
def _number(value: float) -> str:
    # Most of the buckets' counts are small, and the same as those of their neighbours.
    written: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return written


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
