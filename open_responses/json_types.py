"""The shape of decoded JSON, for what we pass on without looking inside."""

from __future__ import annotations

from typing import Any, TypeAlias

# `Any` and not a recursive union: these values come straight out of a JSON parser, and mypy cannot narrow the
# recursive form without a cast at each access.
JsonObject: TypeAlias = dict[str, Any]
