"""What an error code means, in this server's own words: the reason that operators read in Temporal without a key.

The whole message of an error may quote a provider or a user, and is encrypted where payloads are.
"""

from __future__ import annotations

_MEANINGS = {
    "approval_already_answered": "another response has used the approval",
    "context_length_exceeded": "the conversation does not fit the model's context window",
    "context_too_large": "the conversation is larger than this server accepts",
    "insufficient_quota": "the account at the provider has no credit",
    "invalid_output": "the model's answers do not match the schema",
    "model_not_found": "the provider does not have the model",
    "previous_response_not_found": "a response earlier in the chain is gone",
    "provider_answer_refused": "the provider's answer could not be read",
    "provider_authentication": "the provider rejected the key",
    "provider_error": "the provider's adapter reported an error",
    "provider_key_missing": "there is no key for the provider",
    "provider_rejected_request": "the provider rejected the request",
    "provider_stream_broken": "the provider's stream broke",
    "provider_timeout": "the provider did not answer in time",
    "provider_unavailable": "the provider is down",
    "rate_limit_exceeded": "the provider limits the rate of requests",
    "run_deleted": "the run was deleted",
    "run_failed": "the run failed before it could end the response",
    "run_reset": "an operator reset the run to a point before what clients were sent",
    "run_terminated": "the run was terminated",
    "run_timed_out": "the run reached a timeout",
    "server_error": "the server failed",
    "stream_lost": "events of the stream were lost",
    "stream_diverged": "a repeated step came to other events",
    "token_budget_exceeded": "the budget is spent",
    "unavailable": "a part of the server could not be reached",
}


def own_words(code: str) -> str:
    """`code: meaning`, or the code alone."""
    meaning = _MEANINGS.get(code)
    return code if meaning is None else f"{code}: {meaning}"
