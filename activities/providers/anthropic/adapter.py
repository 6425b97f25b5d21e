"""Anthropic's Messages API, and the servers that speak it too (z.ai, llama.cpp, MiniMax …), by `base_url`.

Decisions where a setting of this API has no exact counterpart in Anthropic's:
- A forced tool call takes precedence over thinking, which is off for that turn. A model that can do neither gets a 400.
- `temperature`, `top_p` and `top_k` cause a 400 if the model accepts none of them, or thinks; neutral values are left
  out.
- `reasoning.effort` "none" is 400 on a model that always thinks.
- A model whose thoughts are bound to the preceding conversation drops those that no longer fit, and does not reject the
  request: instructions and tools may change between two responses of a chain, and compaction shortens the context.
- API version 2023-06-01 and not 2026-10-21, which has no sampling settings at all.

Source: platform.claude.com/docs, Messages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import httpx

from activities.providers.anthropic.error_parsing import error_of
from activities.providers.anthropic.model_list import MODELS_PATH, models_on
from activities.providers.anthropic.models import Model
from activities.providers.anthropic.request import native_format, request_body
from activities.providers.anthropic.stream import StreamReader, events
from activities.providers.shared.building import built
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.fitting import Fitting
from activities.providers.shared.keys import Key
from activities.providers.shared.model_list import read_models
from activities.providers.shared.reading import Answer, deltas_of
from activities.providers.shared.tool_choices import is_forced
from activities.providers.shared.upstream import open_stream
from open_responses.config import ProviderConfig
from open_responses.contracts import ListedModel, Resume, SampleCall
from open_responses.deltas import Delta
from open_responses.json_types import JsonObject
from open_responses.models.vendor_limits import LIMITS

API_VERSION = "2023-06-01"


class Anthropic:
    """Translates one turn to a message and its events to deltas."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        """A prefill, unless the model, thinking, a forced tool or a native format excludes one."""
        if self._config.resume is not None:
            return self._config.resume
        model = Model.named(call.model)
        asked = call.request.reasoning
        thinks = asked is not None and asked.effort not in (None, "none")
        free = not thinks and not is_forced(call) and native_format(call, model) is None
        return "prefill" if model.has_prefill and free else "none"

    def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        return deltas_of(self._answer(call))

    @asynccontextmanager
    async def _answer(self, call: SampleCall) -> AsyncIterator[Answer[JsonObject]]:
        key = Key.of(call, self._api_key)
        failures = Failures(self._config, key)
        prefill = self.resume_of(call) == "prefill"
        fitting = Fitting(call, LIMITS["anthropic"])
        body, betas = await built(call, lambda: request_body(fitting.call(), self._config.name, prefill=prefill))
        beta = {"anthropic-beta": ",".join(betas)} if betas else {}
        reader = StreamReader(call, failures)
        async with open_stream(
            self._http,
            self._config,
            "/v1/messages",
            body=body,
            headers={"anthropic-version": API_VERSION, **key.as_header("x-api-key"), **beta},
            read_error=failures.read_by(error_of),
        ) as response:
            yield Answer(response, events(response), reader, fitting)

    async def list_models(self) -> list[ListedModel]:
        """Raises the ProviderError family."""
        key = Key(self._api_key, is_own=False)
        return await read_models(
            self._http,
            self._config,
            MODELS_PATH,
            headers={"anthropic-version": API_VERSION, **key.as_header("x-api-key")},
            read_error=Failures(self._config, key).read_by(error_of),
            read_page=models_on,
        )
