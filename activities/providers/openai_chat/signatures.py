"""Signatures of thoughts on function calls and messages, which a server wants back in the place where it sent them.

Gemini rejects a call without its signature (a 400), so behind a chat server no second turn with tools would succeed.

Sources: ai.google.dev/gemini-api/docs/thought-signatures (OpenAI compatibility: `extra_content.google`),
earendil-works/pi#7745 (`extra_content.vertex`), BerriAI/litellm#22598 (`provider_specific_fields`, at the call or at
its function, also in the plural).
"""

from __future__ import annotations

import json

from activities.providers.shared.json_objects import as_object
from open_responses.json_types import JsonObject

_MEMBERS = frozenset(
    {"extra_content", "provider_specific_fields", "thought_signature", "thoughtSignature", "thought_signatures"}
)


def signed_members(given: JsonObject) -> JsonObject:
    """Return the members of a call, its function or a message that have a signature, as the server wrote them."""
    if _MEMBERS.isdisjoint(given):
        return {}
    return {name: given[name] for name in sorted(_MEMBERS) if given.get(name) and _is_signed(name, given[name])}


def signed_call(piece: JsonObject) -> JsonObject:
    """Return the same of a piece of a call; under `function`, those of its function."""
    function = signed_members(as_object(piece.get("function")))
    return signed_members(piece) | ({"function": function} if function else {})


def _is_signed(name: str, value: object) -> bool:
    return "signature" in name.lower() or "signature" in json.dumps(value).lower()
