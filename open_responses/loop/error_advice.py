"""The last sentence of a failed response's error message: what its reader can do.

Most of these messages begin with a text that a provider or the SDK of a dependency wrote, which says what is wrong, and
not what to do.
"""

from __future__ import annotations

_ADVICE = {
    "context_length_exceeded": "Send less, set 'truncation' to 'auto', or compact the conversation.",
    "insufficient_quota": "Add credit to your account at the provider.",
    "invalid_output": "Send a simpler schema, or choose another model.",
    "model_not_found": "GET /v1/models lists the models that you may use.",
    "previous_response_not_found": "Send the whole input.",
    "provider_answer_refused": "Choose another model. If you operate the server, see max_event_bytes of the provider.",
    "provider_rejected_request": "Change your request as the provider says.",
    "provider_stream_broken": "Send your request again later.",
    "provider_timeout": "Send your request again later.",
    "provider_unavailable": "Send your request again later.",
    "rate_limit_exceeded": "Send your request again later.",
    "server_error": "Report it with the id of the response.",
    "unavailable": "Send your request again later.",
}
"""Codes of `docs/errors.md`. The messages of other codes have their advice in them."""


def with_advice(code: str, message: str) -> str:
    """Return the message with what its reader can do, as a sentence of its own."""
    advice = _ADVICE.get(code)
    if advice is None:
        return message
    end = "" if message.endswith((".", "!", "?", "…")) else "."
    return f"{message}{end} {advice}"
