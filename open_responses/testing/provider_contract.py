r"""The contract of a provider adapter, as a class of tests for your own adapter.

    class TestMine(ProviderContract):
        text = Canned(b'{"say": "Hello "}\n{"say": "you"}\n{"end": "stop"}\n', "application/x-ndjson")
        tool_calls = Canned(b'{"call": "get_weather", "with": {"city": "Oslo"}}\n{"end": "calls"}\n')

        @asynccontextmanager
        async def adapter(self, config, api_key):
            async with httpx.AsyncClient() as http:
                yield Adapter(config, http, api_key)

pytest runs the methods as they are (with pytest-asyncio in its mode `auto`, or with anyio); without pytest,
`await TestMine().run()` returns the failed checks. You write the answers of your upstream; the kit serves them on a
port of its own, cuts them into pieces, interrupts them, and reads the requests of the adapter.

Leave an answer that does not apply as None, and its checks are skipped. Override a check that your API cannot pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args
from unittest import SkipTest

from open_responses.contracts import ListedModel, ListsModels, Provider, Resume
from open_responses.deltas import Delta, ReasoningDelta, ReasoningSeal, ReasoningSummaryDelta, ResumeToken
from open_responses.errors import (
    InvalidRequest,
    OpenResponsesError,
    ProviderAuthentication,
    ProviderError,
    ProviderRateLimited,
)
from open_responses.models import sealed_reasoning
from open_responses.models.catalog import is_usable, usable
from open_responses.testing.contract_bench import KEY, ContractBench, Finding, error_of, given, sampled
from open_responses.testing.delta_checks import check_stream, fail, items_of, text_of
from open_responses.testing.loopback import Canned, Loopback
from open_responses.testing.prefixes import difference, without
from open_responses.testing.sample_calls import PARTS, WEATHER, call_of, user, with_tools

__all__ = ["Canned", "Finding", "ProviderContract", "call_of"]

_OWN_KEY = "key-of-the-request"
_CUTS = 24
_STATUSES = (400, 401, 403, 404, 429, 500, 503)


class ProviderContract(ContractBench):
    """The tests of an adapter. Subclass it with `adapter` and the answers of your upstream (`ContractBench`)."""

    # --- the answer

    async def test_a_plain_answer_is_text_and_one_finish(self) -> None:
        deltas = await self._answered(self.text)
        finish = check_stream(deltas)
        if finish.reason != "stop":
            fail(f"an answer that came to its end is a `stop`, not a {finish.reason!r}")
        if sum(bool(text_of([delta])) for delta in deltas) < 2:
            fail("text is passed on as it comes; this came in one piece (does `text` have two?)")

    async def test_calls_have_names_ids_and_arguments(self) -> None:
        deltas = await self._answered(given(self.tool_calls, "tool_calls"), with_tools(self.model))
        finish = check_stream(deltas)
        called = [item for item in items_of(deltas) if item["type"] == "function_call"]
        if not called or finish.reason != "tool_calls":
            fail(f"calls end in `tool_calls`: here are {len(called)} calls, and a {finish.reason!r}")
        for item in called:
            if not isinstance(json.loads(item["arguments"]), dict):
                fail(f"the arguments of a call are a JSON object: {item['arguments']!r}")

    async def test_reasoning_is_an_item_that_only_its_maker_reads_again(self) -> None:
        deltas = await self._answered(given(self.reasoning, "reasoning"))
        check_stream(deltas)
        if not any(isinstance(delta, ReasoningDelta | ReasoningSummaryDelta | ReasoningSeal) for delta in deltas):
            fail("the answer to `reasoning` has no reasoning in it")
        for delta in deltas:
            if isinstance(delta, ReasoningSeal) and not _is_ours(delta.data):
                fail("a seal is marked with the provider's name: `sealed_reasoning.mark(config.name, …)`")
        again = [*user("What is it?"), *items_of(deltas), *user("And now?")]
        await self._asked(call_of(again, model=self.model))

    async def test_an_answer_cut_at_every_byte_is_the_same(self) -> None:
        for answer in self._answers():
            whole = await self._answered(answer, with_tools(self.model))
            cut = await self._answered(replace(answer, cut=1), with_tools(self.model))
            if _bare(whole) != _bare(cut):
                fail("the answer is another one when it comes byte by byte")

    async def test_an_answer_that_is_not_whole_is_never_finished(self) -> None:
        whole, body = text_of(await self._answered(self.text)), self.text.body
        ends = sorted({len(body) * part // _CUTS for part in range(_CUTS)})
        async with self._serving(*(replace(self.text, body=body[:end]) for end in ends)) as (provider, _):
            for end in ends:
                deltas: list[Delta] = []
                with contextlib.suppress(ProviderError):
                    deltas = await sampled(provider, call_of(model=self.model))
                if deltas and (check_stream(deltas), text_of(deltas))[1] != whole:
                    fail(f"an answer that ended after {end} of {len(body)} bytes was taken for a whole one")

    async def test_two_answers_at_once_are_not_mixed_up(self) -> None:
        async with self._serving(replace(self.text, cut=1)) as (provider, _):
            both = await asyncio.gather(*(sampled(provider, call_of(model=self.model)) for _ in range(2)))
        if _bare(both[0]) != _bare(both[1]):
            fail("two samples at once give two answers: one adapter serves all responses of a worker")

    async def test_closing_the_stream_closes_the_connection(self) -> None:
        async with self._serving(replace(self.text, body=self.text.body[:-1], holds=True)) as (provider, upstream):
            stream = provider.sample(call_of(model=self.model))
            close = getattr(stream, "aclose", None)
            if close is None:
                fail("sample() is an async generator, which can be closed")
            with _deadline("no delta came while the answer was still under way: it has to be streamed"):
                async with asyncio.timeout(self.patience_seconds):
                    await anext(stream)
            await close()
            with _deadline("the connection was still open after the stream was closed"):
                async with asyncio.timeout(self.patience_seconds):
                    await upstream.hung_up.wait()

    # --- the request

    async def test_nothing_of_the_conversation_is_lost(self) -> None:
        items = [
            {"type": "message", "role": "developer", "content": "word-of-the-developer"},
            *user("word-of-the-user"),
            {"type": "message", "role": "assistant", "content": "word-of-the-model"},
            *user("first-question"),
            {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"city": "Oslo-1"}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "word-of-the-tool"},
            {"type": "message", "role": "system", "content": "word-in-the-middle"},
            *user("last-question"),
        ]
        asked = await self._asked(call_of(items, model=self.model, instructions="the-instructions", tools=[WEATHER]))
        words = ["the-instructions", "first-question", "last-question", "Oslo-1", "get_weather", self.model]
        words += [f"word-of-the-{who}" for who in ("developer", "user", "model", "tool")] + ["word-in-the-middle"]
        missing = [word for word in words if word not in asked.head + asked.text]
        if missing:
            fail(f"this is missing in the request: {', '.join(missing)}")

    async def test_a_part_is_sent_or_refused_by_its_place(self) -> None:
        for sign, part in PARTS:
            given = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "this"}, part]}]
            async with self._serving(self.text) as (provider, upstream):
                try:
                    await sampled(provider, call_of(given, model=self.model))
                except InvalidRequest as error:
                    if upstream.asked or error.param != "input[0].content[1]":
                        fail(f"a part is refused before the call, by its place; this is {error.param!r}: {error}")
                    continue
            if sign not in upstream.asked[0].text:
                fail(f"an {part['type']} is sent or refused, and not left out: {str(part)[:100]}")

    async def test_reasoning_of_another_provider_stays_away(self) -> None:
        seal = sealed_reasoning.mark("another", "secret-of-another")
        thought: dict[str, Any] = {"type": "reasoning", "summary": [], "encrypted_content": seal}
        thought["content"] = [{"type": "reasoning_text", "text": "thought-of-another"}]
        answer = {"type": "message", "role": "assistant", "content": "yes"}
        asked = await self._asked(call_of([*user("one"), thought, answer, *user("two")], model=self.model))
        if any(word in asked.text for word in ("secret-of-another", "thought-of-another", seal)):
            fail("reasoning that another provider sealed is left out (`sealed_reasoning.content_for`)")

    async def test_each_request_begins_as_the_one_before(self) -> None:
        items: list[dict[str, Any]] = user("What is the weather?")
        requests: list[Any] = []
        for turn in range(4):
            called = {"type": "function_call", "call_id": f"call_{turn}", "name": "get_weather", "arguments": "{}"}
            asked = await self._asked(call_of(items, model=self.model, instructions="Be kind.", tools=[WEATHER]))
            requests.append(without(json.loads(asked.body), self.moving))
            items += [called, {"type": "function_call_output", "call_id": f"call_{turn}", "output": f"{turn} C"}]
        for before, after in pairwise(requests):
            changed = difference(before, after)
            if changed is not None:
                fail(f"a turn's request only adds to the one before, or no cache can help; this changed: {changed}")

    async def test_the_requests_own_key_goes_first_and_no_other_with_it(self) -> None:
        asked = await self._asked(call_of(model=self.model))
        own = await self._asked(call_of(model=self.model, api_key=_OWN_KEY))
        if _OWN_KEY not in own.head + own.text or KEY in own.head + own.text:
            fail("a call's `api_key` takes the place of the configured one")
        if KEY not in asked.head + asked.text:
            fail("the configured key is sent where the call has none")

    async def test_half_an_answer_goes_on_as_promised(self) -> None:
        async with self._serving(self.text) as (provider, upstream):
            asked = call_of(model=self.model)
            resume: Any = provider.resume_of(asked)
            if resume not in get_args(Resume):
                fail(f"resume_of answers one of {', '.join(get_args(Resume))}, and not {resume!r}")
            await sampled(provider, call_of(model=self.model, prefix="half-an-answer"))
            begun = await sampled(provider, asked)
            if resume in ("prefill", "continue_final_message") and "half-an-answer" not in upstream.asked[0].text:
                fail(f"resume_of answers {resume!r}, but `prefix` is not in the request")
            if resume == "background" and not isinstance(begun[0], ResumeToken):
                fail("resume_of answers 'background', but the first delta is no ResumeToken")

    # --- failures

    async def test_every_refusal_is_an_error_of_the_tree(self) -> None:
        for status in _STATUSES:
            error, asked = await self._failed(self.refusal(status, "not like that"))
            _check_refusal(status, error)
            if asked != 1:
                fail(f"an adapter does not try again: a {status} was followed by {asked - 1} more requests")

    async def test_a_key_that_the_upstream_repeats_is_in_no_error(self) -> None:
        for status in _STATUSES:
            for key in (None, _OWN_KEY):
                error, _ = await self._failed(self.refusal(status, f"refused: Bearer {key or KEY}"), api_key=key)
                told = (str(error), repr(error), error.message, str(error.__cause__), repr(error.__cause__))
                if (key or KEY) in " ".join(told):
                    fail(f"the key is in the error that a {status} becomes: {error}")

    async def test_a_rate_limit_says_how_long_to_wait(self) -> None:
        error, _ = await self._failed(self.refusal(429, "slow down"))
        if not isinstance(error, ProviderRateLimited) or error.retry_after != 7:
            fail(f"a 429 with `Retry-After: 7` is a ProviderRateLimited with retry_after=7, and not {error!r}")

    async def test_a_stream_that_breaks_can_be_tried_again(self) -> None:
        half = self.text.body[: len(self.text.body) // 2]
        for answer in (replace(self.text, body=half, breaks=True), replace(self.text, body=b"\x00{not what it says")):
            error, _ = await self._failed(answer)
            if not isinstance(error, ProviderError) or not error.retryable:
                fail(
                    f"an answer that breaks off, or is none, is a ProviderError that can be tried again, not {error!r}"
                )

    async def test_an_error_in_the_stream_is_an_error(self) -> None:
        error, _ = await self._failed(given(self.error_in_stream, "error_in_stream"))
        if not isinstance(error, ProviderError):
            fail(f"an error in the stream is a ProviderError, and not {error!r}")

    async def test_silence_ends_in_a_timeout(self) -> None:
        with _deadline("`timeout_seconds` bounds each silence; this one went on"):
            async with asyncio.timeout(self.patience_seconds):
                error, _ = await self._failed(None)
        if not isinstance(error, ProviderError) or not error.retryable:
            fail(f"silence is a ProviderTimeout, and not {error!r}")

    async def test_a_server_that_is_not_there_can_be_tried_again(self) -> None:
        async with Loopback() as gone:
            pass
        async with self.adapter(self._config(gone.port), KEY) as provider:
            error = await error_of(provider, call_of(model=self.model))
        if not isinstance(error, ProviderError) or not error.retryable:
            fail(f"a refused connection is a ProviderUnavailable, and not {error!r}")

    # --- the list of models

    async def test_models_are_listed_by_the_names_that_a_request_has(self) -> None:
        async with self._serving(given(self.models, "models")) as (provider, upstream):
            listed = await _lister(provider).list_models()
        problems = [f"{model!r} is no ListedModel" for model in listed if not isinstance(model, ListedModel)]
        problems += [f"{model.id!r} is no name that a client could send" for model in listed if not is_usable(model)]
        if problems or len({model.id for model in listed}) < 2:
            fail(problems[0] if problems else f"`models` has two or more; these were listed: {listed}")
        if [model for model in listed if model not in usable(listed)]:
            fail("`created` is in Unix seconds, `owned_by` a short text, each None where the upstream does not say")
        if KEY not in upstream.asked[0].head:
            fail("the list is asked for with the configured key")

    async def test_half_a_list_is_no_list(self) -> None:
        whole = given(self.models, "models")
        broken = (replace(whole, body=whole.body[:-2]), replace(whole, breaks=True), Canned(b"<html>", "text/html"))
        for answer in (*broken, *(Canned(text.encode()) for text in ("null", "7", "{}", '{"data": 7, "models": 7}'))):
            async with self._serving(answer) as (provider, _):
                error = await _error_of_list(provider)
            if not isinstance(error, ProviderError):
                fail(f"what cannot be read is a ProviderError, and not {error!r}: {answer.body[:40]!r}")

    async def test_a_refused_list_is_an_error_of_the_tree(self) -> None:
        for status in _STATUSES:
            async with self._serving(self.refusal(status, f"refused: Bearer {KEY}")) as (provider, upstream):
                error = await _error_of_list(provider)
            _check_refusal(status, error)
            if len(upstream.asked) != 1:
                fail(f"an adapter does not try again: a {status} was followed by {len(upstream.asked) - 1} requests")
            if KEY in f"{error} {error!r} {error.__cause__!r}":
                fail(f"the key is in the error that a {status} becomes: {error}")


def _lister(provider: Provider) -> ListsModels:
    if not isinstance(provider, ListsModels):
        raise SkipTest("the adapter has no list_models")
    return provider


async def _error_of_list(provider: Provider) -> OpenResponsesError:
    lister = _lister(provider)
    try:
        listed = await lister.list_models()
    except OpenResponsesError as error:
        return error
    except Exception as error:
        raise AssertionError(f"what fails is a ProviderError, and not {error!r}") from error
    raise AssertionError(f"this is no list of models, and was taken for one: {listed}")


def _check_refusal(status: int, error: OpenResponsesError) -> None:
    if error.retryable != (status in (429, 500, 503)):
        fail(f"a {status} is {'to' if status in (429, 500, 503) else 'not to'} be tried again: {error!r}")
    if status == 401 and not isinstance(error, ProviderAuthentication):
        fail(f"a 401 is a ProviderAuthentication, and not {error!r}")


def _is_ours(data: str) -> bool:
    return sealed_reasoning.content_for("contract", data) is not None


def _bare(deltas: Sequence[Delta]) -> Any:
    return items_of(deltas), deltas[-1]


@contextlib.contextmanager
def _deadline(problem: str) -> Any:
    try:
        yield
    except TimeoutError:
        fail(problem)
