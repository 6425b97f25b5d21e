"""`GET /v1/models`: `data` of `{"type": "model", "id", "display_name", "created_at"}`, with `has_more` and `last_id`.

The list has no aliases (`claude-sonnet-4-5`), although the API accepts them.

Source: platform.claude.com/docs, Models.
"""

from __future__ import annotations

from urllib.parse import quote

from activities.providers.shared.model_list import PAGE_SIZE, Page, entries, seconds_of
from open_responses.contracts import ListedModel
from open_responses.json_types import JsonObject

MODELS_PATH = f"/v1/models?limit={PAGE_SIZE}"


def models_on(body: JsonObject) -> Page:
    """Read a page. Servers that implement OpenAI's API as well (llama.cpp) answer with its members `created` and
    `owned_by`."""
    models = [
        ListedModel(entry["id"], seconds_of(entry.get("created_at", entry.get("created"))), entry.get("owned_by"))
        for entry in entries(body["data"], "id")
    ]
    last = body.get("last_id") if body.get("has_more") else None
    return models, f"{MODELS_PATH}&after_id={quote(last, safe='')}" if last else None
