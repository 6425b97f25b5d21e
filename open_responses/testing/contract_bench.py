"""The adapter under test, an upstream with prepared answers, and what the checks of the contract ask of both."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar
from unittest import SkipTest

from open_responses.config import ProviderConfig
from open_responses.contracts import Provider, SampleCall
from open_responses.deltas import Delta
from open_responses.errors import InvalidRequest, OpenResponsesError, ProviderError
from open_responses.testing.loopback import Asked, Canned, Loopback
from open_responses.testing.sample_calls import call_of

KEY = "key-of-the-configuration"


@dataclass(frozen=True)
class Finding:
    """A failed check.

    Attributes:
        check: The name of the test method.
        problem: The explanation.
    """

    check: str
    problem: str


class ContractBench:
    """An adapter in front of an upstream of the kit, which gives the answers that you wrote.

    Attributes:
        text: A plain answer, whole, with its text in two pieces or more.
        tool_calls: A call of `get_weather`, of `get_time`, or of both, with arguments.
        reasoning: Reasoning, followed by text.
        error_in_stream: An error within an answer, in the upstream's format.
        models: The upstream's list of two or more models, if your adapter has `list_models`.
        model: The model of each call.
        path: The path of `base_url`.
        settings: Further keys of the provider's configuration (`resume`, `timeout_seconds` …).
        moving: Members of a request that mark a position and move from turn to turn (Anthropic's cache breakpoints).
        patience_seconds: Seconds after which the kit considers the adapter stuck.
    """

    text: ClassVar[Canned]
    tool_calls: ClassVar[Canned | None] = None
    reasoning: ClassVar[Canned | None] = None
    error_in_stream: ClassVar[Canned | None] = None
    models: ClassVar[Canned | None] = None

    model: ClassVar[str] = "model-1"
    path: ClassVar[str] = ""
    settings: ClassVar[dict[str, Any]] = {}
    moving: ClassVar[frozenset[str]] = frozenset()
    patience_seconds: ClassVar[float] = 5.0

    def adapter(self, config: ProviderConfig, api_key: str | None) -> AbstractAsyncContextManager[Provider]:
        """Return a context manager that opens the adapter, and closes its HTTP client.

        Args:
            config: The provider's configuration; `base_url` is the kit's server.
            api_key: The configured API key.
        """
        raise NotImplementedError

    def refusal(self, status: int, message: str) -> Canned:
        """Return the answer with which your upstream rejects a request."""
        body = {"error": {"message": message}}
        return Canned(json.dumps(body).encode(), status=status, headers={"Retry-After": "7"})

    async def run(self) -> list[Finding]:
        """Runs every check; none of them stops the others."""
        findings = []
        for name in (name for name in dir(self) if name.startswith("test_")):
            try:
                await getattr(self, name)()
            except SkipTest:
                continue
            except Exception as error:  # noqa: BLE001 - the kit's border
                problem = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
                findings.append(Finding(name.removeprefix("test_"), problem))
        return findings

    def _config(self, port: int, **more: Any) -> ProviderConfig:
        settings = {"timeout_seconds": self.patience_seconds, **self.settings, **more}
        url = f"http://127.0.0.1:{port}{self.path}"
        return ProviderConfig(name="contract", adapter="contract:Adapter", base_url=url, **settings)

    @asynccontextmanager
    async def _serving(self, *answers: Canned, **more: Any) -> AsyncIterator[tuple[Provider, Loopback]]:
        async with (
            Loopback(*answers) as upstream,
            self.adapter(self._config(upstream.port, **more), KEY) as provider,
        ):
            yield provider, upstream

    def _answers(self) -> list[Canned]:
        return [answer for answer in (self.text, self.tool_calls, self.reasoning) if answer is not None]

    async def _answered(self, answer: Canned, asked: SampleCall | None = None) -> list[Delta]:
        async with self._serving(answer) as (provider, _):
            return await sampled(provider, asked or call_of(model=self.model))

    async def _asked(self, asked: SampleCall) -> Asked:
        """The request that a call becomes."""
        async with self._serving(self.text) as (provider, upstream):
            await sampled(provider, asked)
            return upstream.asked[0]

    async def _failed(self, answer: Canned | None, api_key: str | None = None) -> tuple[OpenResponsesError, int]:
        """(the error, how often the upstream was asked)."""
        silent = {} if answer is not None else {"timeout_seconds": 0.2}
        async with self._serving(*[answer] if answer is not None else [], **silent) as (provider, upstream):
            error = await error_of(provider, call_of(model=self.model, api_key=api_key))
            return error, len(upstream.asked)


def given(answer: Canned | None, name: str) -> Canned:
    """Return an answer of the subclass, or skip the check if the subclass has none.

    Raises:
        SkipTest: `answer` is None.
    """
    if answer is None:
        raise SkipTest(f"no {name!r} is given")
    return answer


async def sampled(provider: Provider, asked: SampleCall) -> list[Delta]:
    """Return all deltas of a sample."""
    return [delta async for delta in provider.sample(asked)]


async def error_of(provider: Provider, asked: SampleCall) -> OpenResponsesError:
    """Return the error with which a sample fails.

    Raises:
        AssertionError: The sample succeeds, or raises an error that the contract does not allow.
    """
    try:
        deltas = await sampled(provider, asked)
    except (ProviderError, InvalidRequest) as error:
        return error
    except Exception as error:
        raise AssertionError(f"what fails is a ProviderError or an InvalidRequest, and not {error!r}") from error
    raise AssertionError(f"this is no answer, and was taken for one: {deltas}")
