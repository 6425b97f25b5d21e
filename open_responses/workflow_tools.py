"""Hosted tools that the response's workflow runs itself, as the configuration has them: without a worker's activity."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

LONGEST_WAIT_SECONDS = 30 * 24 * 3600.0


class WaitConfig(BaseModel):
    """`wait` in a `[[tools]]` table: the tool lets the model wait for a time, by a durable timer.

    Attributes:
        max_seconds: The longest single wait.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_seconds: float = Field(default=7 * 24 * 3600.0, gt=0, le=LONGEST_WAIT_SECONDS)
