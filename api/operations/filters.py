"""The filters of a list of responses, and the query of Temporal's visibility that they amount to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from api.auth import Caller
from api.paging import page_limit
from open_responses.errors import InvalidRequest, NotFound, PermissionDenied
from open_responses.ids import is_id
from open_responses.io.temporal.visibility import literal, moment
from open_responses.loop import search_attributes as names
from open_responses.loop.payloads.names import WORKFLOW

_FINAL = ("completed", "incomplete", "failed", "cancelled")
_WAITING = (names.AWAITING_APPROVAL, names.RETRYING)
STATUSES = ("in_progress", *_WAITING, *_FINAL)
_EQUALS = {
    "model": names.MODEL,
    "provider": names.PROVIDER,
    "tenant": names.TENANT,
    "conversation": names.CONVERSATION,
    "error_code": names.ERROR_CODE,
}
_OF_RESPONSES = frozenset({*_EQUALS, "status", "waiting", "created_after", "created_before", "limit", "after"})
_LONGEST = 300


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
        if name != "tenant" and name in query:
            conditions.append(_equals(attribute, _text(query, name), name))
    if "status" in query:
        conditions.append(_of_status(query["status"]))
    if _is_true(query, "waiting"):
        conditions.append(_is_waiting())
    if "created_after" in query:
        conditions.append(f"StartTime >= {moment(_time(query, 'created_after'))}")
    if "created_before" in query:
        conditions.append(f"StartTime < {moment(_time(query, 'created_before'))}")
    return Page(*_whose(query, caller), tuple(conditions), page_limit(query.get("limit")), _after(query))


def pending_asked_for(query: Mapping[str, str], caller: Caller) -> Page:
    """The page of `GET /v1/approvals`: the responses of which calls wait for a person. Raises as the function above."""
    check_names(query, frozenset({"tenant", "limit", "after"}))
    waits = f"ExecutionStatus = 'Running' AND {names.STATUS} = '{names.AWAITING_APPROVAL}'"
    return Page(*_whose(query, caller), (waits,), page_limit(query.get("limit")), query.get("after"))


def check_names(query: Mapping[str, str], known: frozenset[str]) -> None:
    """A misspelt filter would list everything. Raises InvalidRequest."""
    for name in query:
        if name not in known:
            raise InvalidRequest(
                f"There is no parameter {name[:80]!r} here. Use {', '.join(sorted(known))}.",
                param=name[:80],
                code="unknown_parameter",
            )


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
    # The attribute is set a moment before the run closes. A run that ended from outside has the attribute from before.
    ended_outside = {"failed": "'Failed', 'Terminated', 'TimedOut'", "cancelled": "'Canceled'"}.get(status)
    if status in _WAITING:
        return f"ExecutionStatus = 'Running' AND {names.STATUS} = '{status}'"
    if status == "in_progress":
        final = ", ".join(f"'{one}'" for one in _FINAL)
        return f"ExecutionStatus = 'Running' AND ({names.STATUS} IS NULL OR {names.STATUS} NOT IN ({final}))"
    if status not in _FINAL:
        raise InvalidRequest(f"'status' must be one of {', '.join(STATUSES)}.", param="status", code="invalid_value")
    if ended_outside is None:
        return f"{names.STATUS} = '{status}'"
    return f"({names.STATUS} = '{status}' OR ExecutionStatus IN ({ended_outside}))"


def _is_waiting() -> str:
    waiting = ", ".join(f"'{one}'" for one in _WAITING)
    return f"ExecutionStatus = 'Running' AND {names.STATUS} IN ({waiting})"


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


def unknown_cursor() -> NotFound:
    """The error for an `after` that is in no list of the caller's."""
    return NotFound("'after' must be the id of an entry. Take the last_id of the page before.", param="after")
