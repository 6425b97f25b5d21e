"""Log probabilities in the specification's `LogProb` shape, in which `bytes` and `top_logprobs` are required."""

from __future__ import annotations

from typing import Any

from activities.providers.shared.json_objects import as_object
from open_responses.json_types import JsonObject
from open_responses.schema.requests import CreateResponse

LOGPROBS = "message.output_text.logprobs"
"""The member of `include` that asks for them."""


def wants_logprobs(request: CreateResponse) -> bool:
    return bool(request.top_logprobs) or LOGPROBS in (request.include or [])


def logprobs_of(tokens: Any) -> list[JsonObject] | None:
    """Convert a list in OpenAI's form, which chat servers and Ollama use as well; None for an empty list."""
    if not isinstance(tokens, list) or not tokens:
        return None
    return [
        {**_plain(token), "top_logprobs": [_plain(top) for top in token.get("top_logprobs") or []]}
        for token in map(as_object, tokens)
    ]


def plain_logprob(token: Any, logprob: Any, raw: Any = None) -> JsonObject:
    """One token without its alternatives; `raw` are its bytes, if the server sends them."""
    text = str(token or "")
    known = list(text.encode(errors="replace")) if raw is None else raw
    return {"token": text, "logprob": logprob or 0.0, "bytes": known}


def _plain(given: JsonObject) -> JsonObject:
    return plain_logprob(given.get("token"), given.get("logprob"), given.get("bytes"))
