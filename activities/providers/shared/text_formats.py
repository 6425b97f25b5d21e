"""`text.format` and `text.verbosity`, and their descriptions in words for a model whose API has no parameter for them.

The words are the same on each turn, since prompt caches go by prefix.
"""

from __future__ import annotations

import json

from open_responses.schema.requests import CreateResponse
from open_responses.schema.text_settings import JsonObjectFormat, JsonSchemaFormat

_VERBOSITY = {"low": "Keep your answer short.", "high": "Answer at length and in detail."}


def json_format(request: CreateResponse) -> JsonObjectFormat | JsonSchemaFormat | None:
    """Return the required format of a JSON answer; None for plain text."""
    wanted = request.text.format if request.text is not None else None
    return wanted if isinstance(wanted, JsonObjectFormat | JsonSchemaFormat) else None


def format_in_words(request: CreateResponse) -> str | None:
    """Return the instruction to answer in `text.format`; None for plain text."""
    wanted = json_format(request)
    if wanted is None:
        return None
    if isinstance(wanted, JsonObjectFormat):
        return "Answer with one JSON object and nothing else: no words around it, no code fence."
    about = f" It is: {wanted.description}" if wanted.description else ""
    return (
        "Answer with JSON and nothing else: no words around it, no code fence. It must be valid against this JSON "
        f"Schema ({wanted.name}).{about}\n{json.dumps(wanted.schema_, ensure_ascii=False)}"
    )


def verbosity_in_words(request: CreateResponse) -> str | None:
    """Return the instruction for `text.verbosity`; None for the default."""
    return _VERBOSITY.get(request.text.verbosity or "") if request.text is not None else None
