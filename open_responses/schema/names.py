"""The forms of names and ids that tools and items share."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import Field

SLUG = "open_responses:"
"""The prefix of the types of this server's extensions."""

CallId: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
