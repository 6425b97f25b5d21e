"""Reads the time to wait before another attempt from a provider's headers."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")


def wait_of(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: `retry-after-ms`, `Retry-After` (seconds or a date), or until the exhausted limit is reset."""
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        given = headers.get("retry-after")
        if given is not None:
            return float(given) if _is_number(given) else _until(parsedate_to_datetime(given))
        return _reset(headers)
    except (ValueError, TypeError):
        return None


def _reset(headers: Mapping[str, str]) -> float | None:
    """Return the time until the exhausted limits are reset: OpenAI's `x-ratelimit-reset-tokens: 6m0s` and similar
    headers."""
    waits = []
    for kind in ("requests", "tokens", "input-tokens", "output-tokens"):
        for remaining, reset in (
            (f"x-ratelimit-remaining-{kind}", f"x-ratelimit-reset-{kind}"),
            (f"anthropic-ratelimit-{kind}-remaining", f"anthropic-ratelimit-{kind}-reset"),
        ):
            if headers.get(remaining, "").strip() == "0" and (given := headers.get(reset)):
                waits.append(seconds_of(given))
    return max((wait for wait in waits if wait is not None), default=None)


def seconds_of(given: str) -> float | None:
    """`34s`, `6m0s`, `120ms`, plain seconds, or a moment in RFC 3339."""
    if _is_number(given):
        return float(given)
    if "T" in given:
        return _until(datetime.fromisoformat(given.replace("Z", "+00:00")))
    found = _DURATION.fullmatch(given.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _until(moment: datetime) -> float:
    return max(0.0, moment.timestamp() - time.time())


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()
