"""Usage that a server did not count: four characters a token, the usual rule of thumb for English.

The tokenizer of `open_responses.context.tokens` would be closer for OpenAI's own models, and costs 100 MB and time.
"""

from __future__ import annotations

import json

from open_responses.context.texts import texts_of
from open_responses.contracts import SampleCall
from open_responses.deltas import Usage

_CHARACTERS_PER_TOKEN = 4


def estimated_usage(call: SampleCall, received: int) -> Usage:
    """`received` are the characters of the answer: text, reasoning and arguments. Images and files are not counted."""
    return Usage(estimated_input(call), estimated_output(received), estimated=True)


def estimated_input(call: SampleCall) -> int:
    sent = sum(len(text) for item in call.items for text in texts_of(item))
    sent += len(call.request.instructions or "") + len(call.prefix or "")
    sent += sum(len(json.dumps(tool.model_dump(mode="json", exclude_unset=True))) for tool in call.tools)
    return _tokens(sent)


def estimated_output(received: int) -> int:
    return _tokens(received)


def _tokens(characters: int) -> int:
    return -(-characters // _CHARACTERS_PER_TOKEN)
