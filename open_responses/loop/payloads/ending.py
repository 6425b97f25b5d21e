"""How a response ends."""

from __future__ import annotations

from open_responses.schema.payload import Payload
from open_responses.schema.response import FinalStatus


class Ending(Payload):
    """How a response ends. `error_*` belong to `failed`, `incomplete_reason` to `incomplete`."""

    status: FinalStatus
    incomplete_reason: str | None = None
    error_code: str = "server_error"
    error_message: str = ""
