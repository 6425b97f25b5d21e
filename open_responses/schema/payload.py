"""The base of the models that are stored in Temporal."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """Base of all payloads. Unknown fields are ignored, so that an older worker can read what a newer one wrote."""

    model_config = ConfigDict(extra="ignore", defer_build=True)
