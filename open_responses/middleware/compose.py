"""Builds one function from a list of middlewares. The first of the list is outermost.

Each returned value is checked. Without the check, a middleware that forgets its `return` would lose the result of a
tool, and the tool would run again and again.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from open_responses.contracts import Middleware, SampleContext, SampleNext, ToolContext, ToolError, ToolNext, ToolOutput
from open_responses.deltas import Delta
from open_responses.errors import ServerError
from open_responses.tool_use.tool_output import tool_output


def compose_sample(
    middlewares: Sequence[Middleware], last: SampleNext
) -> Callable[[SampleContext], AsyncGenerator[Delta, None]]:
    """Return one function that samples through all middlewares.

    Closing its generator closes those of the middlewares, the outermost first.

    Args:
        middlewares: The middlewares, outermost first.
        last: The function that samples the model.

    Raises:
        ServerError: Raised by the returned function if a middleware returns no stream.
    """

    async def through_all(context: SampleContext) -> AsyncGenerator[Delta, None]:
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

    def sample(context: SampleContext) -> AsyncGenerator[Delta, None]:
        if middlewares:
            return through_all(context)
        stream = last(context)
        return stream if isinstance(stream, AsyncGenerator) else _closing(stream)

    return sample


def compose_tool(middlewares: Sequence[Middleware], last: ToolNext) -> ToolNext:
    """Return one function that calls a tool through all middlewares.

    Args:
        middlewares: The middlewares, outermost first.
        last: The function that runs the tool.

    Raises:
        ServerError: Raised by the returned function if a middleware returns no output.
    """
    wrapped = last
    for middleware in reversed(middlewares):
        if type(middleware).around_tool is Middleware.around_tool:
            continue
        wrapped = _around_tool(middleware, wrapped)
    return wrapped


def _around_sample(middleware: Middleware, call_next: SampleNext) -> SampleNext:
    def sample(context: SampleContext) -> AsyncIterator[Delta]:
        stream: object = middleware.around_sample(context, call_next)
        if isinstance(stream, AsyncIterator):
            return stream
        if inspect.iscoroutine(stream):
            stream.close()
        raise _broken(middleware, "around_sample", stream, "an async generator of deltas")

    return sample


def _kept(call: SampleNext, opened: list[AsyncIterator[Delta]]) -> SampleNext:
    def sample(context: SampleContext) -> AsyncIterator[Delta]:
        # An outer middleware is called before an inner one, even if it is a generator, whose body starts later.
        at = len(opened)
        stream = call(context)
        opened.insert(at, stream)
        return stream

    return sample


async def _closing(stream: AsyncIterator[Delta]) -> AsyncGenerator[Delta, None]:
    try:
        async for delta in stream:
            yield delta
    finally:
        await _close(stream)


async def _close(stream: AsyncIterator[Delta]) -> None:
    """Close the stream, so that its connection closes now and not when the garbage collector finds it."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()


def _around_tool(middleware: Middleware, call_next: ToolNext) -> ToolNext:
    async def call(context: ToolContext) -> ToolOutput:
        return _checked(middleware, await middleware.around_tool(context, call_next))

    return call


def _checked(middleware: Middleware, returned: object) -> ToolOutput:
    if isinstance(returned, str | list):
        try:
            output = tool_output(returned) if returned else returned
        except ToolError as error:
            raise ServerError(f"The middleware {type(middleware).__name__} is broken: {error}") from error
        if isinstance(output, type(returned)):
            return output
    raise _broken(middleware, "around_tool", returned, "text or a list of content parts")


def _broken(middleware: Middleware, method: str, returned: object, wanted: str) -> ServerError:
    return ServerError(
        f"The middleware {type(middleware).__name__} is broken: its {method} returned {type(returned).__name__}, "
        f"not {wanted}."
    )
