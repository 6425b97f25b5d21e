"""Several responses that belong together: a chain, a WebSocket, a conversation."""

from __future__ import annotations

from typing import Any

from tests.campaigns.answers import Answer
from tests.campaigns.connection import Connection
from tests.campaigns.effects import check_conversation
from tests.campaigns.sessions import Sessions


async def chain(sessions: Sessions, connection: Connection) -> None:
    done: list[Answer] = []
    for _ in range(3):
        before = {"previous_response_id": done[-1].id} if done else {}
        answer = sessions.ask("chain", **before)
        ask = connection.poll if sessions.draw.random() < 0.3 else connection.stream
        answer.body["stream"] = ask == connection.stream
        if not await sessions.settled(connection, [answer], ask(answer)):
            return
        sessions.check_context(answer, done)
        done.append(answer)


async def websocket(sessions: Sessions, connection: Connection) -> None:
    answers = [sessions.ask("WebSocket"), sessions.ask("WebSocket")]
    await sessions.settled(connection, answers, connection.turns(answers))


async def conversation(sessions: Sessions, connection: Connection) -> None:
    """Two turns; the items are looked at behind them, unless an operator has ended one."""
    done: list[Answer] = []
    made: dict[str, Any] = {}
    for _ in range(2):
        answer = sessions.ask("conversation")

        async def turn(answer: Answer = answer) -> None:
            if not made:
                made.update(await connection.request("POST", "/v1/conversations", json={}))
            answer.body["conversation"] = made["id"]
            await connection.stream(answer)
            path = f"/v1/conversations/{made['id']}/items"
            added = [] if answer.was_ended_by_operator else [answer]
            listed = await connection.request("GET", path, params={"order": "asc", "limit": "100"})
            check_conversation(listed["data"], [*done, *added])

        if not await sessions.settled(connection, [answer], turn()):
            return
        sessions.check_context(answer, done)
        done.append(answer)
