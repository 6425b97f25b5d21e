"""Any server of OpenAI's Chat Completions API: vLLM, SGLang, llama.cpp, Groq, Together, DeepSeek, Mistral, LM Studio,
OpenRouter, xAI, z.ai, and OpenAI itself: `POST /chat/completions` with `stream: true`.

`dialects.py` has the differences of other servers in requests, and `stream.py` those in answers.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx

from activities.providers.openai_chat.dialects import dialect_of
from activities.providers.openai_chat.error_parsing import error_of
from activities.providers.openai_chat.request import request_body
from activities.providers.openai_chat.stream import ChunkReader, chunks
from activities.providers.shared.building import built
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.fitting import Fitting
from activities.providers.shared.keys import Key
from activities.providers.shared.openai_models import list_openai_models
from activities.providers.shared.prefill import takes_prefill
from activities.providers.shared.reading import Answer, deltas_of
from activities.providers.shared.upstream import NamedObject, open_stream
from open_responses.config import ProviderConfig
from open_responses.contracts import ListedModel, Resume, SampleCall
from open_responses.deltas import Delta
from open_responses.models.vendor_limits import LIMITS, MISTRAL


class OpenAIChat:
    """Translates one turn to a chat completion and its chunks to deltas."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key
        self._dialect = dialect_of(config.base_url)
        self._resume = config.resume or self._dialect.resume
        self._limits = LIMITS[MISTRAL if self._dialect.mistral else "openai-chat"]

    def resume_of(self, call: SampleCall) -> Resume:
        return self._resume if takes_prefill(call) else "none"

    def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        return deltas_of(self._answer(call))

    @asynccontextmanager
    async def _answer(self, call: SampleCall) -> AsyncIterator[Answer[NamedObject]]:
        key = Key.of(call, self._api_key)
        failures = Failures(self._config, key)
        fitting = Fitting(call, self._limits)
        reader = ChunkReader(call, failures, fitting.names)
        async with open_stream(
            self._http,
            self._config,
            "/chat/completions",
            body=await built(
                call, lambda: request_body(fitting.call(), self._config.name, self._dialect, self._resume)
            ),
            headers=key.as_bearer(),
            read_error=failures.read_by(error_of),
        ) as response:
            yield Answer(response, chunks(response), reader, fitting)

    async def list_models(self) -> list[ListedModel]:
        """Raises the ProviderError family."""
        return await list_openai_models(self._http, self._config, self._api_key, error_of)
