"""When an answer in the background is cancelled at its provider, and that this never fails anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from temporalio.activity import ActivityCancellationDetails as Details
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.sampling import background_generation
from activities.sampling.background_generation import BackgroundAnswer
from activities.sampling.sample import is_given_up
from activities.worker.cancellation_registry import Stop
from open_responses.contracts import Resume, SampleCall
from open_responses.deltas import Delta, Finish, ResumeToken, TextDelta, Usage
from open_responses.errors import ProviderUnavailable
from open_responses.io.log.fences import fence, is_of_attempt
from open_responses.loop.payloads.sample import SampleResult
from open_responses.testing.sample_calls import call_of


class InBackground:
    """Answers in two words, and hears cancellations."""

    def __init__(self, *, fails: Exception | None = None, hangs: bool = False) -> None:
        self.cancelled: list[str | None] = []
        self._fails = fails
        self._hangs = hangs

    def resume_of(self, call: SampleCall) -> Resume:
        return "background"

    async def sample(self, call: SampleCall) -> AsyncIterator[Delta]:
        yield ResumeToken(call.resume_token or "token")
        yield TextDelta("one ")
        yield TextDelta("two")
        yield Finish("stop", Usage())

    async def cancel(self, call: SampleCall) -> None:
        self.cancelled.append(call.resume_token)
        if self._hangs:
            await asyncio.sleep(60)
        if self._fails is not None:
            raise self._fails


async def read(answer: BackgroundAnswer, provider: InBackground, deltas: int, token: str | None = None) -> None:
    async with aclosing(answer.watched(provider)(call_of(resume_token=token))) as stream:
        for _ in range(deltas):
            await anext(stream)


async def test_an_answer_that_broke_off_is_cancelled_once_by_its_token() -> None:
    for deltas, token, cancelled in ((1, None, ["token"]), (2, None, ["token"]), (1, "earlier", ["earlier"])):
        provider, answer = InBackground(), BackgroundAnswer("resp_x")
        await read(answer, provider, deltas, token)
        assert answer.is_running
        await answer.cancel()
        await answer.cancel()
        assert provider.cancelled == cancelled


async def test_an_answer_that_ended_is_not_cancelled() -> None:
    provider, answer = InBackground(), BackgroundAnswer("resp_x")
    await read(answer, provider, 4)
    assert not answer.is_running
    await answer.cancel()
    assert provider.cancelled == []


async def test_a_cancellation_that_fails_or_hangs_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_generation, "_CANCEL_SECONDS", 0.05)
    failing = (
        InBackground(fails=ProviderUnavailable("down")),
        InBackground(fails=KeyError("x")),
        InBackground(hangs=True),
    )
    for provider in failing:
        answer = BackgroundAnswer("resp_x")
        await read(answer, provider, 2)
        await asyncio.wait_for(answer.cancel(), 50)
        assert provider.cancelled == ["token"]


REASONS = [
    (Details(cancel_requested=True), True),
    (Details(worker_shutdown=True), False),
    (Details(not_found=True), False),
    (Details(timed_out=True), False),
    (Details(reset=True), False),
]


@pytest.mark.parametrize(("details", "given_up"), REASONS)
async def test_temporal_says_why_an_activity_is_cancelled(details: Details, given_up: bool) -> None:
    environment = ActivityEnvironment()

    async def activity() -> bool:
        turn: asyncio.Task[SampleResult] = asyncio.create_task(asyncio.sleep(60))
        stop: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
        environment.cancel(details)
        try:
            await turn
        except asyncio.CancelledError:
            return is_given_up(turn, stop)
        raise AssertionError("not cancelled")

    assert await environment.run(activity) is given_up


@pytest.mark.parametrize(
    ("raised", "given_up"),
    [(ApplicationError("for good", non_retryable=True), True), (ApplicationError("tried again"), False)],
)
async def test_a_turn_that_fails_for_good_gives_its_answer_up(raised: ApplicationError, given_up: bool) -> None:
    async def fail() -> SampleResult:
        raise raised

    async def activity() -> bool:
        turn = asyncio.create_task(fail())
        await asyncio.wait([turn])
        return is_given_up(turn, asyncio.get_running_loop().create_future())

    assert await ActivityEnvironment().run(activity) is given_up


@pytest.mark.parametrize(("why", "given_up"), [("cancelled", True), ("handed_over", False)])
async def test_a_worker_that_leaves_does_not_give_an_answer_up(why: Stop, given_up: bool) -> None:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[Stop] = loop.create_future()
    stop.set_result(why)

    async def nothing() -> SampleResult:
        return SampleResult(outcome="done")

    turn = loop.create_task(nothing())
    await turn
    assert is_given_up(turn, stop) is given_up


def test_a_fence_tells_whether_a_try_or_the_end_of_the_response_owns_the_log() -> None:
    assert is_of_attempt(fence(3, 1))
    assert is_of_attempt(fence(3, 20))
    assert not is_of_attempt(fence(4, 0)), "the workflow's own events"
    assert not is_of_attempt(2**53 - 1), "a log that was deleted"
