"""Ollama's own API: `POST /api/chat`, one JSON object on each line.

Sources: docs.ollama.com (openapi.yaml), `api/types.go` and `server/routes.go` of Ollama 0.33.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx

from activities.providers.ollama.error_parsing import error_for, error_of_list, hint_to_start
from activities.providers.ollama.model_list import MODELS_PATH, models_on
from activities.providers.ollama.request import request_body
from activities.providers.ollama.stream import LineReader
from activities.providers.shared.building import built
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.fitting import Fitting
from activities.providers.shared.keys import Key
from activities.providers.shared.model_list import read_models
from activities.providers.shared.prefill import takes_prefill
from activities.providers.shared.reading import Answer, deltas_of
from activities.providers.shared.upstream import ndjson_objects, open_stream
from open_responses.config import ProviderConfig
from open_responses.contracts import ListedModel, Resume, SampleCall
from open_responses.deltas import Delta
from open_responses.json_types import JsonObject
from open_responses.models.vendor_limits import LIMITS


class Ollama:
    """Translates one turn to a chat, and its lines to deltas."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        """Ollama continues a trailing assistant message (ollama/ollama#6778)."""
        return self._config.resume or "prefill" if takes_prefill(call) else "none"

    def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        return deltas_of(self._answer(call))

    @asynccontextmanager
    async def _answer(self, call: SampleCall) -> AsyncIterator[Answer[JsonObject]]:
        key = Key.of(call, self._api_key)
        failures = Failures(self._config, key)
        error_of = partial(error_for, call.model)
        reader = LineReader(call, failures)
        fitting = Fitting(call, LIMITS["ollama"])
        with hint_to_start(self._config):
            async with open_stream(
                self._http,
                self._config,
                "/api/chat",
                body=await built(call, lambda: request_body(fitting.call(), self._config.name)),
                headers=key.as_bearer(),
                read_error=failures.read_by(error_of),
            ) as response:
                yield Answer(response, ndjson_objects(response), reader, fitting)

    async def list_models(self) -> list[ListedModel]:
        """Raises the ProviderError family."""
        key = Key(self._api_key, is_own=False)
        return await read_models(
            self._http,
            self._config,
            MODELS_PATH,
            headers=key.as_bearer(),
            read_error=Failures(self._config, key).read_by(error_of_list),
            read_page=models_on,
        )
