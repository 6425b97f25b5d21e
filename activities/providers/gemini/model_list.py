"""`GET /v1beta/models`: `models` of `{"name": "models/…", "supportedGenerationMethods"}`, with `nextPageToken`.

Tuned models are not in it.

Source: ai.google.dev/api/models.
"""

from __future__ import annotations

from urllib.parse import quote

from activities.providers.shared.model_list import PAGE_SIZE, Page, entries
from open_responses.contracts import ListedModel
from open_responses.json_types import JsonObject

MODELS_PATH = f"/v1beta/models?pageSize={PAGE_SIZE}"


def models_on(body: JsonObject) -> Page:
    """Return the models that generate content. The others embed, predict or count."""
    models = [
        ListedModel(entry["name"].removeprefix("models/"))
        for entry in entries(body["models"], "name")
        if "generateContent" in entry.get("supportedGenerationMethods", ["generateContent"])
    ]
    token = body.get("nextPageToken")
    return models, f"{MODELS_PATH}&pageToken={quote(token, safe='')}" if token else None
