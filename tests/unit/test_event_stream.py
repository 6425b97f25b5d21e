"""Server-sent events pass to the server in few messages, and past the layers that need the head alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.body_sends import BodySends, body_send, replace_body_send
from api.streaming.batches import Batch, in_batches
from api.streaming.sse import EventStream
from open_responses.io.log.encoding import encode

DELTAS = [encode({"type": "response.output_text.delta", "delta": f"w{number} "}, number) for number in range(4)]
END = encode({"type": "response.completed", "response": {}}, 4)


async def sent_of(
    batches: Sequence[Batch], layer: type[Layer] | None = None, *, keepalive: float = 1000
) -> list[Message]:
    """What the server gets of a stream of these batches."""
    sent: list[Message] = []

    left = iter(batches)

    async def next_batch() -> Batch | None:
        return next(left, None)

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    stream = EventStream(next_batch, keepalive_seconds=keepalive, obfuscate=False)
    app: ASGIApp = stream if layer is None else layer(stream)
    await BodySends(app)({"type": "http"}, receive, send)
    return sent


class Layer:
    """Sees the head, and wraps `send` for that."""

    seen: list[str]

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        type(self).seen = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def seeing(message: Message) -> None:
            self.seen.append(message["type"])
            await send(message)

        self.wrap(scope, seeing)
        await self._app(scope, receive, seeing)

    def wrap(self, scope: Scope, seeing: Send) -> None: ...


class LayerOverAll(Layer):
    def wrap(self, scope: Scope, seeing: Send) -> None:
        replace_body_send(scope, seeing)


def frames(events: Sequence[bytes]) -> bytes:
    return b"".join(b"event: " + event.split(b'"')[3] + b"\ndata: " + event + b"\n\n" for event in events)


async def test_events_that_come_together_are_one_piece_and_the_end_is_part_of_the_last() -> None:
    head, *bodies = await sent_of([DELTAS[:3], [], DELTAS[3:], [END]])
    assert head["type"] == "http.response.start"
    assert [(body["body"], body["more_body"]) for body in bodies] == [
        (frames(DELTAS[:3]), True),
        (frames(DELTAS[3:]), True),
        (frames([END]) + b"data: [DONE]\n\n", False),
    ]


async def test_silence_is_broken_by_a_keepalive() -> None:
    _, *bodies = await sent_of([[], DELTAS[:1], [], [END]], keepalive=0)
    assert [body["body"] for body in bodies][:3] == [b": keep-alive\n\n", frames(DELTAS[:1]), b": keep-alive\n\n"]


async def test_a_layer_sees_the_head_alone_unless_it_asks_for_more() -> None:
    batches = [DELTAS[:1], DELTAS[1:], [END]]
    sent = [message["type"] for message in await sent_of(batches, Layer)]
    assert sent == ["http.response.start", *3 * ["http.response.body"]]
    assert Layer.seen == ["http.response.start"]
    assert [message["type"] for message in await sent_of(batches, LayerOverAll)] == sent
    assert LayerOverAll.seen == sent


async def test_an_application_behind_another_server_sends_as_it_was_asked_to() -> None:
    async def send(message: Message) -> None: ...

    assert body_send({"type": "http"}, send) is send


def test_batches_are_bounded_and_in_order() -> None:
    events = [b"x" * size for size in (30_000, 30_000, 30_000, 200_000, 1)]
    assert [[len(event) for event in batch] for batch in in_batches(events)] == [
        [30_000, 30_000],
        [30_000],
        [200_000],
        [1],
    ]
    assert list(in_batches([])) == []
