"""From the configuration's `[[middleware]]` to middlewares, in its order: the first is outermost."""

from __future__ import annotations

import importlib

from open_responses.config import Config, MiddlewareConfig
from open_responses.contracts import Middleware


def load_middleware(config: Config) -> list[Middleware]:
    """Raises ValueError, naming the target, for one that cannot be imported or does not take its options."""
    return [_load(entry) for entry in config.middleware]


def _load(entry: MiddlewareConfig) -> Middleware:
    module, _, name = entry.target.partition(":")
    try:
        made: Middleware = getattr(importlib.import_module(module), name)(**entry.options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"middleware {entry.target!r} cannot be used ({error}): correct its target or options"
        ) from error
    return made
