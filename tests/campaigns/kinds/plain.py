"""One response each, asked for in different ways."""

from __future__ import annotations

from tests.campaigns.connection import Connection
from tests.campaigns.sessions import Sessions

# A payload larger than 128 KiB goes to the folder that a full disk makes unwritable.
_LARGE_BYTES = 200_000


async def stream(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("stream")
    await sessions.settled(connection, [answer], connection.stream(answer))


async def background_stream(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("background stream", background=True)
    await sessions.settled(connection, [answer], connection.stream(answer))


async def background_poll(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("background poll", stream=False)
    await sessions.settled(connection, [answer], connection.poll(answer))


async def plain_json(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("plain JSON", stream=False)
    await sessions.settled(connection, [answer], connection.plain(answer))


async def not_stored(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("not stored", store=False)
    await sessions.settled(connection, [answer], connection.stream(answer))


async def large_input(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("large input", store=sessions.draw.random() < 0.5)
    # Bytes that compress to half; a prompt of its own behind them.
    filler = sessions.draw.randbytes(_LARGE_BYTES).hex()
    answer.body["input"] = [{"type": "message", "role": "user", "content": text} for text in (filler, answer.prompt)]
    await sessions.settled(connection, [answer], connection.stream(answer))
