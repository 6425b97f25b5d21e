"""Models whose validators pydantic builds when they are first used, and a function that builds them all before.

What this prevents: a process that starts slowly, because building took a sixth of its imports; and a first request that
waits for it instead. A process calls `build_models` in a thread once it serves. pydantic builds models under a lock,
and adapters without one: two threads that need the same one at once each build it, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter

DEFERRED = ConfigDict(defer_build=True)
"""For a `TypeAdapter`, which is also given to `deferred`. The bases of models have it among their own settings."""

T = TypeVar("T")
_adapters: list[TypeAdapter[Any]] = []


def deferred(adapter: TypeAdapter[T]) -> TypeAdapter[T]:
    """Return the adapter, which `build_models` will build too."""
    _adapters.append(adapter)
    return adapter


def build_models() -> None:
    """Build the models and adapters that have been imported and not been used. Returns at once if there is none."""
    for model in list(_below(BaseModel)):
        if model.model_config.get("defer_build"):
            model.model_rebuild()
    for adapter in _adapters:
        adapter.rebuild()


def _below(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _below(model)
