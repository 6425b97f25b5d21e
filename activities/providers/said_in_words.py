"""What an API has no parameter for is said to the model in words: the same on each turn, since caches go by prefix."""

from __future__ import annotations

import json

from open_responses.requests import CreateResponse, JsonObjectFormat, JsonSchemaFormat

_VERBOSITY = {"low": "Keep your answer short.", "high": "Answer at length and in detail."}


def format_in_words(request: CreateResponse) -> str | None:
    """The order to answer in `text.format`; None for plain text."""
    wanted = request.text.format if request.text is not None else None
    if isinstance(wanted, JsonObjectFormat):
        return "Answer with one JSON object and nothing else: no words around it, no code fence."
    if isinstance(wanted, JsonSchemaFormat):
        about = f" It is: {wanted.description}" if wanted.description else ""
        return (
            "Answer with JSON and nothing else: no words around it, no code fence. It must be valid against this JSON "
            f"Schema ({wanted.name}).{about}\n{json.dumps(wanted.schema_, ensure_ascii=False)}"
        )
    return None


def verbosity_in_words(request: CreateResponse) -> str | None:
    """`text.verbosity`; None for what needs no word."""
    return _VERBOSITY.get(request.text.verbosity or "") if request.text is not None else None
