"""Translates OpenAI's reasoning items, in answers and in requests.

Source: OpenAI's API reference by the types of its Python SDK (openai 3.54, `response_reasoning_item_param.py`);
pydantic/pydantic-ai#2865 (encrypted content).
"""

from __future__ import annotations

import json

from activities.providers.shared.json_objects import object_in
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning
from open_responses.schema.items import Reasoning


def seal_of(item: JsonObject) -> str | None:
    """What a reasoning item of the answer is sent back as, as JSON; None for one that cannot be.

    OpenAI's reasoning is encrypted; open models behind the same API give its text instead, and want that.
    """
    kept = {"id": item.get("id"), "summary": item.get("summary") or []}
    for name in ("encrypted_content", "content"):
        if item.get(name):
            return json.dumps({**kept, name: item[name]}, ensure_ascii=False)
    return None


def reasoning_items(item: Reasoning, provider: str, stored: bool) -> list[JsonObject]:
    """Ours by its seal, a client's own from OpenAI by what it encrypts; another provider's, or bare text, is left out.

    Of an id that OpenAI has stored it wants the item behind by its id as well, which is not sent (vercel/ai#7099).
    """
    encrypted = item.encrypted_content
    if encrypted and not sealed_reasoning.is_marked(encrypted):
        summary = [{"type": "summary_text", "text": part.text} for part in item.summary]
        return [{"type": "reasoning", "summary": summary, "encrypted_content": encrypted}]
    kept = object_in(sealed_reasoning.content_for(provider, encrypted))
    if kept is None:
        return []
    if stored and "encrypted_content" in kept:
        kept.pop("id", None)
    return [{"type": "reasoning", **{name: value for name, value in kept.items() if value is not None}}]
