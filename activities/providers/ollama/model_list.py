"""`GET /api/tags`: `models` of `{"name": "llama3.2:latest", "modified_at"}`: those that were pulled, on one page.

Source: docs.ollama.com/api/tags. Ollama's own `/v1/models` returns `modified_at` as the time of creation.
"""

from __future__ import annotations

from activities.providers.shared.model_list import Page, entries, seconds_of
from open_responses.contracts import ListedModel
from open_responses.json_types import JsonObject

MODELS_PATH = "/api/tags"


def models_on(body: JsonObject) -> Page:
    models = [
        ListedModel(entry["name"], seconds_of(entry.get("modified_at"))) for entry in entries(body["models"], "name")
    ]
    return models, None
