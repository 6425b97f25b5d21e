"""Why an answer ended: the words of all vendors, in one table.

Servers of one vendor's API pass the words of another on: a chat server that stands before Gemini says `SAFETY`, one
before Anthropic `end_turn`. So each adapter knows them all, in any case.

Sources: OpenAI's API reference; platform.claude.com/docs (stop reasons); ai.google.dev/api/generate-content
(FinishReason); docs.cohere.com (`COMPLETE`, `ERROR_TOXIC`); docs.aws.amazon.com (`guardrail_intervened`,
`content_filtered`); docs.z.ai (`sensitive`); mistralai's SDK 3.7 (`model_length`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from open_responses.deltas import FinishReason

_WORDS: Mapping[FinishReason, str] = {
    "stop": "stop end_turn stop_sequence eos eos_token complete completed",
    "length": (
        "length max_tokens max_output_tokens max_length max_new_tokens model_length token_limit"
        " model_context_window_exceeded"
    ),
    "tool_calls": "tool_calls tool_call tool_use function_call function_calls",
    "content_filter": (
        "content_filter content_filtered content-filter contentfilter content_policy_violation filtered safety"
        " sensitive refusal blocked blocklist recitation language prohibited_content spii image_safety"
        " image_prohibited_content image_recitation guardrail_intervened guardrails moderation error_toxic toxic"
    ),
}
_MEANINGS: Mapping[str, FinishReason] = {word: reason for reason, words in _WORDS.items() for word in words.split()}


def meaning_of(word: Any) -> FinishReason | None:
    """Why an answer ended, by the vendor's word; None for a word that no vendor documents."""
    return _MEANINGS.get(word.lower()) if isinstance(word, str) else None
