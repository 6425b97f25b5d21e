"""OpenAI's Responses API, and other servers of it: `POST /responses` with `stream: true`. A background answer whose
stream broke is read again by `GET /responses/{id}?stream=true`, and one that is no longer needed is cancelled by `POST
/responses/{id}/cancel`.

Source: OpenAI's API reference, Responses.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import quote

import httpx

from activities.providers.openai.error_parsing import error_of, error_of_resumed
from activities.providers.openai.request import request_body
from activities.providers.openai.stream import EventReader, events
from activities.providers.shared.building import built
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.fitting import Fitting
from activities.providers.shared.keys import Key
from activities.providers.shared.openai_models import list_openai_models
from activities.providers.shared.reading import Answer, deltas_of
from activities.providers.shared.upstream import NamedObject, open_stream
from open_responses.config import ProviderConfig
from open_responses.contracts import ListedModel, Resume, SampleCall
from open_responses.deltas import Delta, Finish, Usage
from open_responses.models.vendor_limits import LIMITS

# OpenAI refuses a smaller max_output_tokens.
_LEAST_OUTPUT = 16
# A connection is used again only after the whole answer was read; its end comes right behind the last event.
_DRAIN_SECONDS = 1.0


async def _cut_off() -> AsyncGenerator[Delta, None]:
    yield Finish("length", Usage())


class OpenAIResponses:
    """Translates one turn to a response that is stored nowhere, or to a background response that can be read again."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        """`background` only if the response may be stored, because OpenAI stores background responses."""
        is_background = self._config.resume == "background" and call.request.is_stored
        return "background" if is_background else "none"

    def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest.

        If the rest of the budget is below OpenAI's minimum, the answer ends before the request.
        """
        if call.max_output_tokens is not None and call.max_output_tokens < _LEAST_OUTPUT and not call.resume_token:
            return _cut_off()
        return deltas_of(self._answer(call))

    @asynccontextmanager
    async def _answer(self, call: SampleCall) -> AsyncIterator[Answer[NamedObject]]:
        key = Key.of(call, self._api_key)
        failures = Failures(self._config, key)
        fitting = Fitting(call, LIMITS["openai"])
        reader = EventReader(call, failures, resumes=self.resume_of(call) == "background")
        async with await self._opened(call, fitting, key, failures) as response:
            yield Answer(response, events(response), reader, fitting, patience=_DRAIN_SECONDS)

    async def list_models(self) -> list[ListedModel]:
        """Raises the ProviderError family."""
        return await list_openai_models(self._http, self._config, self._api_key, error_of)

    async def cancel(self, call: SampleCall) -> None:
        """End a background response. Does nothing to one that has ended. Raises the ProviderError family."""
        key = Key.of(call, self._api_key)
        path = f"/responses/{quote(call.resume_token or '', safe='')}/cancel"
        async with open_stream(
            self._http,
            self._config,
            path,
            body=None,
            method="POST",
            headers=key.as_bearer(),
            read_error=Failures(self._config, key).read_by(error_of),
        ) as response:
            await response.aread()

    async def _opened(
        self, call: SampleCall, fitting: Fitting, key: Key, failures: Failures
    ) -> AbstractAsyncContextManager[httpx.Response]:
        if call.resume_token:
            return open_stream(
                self._http,
                self._config,
                f"/responses/{quote(call.resume_token, safe='')}?stream=true",
                body=None,
                headers=key.as_bearer(),
                read_error=failures.read_by(error_of_resumed),
            )
        background = self.resume_of(call) == "background"
        return open_stream(
            self._http,
            self._config,
            "/responses",
            body=await built(call, lambda: request_body(fitting.call(), self._config.name, background=background)),
            headers=key.as_bearer(),
            read_error=failures.read_by(error_of),
        )
