"""Middlewares around what they wrap: the first of the list is outermost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from open_responses.contracts import Middleware, SampleContext, SampleNext, ToolContext, ToolNext, ToolOutput
from open_responses.deltas import Delta


def compose_sample(middlewares: Sequence[Middleware], last: SampleNext) -> SampleNext:
    """One function that samples through them all."""
    wrapped = last
    for middleware in reversed(middlewares):
        wrapped = _around_sample(middleware, wrapped)
    return wrapped


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


def _around_tool(middleware: Middleware, call_next: ToolNext) -> ToolNext:
    async def call(context: ToolContext) -> ToolOutput:
        return await middleware.around_tool(context, call_next)

    return call
