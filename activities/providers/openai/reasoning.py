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
    """Return the form in which a reasoning item goes back, as JSON; None for an item that cannot be sent back.

    OpenAI's reasoning is encrypted. Open models behind the same API send its text, and expect the text back.
    """
    kept = {"id": item.get("id"), "summary": item.get("summary") or []}
    for name in ("encrypted_content", "content"):
        if item.get(name):
            return json.dumps({**kept, name: item[name]}, ensure_ascii=False)
    return None


def reasoning_items(item: Reasoning, provider: str, stored: bool) -> list[JsonObject]:
    """Return a reasoning item for the request. Items of this server have a seal, and items that a client got from
    OpenAI have encrypted content. Reasoning of another provider, or only text, is left out.

    The id is left out: for a stored id, OpenAI would require the id of the following item as well (vercel/ai#7099).
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
