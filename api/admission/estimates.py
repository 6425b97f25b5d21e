"""Estimates the tokens that a response sends to its provider, before it starts.

The chain or the conversation that a request continues is sent with it. Without the estimate, token limits would count
the request's own input only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from open_responses.context.tokens import about_input
from open_responses.io.store.records import Record
from open_responses.io.store.used_tokens import tokens_of
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse

# OpenAI's own rule of thumb.
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Continues:
    """What a request continues: a stored response, a conversation's items, or what a WebSocket holds, in bytes."""

    previous: Record | None = None
    conversation: Sequence[JsonObject] = ()
    held_bytes: int = 0


def context_tokens(start: StartResponse, continues: Continues) -> int:
    """Tokens of the first model turn's input: the continued context, instructions, tools and the input itself."""
    request = start.request
    own = about_input(start.input_items(), request.instructions, request.tools or [])
    return own + _before(continues)


def _before(continues: Continues) -> int:
    tokens = sum(map(tokens_of, continues.conversation)) + continues.held_bytes // _CHARACTERS_PER_TOKEN
    if continues.previous is not None:
        tokens += _chain(continues.previous)
    return tokens


def _chain(previous: Record) -> int:
    """The previous response's context and output.

    If its context was not estimated (its key had no limits), the provider's count of its input stands in.
    """
    usage = orjson.loads(previous.response)["usage"] if previous.response is not None else None
    context = previous.start.context_tokens or (usage or {}).get("input_tokens", 0) or len(previous.written) // 4
    return int(context) + (usage["output_tokens"] if usage else sum(map(tokens_of, previous.output)))
