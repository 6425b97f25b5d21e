"""Decides whether a request may have the first part of an answer (prefill), which the model continues."""

from __future__ import annotations

from activities.providers.shared.text_formats import json_format
from open_responses.contracts import SampleCall
from open_responses.schema.items import Reasoning, UserMessage


def takes_prefill(call: SampleCall) -> bool:
    """Whether a prefill is possible. It is not with a grammar, which would begin again, nor if the model has thought
    since the last question, because it would begin with thinking again (llama.cpp: "Assistant response prefill is
    incompatible with enable_thinking").
    """
    return json_format(call.request) is None and not _has_thought(call)


def _has_thought(call: SampleCall) -> bool:
    for item in reversed(call.items):
        if isinstance(item, Reasoning | UserMessage):
            return isinstance(item, Reasoning)
    return False
