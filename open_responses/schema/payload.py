"""The base of everything that crosses Temporal."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Payload(BaseModel):
    """Base of all payloads: unknown fields are ignored, so that an older worker reads what a newer one wrote."""

    model_config = ConfigDict(extra="ignore")
