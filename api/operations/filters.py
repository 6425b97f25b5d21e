"""The filters of a list of responses, and the query of Temporal's visibility that they amount to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import WorkflowExecutionStatus

from api.auth import Caller
from api.paging import check_names, page_limit, unknown_cursor
from open_responses.errors import InvalidRequest, PermissionDenied
from open_responses.ids import is_id
from open_responses.io.store.outside_ends import statuses_with
from open_responses.io.temporal.visibility import literal, moment
from open_responses.loop import search_attributes as names
from open_responses.loop.payloads.ending import Ending
from open_responses.loop.payloads.names import WORKFLOW

_FINAL = ("completed", "incomplete", "failed", "cancelled")
_WAITING = (names.AWAITING_APPROVAL, names.RETRYING)
STATUSES = ("in_progress", *_WAITING, *_FINAL)
_EQUALS = {
    "model": names.MODEL,
    "provider": names.PROVIDER,
    "conversation": names.CONVERSATION,
}
_OTHERS = (
    "tenant",
    "error_code",
    "status",
    "waiting",
    "created_after",
    "created_before",
    "slower_than",
    "limit",
    "after",
)
_OF_RESPONSES = frozenset({*_EQUALS, *_OTHERS})
_LONGEST = 300
# Of a number of seconds: up to three years.
_DIGITS = 8
_HAS_NO_END = f"({names.STATUS} IS NULL OR {names.STATUS} NOT IN ({', '.join(repr(one) for one in _FINAL)}))"
_QUERY_NAMES = {
    WorkflowExecutionStatus.TERMINATED: "Terminated",
    WorkflowExecutionStatus.TIMED_OUT: "TimedOut",
    WorkflowExecutionStatus.FAILED: "Failed",
    WorkflowExecutionStatus.CANCELED: "Canceled",
}


@dataclass(frozen=True, slots=True)
class Page:
    """What was asked for.

    Attributes:
        whose: Terms of Temporal's query: the responses that the caller may see. They do not change during a response.
        tenant: The tenant whose responses these are; None for every tenant's.
        conditions: The other terms.
        limit: The most entries.
        after: The id of the last entry of the page before.
    """

    whose: tuple[str, ...]
    tenant: str | None
    conditions: tuple[str, ...]
    limit: int
    after: str | None


def responses_asked_for(query: Mapping[str, str], caller: Caller) -> Page:
    """The page of `GET /v1/responses`. Raises InvalidRequest, PermissionDenied, and NotFound for a wrong `after`."""
    check_names(query, _OF_RESPONSES)
    conditions: list[str] = []
    for name, attribute in _EQUALS.items():
        if name in query:
            conditions.append(_equals(attribute, _text(query, name), name))
    if "error_code" in query:
        conditions.append(_of_error_code(_text(query, "error_code")))
    if "status" in query:
        conditions.append(_of_status(query["status"]))
    if _is_true(query, "waiting"):
        conditions.append(_is_waiting())
    if "created_after" in query:
        conditions.append(f"StartTime >= {moment(_time(query, 'created_after'))}")
    if "created_before" in query:
        conditions.append(f"StartTime < {moment(_time(query, 'created_before'))}")
    if "slower_than" in query:
        conditions.append(_took(_seconds(query, "slower_than")))
    return Page(*_whose(query, caller), tuple(conditions), page_limit(query.get("limit")), _after(query))


def pending_asked_for(query: Mapping[str, str], caller: Caller) -> Page:
    """The page of `GET /v1/approvals`: the responses of which calls wait for a person. Raises as the function above."""
    check_names(query, frozenset({"tenant", "limit", "after"}))
    waits = f"ExecutionStatus = 'Running' AND {names.STATUS} = '{names.AWAITING_APPROVAL}'"
    return Page(*_whose(query, caller), (waits,), page_limit(query.get("limit")), query.get("after"))


def _whose(query: Mapping[str, str], caller: Caller) -> tuple[tuple[str, ...], str | None]:
    """The terms, and the tenant."""
    responses = f"WorkflowType = '{WORKFLOW}'"
    own = None if caller.is_admin else caller.tenant
    asked = _text(query, "tenant") if "tenant" in query else None
    if own is not None and asked not in (None, own):
        raise PermissionDenied(
            "Your API key sees its own tenant only. Leave 'tenant' out, or send a key with the scope admin.",
            param="tenant",
        )
    tenant = own or asked
    terms = (responses,) if tenant is None else (responses, _equals(names.TENANT, tenant, "tenant"))
    return terms, tenant


def _equals(attribute: str, text: str, param: str) -> str:
    try:
        return f"{attribute} = {literal(text)}"
    except ValueError:
        raise InvalidRequest(
            f"Temporal's index cannot search for a {param} that begins or ends with a quote, or has a backslash, a "
            "double quote or a control character.",
            param=param,
            code="invalid_value",
        ) from None


def _of_status(status: str) -> str:
    # The attribute is set a moment before the run closes.
    if status in _WAITING:
        return f"ExecutionStatus = 'Running' AND {names.STATUS} = '{status}'"
    if status == "in_progress":
        return f"ExecutionStatus = 'Running' AND {_HAS_NO_END}"
    if status not in _FINAL:
        raise InvalidRequest(f"'status' must be one of {', '.join(STATUSES)}.", param="status", code="invalid_value")
    return _or_ended_outside(f"{names.STATUS} = '{status}'", lambda ending: ending.status == status)


def _of_error_code(code: str) -> str:
    return _or_ended_outside(
        _equals(names.ERROR_CODE, code, "error_code"),
        lambda ending: ending.status == "failed" and ending.error_code == code,
    )


def _or_ended_outside(term: str, ending: Callable[[Ending], bool]) -> str:
    """The term, or a run that Temporal ended so: its attributes are those from before, and cannot change any more."""
    statuses = ", ".join(f"'{_QUERY_NAMES[status]}'" for status in statuses_with(ending))
    return f"({term} OR (ExecutionStatus IN ({statuses}) AND {_HAS_NO_END}))" if statuses else term


def _is_waiting() -> str:
    waiting = ", ".join(f"'{one}'" for one in _WAITING)
    return f"ExecutionStatus = 'Running' AND {names.STATUS} IN ({waiting})"


def _took(seconds: int) -> str:
    """Those that took at least so long, or have run for so long and go on."""
    # Rounded to a second: requests within one second have the same filter, and share one answer (`RecentAnswers`).
    begun = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=seconds)
    return f"(ExecutionDuration >= '{seconds}s' OR (ExecutionStatus = 'Running' AND StartTime <= {moment(begun)}))"


def _seconds(query: Mapping[str, str], name: str) -> int:
    text = query[name]
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise InvalidRequest(f"'{name}' must be a whole number of seconds.", param=name, code="invalid_value")
    return int(text)


def _is_true(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidRequest(f"'{name}' must be true or false.", param=name, code="invalid_value")
    return text in ("true", "1")


def _text(query: Mapping[str, str], name: str) -> str:
    text = query[name]
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise InvalidRequest(
            f"'{name}' must have 1 to {_LONGEST} printable characters.", param=name, code="invalid_value"
        )
    return text


def _time(query: Mapping[str, str], name: str) -> datetime:
    """Unix seconds, a date, or RFC 3339; UTC where no zone is given."""
    text = query[name]
    try:
        if text.replace(".", "", 1).isdigit() and text.isascii():
            return datetime.fromtimestamp(float(text), UTC)
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidRequest(
            f"'{name}' must be a date (2026-11-28), a time (2026-11-28T09:00:00Z) or Unix seconds.",
            param=name,
            code="invalid_value",
        ) from None


def _after(query: Mapping[str, str]) -> str | None:
    after = query.get("after")
    if after is not None and not is_id("resp_", after):
        raise unknown_cursor()
    return after
