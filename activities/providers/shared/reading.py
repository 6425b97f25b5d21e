"""Reads one answer to its end: the loop that all adapters share.

What this prevents: an answer that is sampled again although all of it was read. Some servers send why an answer ends,
and then close without their last event, break the connection, or leave it open. Once the end is known, none of these is
a failure.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import httpx

from activities.providers.shared.answer_guard import body_of
from activities.providers.shared.fitting import Fitting
from activities.providers.shared.sound_deltas import are_plain, sound
from activities.providers.shared.unread_events import UnreadEvents
from open_responses.deltas import Delta, ReasoningSeal, ResumeToken
from open_responses.errors import ProviderAnswerRefused, ProviderStreamBroken

# How long to wait for what may follow the end: the usage, mostly.
_SECONDS_AFTER_END = 10.0

# What Python raises where a text is a number, a list an object, or a needed member is missing.
_ODD = (TypeError, AttributeError, KeyError, IndexError)

EventT = TypeVar("EventT")
EventIn = TypeVar("EventIn", contravariant=True)


class Reader(Protocol[EventIn]):
    """Turns a vendor's events into deltas.

    `knows_end` is True once an event has said that, or why, the answer ends; `is_over`, once it was the vendor's last,
    which says that the answer ends as well.
    `left_out` counts blocks, parts and items of kinds that the adapter does not know.
    """

    @property
    def left_out(self) -> int: ...

    @property
    def knows_end(self) -> bool: ...

    @property
    def is_over(self) -> bool: ...

    def read(self, event: EventIn) -> list[Delta]: ...

    def finish(self) -> list[Delta]: ...


@dataclass(frozen=True, slots=True)
class Answer(Generic[EventT]):
    """An answer whose head has arrived.

    Attributes:
        response: The answer.
        events: Its events; those that arrive together come together.
        reader: Makes deltas of events.
        fitting: Restores the names that it has changed.
        patience: The seconds that the answer's end may precede that of its stream.
    """

    response: httpx.Response
    events: AsyncGenerator[list[EventT], None]
    reader: Reader[EventT]
    fitting: Fitting
    patience: float = _SECONDS_AFTER_END


async def deltas_of(opened: AbstractAsyncContextManager[Answer[Any]]) -> AsyncGenerator[Delta, None]:
    """Open an answer, and yield its deltas, with the names restored that `Answer.fitting` has changed.

    The call's `on_unread` gets the shapes of events that were left out, because a member has another type than
    the vendor documents or the adapter does not know the kind of their content, or those of all if the whole stream has
    no content. Raises what the events stand for, and what `open_stream` maps of the connection.
    """
    unread, odd, has_content, left_out = UnreadEvents(), UnreadEvents(), False, 0
    async with opened as answer, contextlib.aclosing(answer.events) as events:
        reader, fitting, body = answer.reader, answer.fitting, body_of(answer.response)
        end = _End(reader, answer.patience)
        while True:
            found = await (anext(events, None) if end.deadline is None else _next(events, end.deadline))
            if found is None:
                break
            for event in found:
                try:
                    deltas = reader.read(event)
                    is_plain = are_plain(deltas)
                    if not is_plain:
                        deltas = sound(deltas)
                except _ODD:
                    # One member of another type than documented takes nothing but its own event away.
                    deltas, is_plain = [], True
                    odd.keep(event)
                if reader.left_out != left_out:
                    odd.keep(event)
                    left_out = reader.left_out
                is_content = False
                if deltas:
                    body.since_content = 0
                    is_content = is_plain or any(map(_is_content, deltas))
                    has_content = has_content or is_content
                else:
                    unread.keep(event)
                if end.deadline is not None or reader.knows_end:
                    end.event_read(has_content=has_content, is_content=is_content)
                for delta in deltas if is_plain else fitting.restored(deltas):
                    yield delta
        if odd or not has_content:
            fitting.given.on_unread((odd or unread).shapes())
        for delta in fitting.restored(reader.finish()):
            yield delta


def _is_content(delta: Delta) -> bool:
    return type(delta) not in (ResumeToken, ReasoningSeal)


class _End:
    """Whether the end of an answer is known, and until when to wait for what may follow.

    A reason before any content is none, and neither is one that content follows: some gateways stamp `stop` on each
    chunk, or on those of the reasoning. Then only the stream's own end counts, so that no half answer passes as whole.

    Sources: router-for-me/CLIProxyAPI#5651, MartialBE/one-hub#402.
    """

    def __init__(self, reader: Reader[Any], patience: float) -> None:
        self.deadline: float | None = None
        self._reader = reader
        self._patience = patience
        self._is_misleading = False

    def event_read(self, *, has_content: bool, is_content: bool) -> None:
        if self.deadline is not None and is_content:
            self._is_misleading = True
        has_reason = self._reader.knows_end and has_content and not self._is_misleading
        if not has_reason and not self._reader.is_over:
            self.deadline = None
        elif self.deadline is None:
            self.deadline = asyncio.get_running_loop().time() + self._patience


async def _next(events: AsyncGenerator[EventT, None], until: float) -> EventT | None:
    """What follows the end of the answer; None behind the last event, and for all that goes wrong."""
    # ValueError and RecursionError: what follows is not JSON.
    unread = (TimeoutError, httpx.TransportError, ValueError, RecursionError, ProviderStreamBroken)
    with contextlib.suppress(*unread, ProviderAnswerRefused):
        async with asyncio.timeout_at(until):
            return await anext(events, None)
    return None
