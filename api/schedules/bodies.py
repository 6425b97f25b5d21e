"""What a client sends to create or change a schedule."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from open_responses.json_types import JsonObject
from open_responses.schedules.cron import BadCron, parse_cron
from open_responses.schedules.payloads import Overlap
from open_responses.schema.request_settings import Metadata
from open_responses.schema.requests import present
from open_responses.schema.validation import RequestObject, fault

# The end of the year 9999.
_LATEST = 253_402_300_799


def _printable(text: str) -> str:
    if not (text.isprintable() and text.strip()):
        raise fault("invalid_value", "must have printable characters only, and not spaces alone")
    return text


def _sound_cron(text: str) -> str:
    try:
        parse_cron(text)
    except BadCron as error:
        raise fault("invalid_value", str(error)) from None
    return text


def _moment(value: Any) -> Any:
    """Unix seconds, of a number or of a time in RFC 3339."""
    if not isinstance(value, str):
        return value
    try:
        time = datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return int(time.timestamp())
    except (ValueError, OverflowError):
        pass
    raise fault("invalid_value", "must be Unix seconds, or a time with its zone (2026-12-01T09:00:00+01:00)")


_Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
_Cron: TypeAlias = Annotated[str, AfterValidator(_sound_cron)]
_Timezone: TypeAlias = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_+/-]+$")]
_Moment: TypeAlias = Annotated[int, Field(gt=0, le=_LATEST), BeforeValidator(_moment)]


class UpdateSchedule(RequestObject):
    """`POST /v1/schedules/{id}`: what is not given stays as it is. A `cron` replaces an `at`, and an `at` a `cron`."""

    request: JsonObject | None = None
    cron: _Cron | None = None
    timezone: _Timezone | None = None
    at: _Moment | None = None
    overlap: Overlap | None = None
    name: _Name | None = None
    metadata: Metadata | None = None


class CreateSchedule(UpdateSchedule):
    """`POST /v1/schedules`: a request, and either `cron` or `at`."""

    request: Annotated[JsonObject, BeforeValidator(present)]
    paused: bool | None = None
