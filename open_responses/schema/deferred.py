"""Models whose validators pydantic builds when they are first used, and a function that builds them all before.

What this prevents: a process that starts slowly, because building took a sixth of its imports; and a first request that
waits for it instead. A process calls `build_models` in a thread once it serves. pydantic builds under a lock.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict

DEFERRED = ConfigDict(defer_build=True)
"""For a `TypeAdapter`. The bases of models have it among their own settings."""


def build_models() -> None:
    """Build the models that have been imported and not been used. Returns at once if there is none."""
    for model in list(_below(BaseModel)):
        if model.model_config.get("defer_build"):
            model.model_rebuild()


def _below(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        yield model
        yield from _below(model)
