"""`/v1/usage`: responses, tokens and cost by tenant, model and day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.auth import Caller
from api.dependencies import AuthenticatedCaller, State
from open_responses.errors import InvalidRequest, PermissionDenied
from open_responses.io.redis.usage_counters import DAYS_KEPT, DayOfUse, UsageCounters, Used
from open_responses.schema.http_bodies import UsageReport, UsageRow

router = APIRouter()

_GROUPS = ("tenant", "model", "day")
_PARAMETERS = ("from", "to", "group_by", "tenant")
_DEFAULT_DAYS = 30
# More would be an answer of megabytes, which takes the process's time from its streams.
_MOST_ROWS = 10_000


@router.get("/v1/usage")
async def get_usage(request: Request, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """The usage of the caller's tenant, or for an operator that of every tenant."""
    query = request.query_params
    for name in query:
        if name not in _PARAMETERS:
            known = ", ".join(_PARAMETERS)
            raise InvalidRequest(
                f"Unknown parameter {name[:40]!r}. Known are {known}.", param=name[:40], code="unknown_parameter"
            )
    first, end = _time(query.get("from"), query.get("to"))
    groups = _groups(query.get("group_by"))
    counters = UsageCounters(state.redis)
    rows: dict[tuple[str, ...], Used] = {}
    total = Used()
    async for part in counters.read(first, end - timedelta(days=1), _tenant(caller, query.get("tenant"))):
        total = total.plus(part.used)
        group = tuple(_member(part, name) for name in groups)
        if groups:
            rows[group] = rows.get(group, Used()).plus(part.used)
        if len(rows) > _MOST_ROWS:
            raise InvalidRequest(
                f"Your query has more than {_MOST_ROWS} rows. Ask for a shorter time or for fewer groups.", param="from"
            )
    report = cast(
        UsageReport,
        {
            "object": "usage",
            "from": first.isoformat(),
            "to": end.isoformat(),
            "group_by": groups,
            "is_complete": await counters.are_whole(),
            "data": [_row(used, dict(zip(groups, group, strict=True))) for group, used in sorted(rows.items())],
            "total": _row(total, {}),
        },
    )
    return JSONResponse(report)


def _tenant(caller: Caller, asked: str | None) -> str | None:
    """The tenant whose usage is read; None for all."""
    if caller.is_admin:
        return asked
    if asked not in (None, caller.tenant):
        raise PermissionDenied("Your API key reads the usage of its own tenant only.")
    return caller.tenant


def _groups(text: str | None) -> list[str]:
    names = ["day"] if text is None else [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in _GROUPS:
            raise InvalidRequest(
                f"'group_by' has {name[:40]!r}. Name some of {', '.join(_GROUPS)}, with commas between them.",
                param="group_by",
                code="invalid_value",
            )
    return list(dict.fromkeys(names))


def _time(start: str | None, to: str | None) -> tuple[date, date]:
    """The first day, and the day after the last."""
    end = datetime.now(UTC).date() + timedelta(days=1) if to is None else _day("to", to, whole=True)
    # The calendar begins with the year 1.
    earliest = date.min.toordinal()
    default = date.fromordinal(max(earliest, end.toordinal() - _DEFAULT_DAYS))
    first = default if start is None else _day("from", start)
    if first >= end:
        raise InvalidRequest("'from' must be before 'to'.", param="from", code="invalid_value")
    if (end - first).days > DAYS_KEPT:
        raise InvalidRequest(
            f"'from' must be at most {DAYS_KEPT} days before 'to'.", param="from", code="invalid_value"
        )
    return first, end


def _day(name: str, text: str, *, whole: bool = False) -> date:
    """A UTC day of a query. A time within a day stands for that day; as an end, the day is then included (`whole`)."""
    try:
        if len(text) == len("YYYY-MM-DD"):
            return date.fromisoformat(text)
        # A plus sign that was not escaped in the URL arrives as a space.
        at = datetime.fromisoformat(text.replace(" ", "+"))
        at = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(UTC)
        day = at.date()
        return day + timedelta(days=1) if whole and at.time() != datetime.min.time() else day
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{name!r} must be a day such as 2026-01-31, or a time such as 2026-01-31T00:00:00Z.",
            param=name,
            code="invalid_value",
        ) from None


def _member(part: DayOfUse, name: str) -> str:
    return {"tenant": part.tenant, "model": part.model, "day": part.day.isoformat()}[name]


def _row(used: Used, group: dict[str, str]) -> UsageRow:
    counts = {
        "responses": used.responses,
        "failed": used.failed,
        "input_tokens": used.input_tokens,
        "cached_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
        "reasoning_tokens": used.reasoning_tokens,
        "total_tokens": used.input_tokens + used.output_tokens,
        "cost_usd": used.cost_usd,
        "unpriced_responses": used.unpriced,
    }
    return cast(UsageRow, {**group, **counts})
