"""Cancels an answer that a provider generates in the background, once no attempt will read it any more.

What this prevents: paying for the rest of a cancelled response's answer, which the provider goes on generating after
the connection is closed. An attempt that hands over to another one (because its worker shuts down, or the log has a
newer writer) must not cancel the answer: the next attempt reads the same answer again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace

import structlog

from open_responses.contracts import CancelsAnswers, Provider, SampleCall
from open_responses.deltas import Delta, Finish, ResumeToken

log = structlog.get_logger(__name__)

_CANCEL_SECONDS = 5.0


class BackgroundAnswer:
    """The answer, or the summary before it, that the provider generates in the background for one attempt. Most
    attempts have none."""

    def __init__(self, response_id: str) -> None:
        self._response_id = response_id
        self._running: tuple[CancelsAnswers, SampleCall] | None = None

    @property
    def is_running(self) -> bool:
        return self._running is not None

    def watched(self, provider: Provider) -> Callable[[SampleCall], AsyncIterator[Delta]]:
        """Return the provider's `sample`, wrapped so that it notes the answer that runs in the background."""
        if not isinstance(provider, CancelsAnswers):
            return provider.sample
        cancels = provider

        def sample(call: SampleCall) -> AsyncIterator[Delta]:
            is_background = provider.resume_of(call) == "background"
            return self._watch(cancels, call, provider.sample(call)) if is_background else provider.sample(call)

        return sample

    async def _watch(
        self, provider: CancelsAnswers, call: SampleCall, deltas: AsyncIterator[Delta]
    ) -> AsyncGenerator[Delta, None]:
        if call.resume_token is not None:
            self._running = (provider, call)
        try:
            async for delta in deltas:
                if isinstance(delta, ResumeToken):
                    self._running = (provider, replace(call, resume_token=delta.token))
                elif isinstance(delta, Finish):
                    self._running = None
                yield delta
        finally:
            close = getattr(deltas, "aclose", None)
            if close is not None:
                await close()

    async def cancel(self) -> None:
        """Cancel the answer that runs, if there is one. Takes some seconds at most, and never raises, because it only
        saves cost."""
        running, self._running = self._running, None
        if running is None:
            return
        provider, call = running
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await provider.cancel(call)
        except Exception as error:  # noqa: BLE001 - an extension's adapter, and nothing depends on it
            log.warning("answer_not_cancelled", response_id=self._response_id, reason=type(error).__name__)
        else:
            log.info("answer_cancelled", response_id=self._response_id)
