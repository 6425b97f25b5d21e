"""`GET /models` of OpenAI and of the servers that have its API in either form.

Further members are read too: Together's `organization`, OpenRouter's pages (`links.next`). The list does not have the
purpose of a model: models for speech, images and embeddings are in it as well.

Sources: OpenAI's API reference, Models; docs.together.ai/reference/models; openrouter.ai/docs, models (links).
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx

from activities.providers.shared.error_mapping import ErrorOf, Failures
from activities.providers.shared.json_objects import as_object
from activities.providers.shared.keys import Key
from activities.providers.shared.model_list import Page, entries, read_models, seconds_of
from open_responses.config import ProviderConfig
from open_responses.contracts import ListedModel
from open_responses.json_types import JsonObject

_PATH = "/models"


async def list_openai_models(
    http: httpx.AsyncClient, config: ProviderConfig, api_key: str | None, error_of: ErrorOf
) -> list[ListedModel]:
    """Raises the ProviderError family."""
    key = Key(api_key, is_own=False)
    return await read_models(
        http,
        config,
        _PATH,
        headers=key.as_bearer(),
        read_error=Failures(config, key).read_by(error_of),
        read_page=_page,
    )


def _page(body: JsonObject) -> Page:
    models = [
        ListedModel(entry["id"], seconds_of(entry.get("created")), entry.get("owned_by") or entry.get("organization"))
        for entry in entries(body["data"], "id")
    ]
    following = as_object(body.get("links")).get("next")
    # Only the link's query is used, so that the key goes to no other address than the configured one.
    return models, f"{_PATH}?{urlsplit(following).query}" if isinstance(following, str) and following else None
