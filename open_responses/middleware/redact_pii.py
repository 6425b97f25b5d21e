"""Replaces personal data, found by patterns, in everything that the provider reads."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from open_responses.context.texts import map_texts
from open_responses.contracts import Middleware, SampleContext, SampleNext
from open_responses.deltas import Delta
from open_responses.schema.items import InputItem, OpaqueItem

_PATTERNS = {
    "email": r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}",
    "iban": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "card": r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])",
    "us_ssn": r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])",
    "phone": r"(?<![\w+])\+\d(?:[ ()./-]{0,2}\d){7,14}(?!\d)"
    r"|(?<!\w)(?<!\d[ .-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![ .-]?\w)",
    "ipv4": r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])",
}
DEFAULT_KINDS = "email,iban,card,us_ssn,phone"


class RedactPII(Middleware):
    """Replaces personal data with `[email]`, `[card]` … in the context of each sample.

    The server stores the client's input unchanged; only the provider reads the redacted text. Messages, arguments,
    results, reasoning and summaries are redacted. Images, files and tool descriptions are not. Encrypted reasoning and
    items of the provider's built-in tools are not either: they return to the provider that wrote them, which had read
    redacted text only, and must not change.

    Args:
        kinds: The kinds to replace, separated by commas: email, iban, card, us_ssn, phone, ipv4.
        pattern: A regular expression of your own. Its matches become `[redacted]`.

    Raises:
        ValueError: A kind is unknown, or `pattern` is not a regular expression.
    """

    def __init__(self, kinds: str = DEFAULT_KINDS, pattern: str | None = None) -> None:
        names = [kind.strip() for kind in kinds.split(",") if kind.strip()]
        unknown = [name for name in names if name not in _PATTERNS]
        if unknown:
            raise ValueError(f"unknown kinds {', '.join(unknown)}; there are {', '.join(_PATTERNS)}")
        self._rules: list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]] = [
            (re.compile(_PATTERNS[name]), _card if name == "card" else _named(name)) for name in names
        ]
        if pattern is not None:
            self._rules.append((_compiled(pattern), lambda _: "[redacted]"))

    def around_sample(self, context: SampleContext, call_next: SampleNext) -> AsyncIterator[Delta]:
        """Redact the items and the instructions, and pass the sample on."""
        call = context.call
        request = call.request
        if request.instructions:
            request = request.model_copy(update={"instructions": self.redacted(request.instructions)})
        items = [item if _is_the_providers_own(item) else map_texts(item, self.redacted) for item in call.items]
        return call_next(replace(context, call=replace(call, items=items, request=request)))

    def redacted(self, text: str) -> str:
        """Return the text with every match replaced."""
        for pattern, put in self._rules:
            text = pattern.sub(put, text)
        return text


def _is_the_providers_own(item: InputItem) -> bool:
    return isinstance(item, OpaqueItem) and item.is_record


def _named(kind: str) -> Callable[[re.Match[str]], str]:
    return lambda _: f"[{kind}]"


def _card(match: re.Match[str]) -> str:
    """Replace a number with a valid check digit (Luhn, ISO/IEC 7812-1): most other long numbers have none."""
    digits = [int(character) for character in match[0] if character.isdigit()]
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return "[card]" if sum(doubled) % 10 == 0 else match[0]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from None
