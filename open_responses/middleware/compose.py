"""Middlewares around what they wrap: the first of the list is outermost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from open_responses.contracts import Middleware, SampleContext, SampleNext, ToolContext, ToolNext, ToolOutput
from open_responses.deltas import Delta


def compose_sample(
    middlewares: Sequence[Middleware], last: SampleNext
) -> Callable[[SampleContext], AsyncGenerator[Delta, None]]:
    """One function that samples through them all. Closing its generator closes all of theirs, the outermost first."""

    async def sample(context: SampleContext) -> AsyncGenerator[Delta, None]:
        opened: list[AsyncIterator[Delta]] = []
        wrapped = _kept(last, opened)
        for middleware in reversed(middlewares):
            wrapped = _kept(_around_sample(middleware, wrapped), opened)
        try:
            async for delta in wrapped(context):
                yield delta
        finally:
            for stream in opened:
                await _close(stream)

    return sample


def compose_tool(middlewares: Sequence[Middleware], last: ToolNext) -> ToolNext:
    """One function that calls a tool through them all."""
    wrapped = last
    for middleware in reversed(middlewares):
        wrapped = _around_tool(middleware, wrapped)
    return wrapped


def _around_sample(middleware: Middleware, call_next: SampleNext) -> SampleNext:
    def sample(context: SampleContext) -> AsyncIterator[Delta]:
        return middleware.around_sample(context, call_next)

    return sample


def _kept(call: SampleNext, opened: list[AsyncIterator[Delta]]) -> SampleNext:
    def sample(context: SampleContext) -> AsyncIterator[Delta]:
        # Called from outside in, each before the next: also if the outer one is a generator, which begins later.
        at = len(opened)
        stream = call(context)
        opened.insert(at, stream)
        return stream

    return sample


async def _close(stream: AsyncIterator[Delta]) -> None:
    """What it holds open, a connection perhaps, is closed now, not when it is collected."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


def _around_tool(middleware: Middleware, call_next: ToolNext) -> ToolNext:
    async def call(context: ToolContext) -> ToolOutput:
        return await middleware.around_tool(context, call_next)

    return call
