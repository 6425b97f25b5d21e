"""Events of the workflow's own into the log: a tool that began or ended, a server's list of tools.

A local activity: its input is not in history, since all of it follows from what is.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson
from temporalio import activity

from open_responses.fold import Fold
from open_responses.io.event_log import Appender, Fenced, LogLost, Writer, fence, item_field
from open_responses.payloads import PUBLISH, PublishInput, PublishResult
from open_responses.trace import count_events

_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class PublishActivity:
    """The activity, with what it works on. Safe to run twice: the log skips what it has."""

    appender: Appender

    @activity.defn(name=PUBLISH)
    async def publish(self, call: PublishInput) -> PublishResult:
        """Append, or say why not. During an outage of Redis it gives up soon: the next writer restores the log."""
        writer = _writer(self.appender, call)
        writer.write([dict(event) for event in call.events])
        writer.record({item_field(index): orjson.dumps(item) for index, item in call.items.items()})
        try:
            await asyncio.wait_for(writer.flush(), _PATIENCE_SECONDS)
        except (LogLost, TimeoutError):
            return PublishResult(outcome="log_lost")
        except Fenced:
            return PublishResult(outcome="fenced")
        return PublishResult(outcome="published")


def _writer(appender: Appender, call: PublishInput) -> Writer:
    """Knows the earlier events only when it was given them."""
    knows = call.output is not None and call.trace is not None
    writer = Writer(
        appender,
        call.response_id,
        fence=fence(call.epoch, 0),
        initial=call.initial,
        base=0 if knows else call.first_sequence,
        fold=Fold(call.output or ()),
    )
    if call.trace is not None:
        assert count_events(call.trace) == call.first_sequence
        writer.recall(call.trace)
    return writer
