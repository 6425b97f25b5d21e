"""Loads the middlewares of the configuration's `[[middleware]]` tables, in their order: the first is the outermost."""

from __future__ import annotations

import importlib

from open_responses.config import Config, MiddlewareConfig
from open_responses.contracts import Middleware


def load_middleware(config: Config) -> list[Middleware]:
    """Load them. Raises ValueError, with the name of the target, if one cannot be imported or does not accept its
    options."""
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
