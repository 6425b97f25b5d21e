"""Google's Gemini API: `POST /v1beta/models/{model}:streamGenerateContent?alt=sse`.

The protocol cannot express several summaries of thoughts, `phase`, `parallel_tool_calls` (the server enforces it),
names of files, and an image's `detail`. Interim images of thoughts are left out of the answer. Thoughts without a
signature are not sent back, because Google does not want them.

Sources: ai.google.dev/api/generate-content; LibreChat-AI/agents pull request 323 (which models refuse to go on with a
turn of their own).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import httpx

from activities.providers.gemini.error_parsing import error_of
from activities.providers.gemini.model_list import MODELS_PATH, models_on
from activities.providers.gemini.request import request_body
from activities.providers.gemini.stream import ChunkReader, chunks
from activities.providers.shared.building import built
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.fitting import Fitting
from activities.providers.shared.keys import Key
from activities.providers.shared.model_list import read_models
from activities.providers.shared.reading import Answer, deltas_of
from activities.providers.shared.upstream import open_stream
from open_responses.config import ProviderConfig
from open_responses.contracts import ListedModel, Resume, SampleCall
from open_responses.deltas import Delta
from open_responses.json_types import JsonObject
from open_responses.models.vendor_limits import LIMITS

# A finish reason may come before the result of a code execution, which takes up to 30 seconds.
_SECONDS_AFTER_END = 60.0


class Gemini:
    """Translates one turn to a streamGenerateContent request and its chunks to deltas."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        """`prefill` only if the configuration has it: the models from 3.6 on reject it, and older ones continue the
        text."""
        return self._config.resume or "none"

    def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        return deltas_of(self._answer(call))

    @asynccontextmanager
    async def _answer(self, call: SampleCall) -> AsyncIterator[Answer[JsonObject]]:
        key = Key.of(call, self._api_key)
        failures = Failures(self._config, key)
        reader = ChunkReader(call, failures)
        fitting = Fitting(call, LIMITS["gemini"])
        async with open_stream(
            self._http,
            self._config,
            _path(call.model),
            body=await built(call, lambda: request_body(fitting.call(), self._config.name)),
            headers=key.as_header("x-goog-api-key"),
            read_error=failures.read_by(error_of),
        ) as response:
            yield Answer(response, chunks(response), reader, fitting, patience=_SECONDS_AFTER_END)

    async def list_models(self) -> list[ListedModel]:
        """Raises the ProviderError family."""
        key = Key(self._api_key, is_own=False)
        return await read_models(
            self._http,
            self._config,
            MODELS_PATH,
            headers=key.as_header("x-goog-api-key"),
            read_error=Failures(self._config, key).read_by(error_of),
            read_page=models_on,
        )


def _path(model: str) -> str:
    """`tunedModels/…` and `models/…` are paths already."""
    name = quote(model if "/" in model else f"models/{model}", safe="/")
    return f"/v1beta/{name}:streamGenerateContent?alt=sse"
