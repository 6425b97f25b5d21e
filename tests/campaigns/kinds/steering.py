"""Messages to a response that runs: each that was accepted is in its output once, and is answered."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any
from uuid import uuid4

import httpx

from tests.campaigns.answers import Answer, Misfit, Verdict, check_words, first_failure, text_in
from tests.campaigns.connection import Connection
from tests.campaigns.kinds.tools import check_counts
from tests.campaigns.sessions import Sessions
from tests.support.fake_upstream import Script

WORDS = 15
_LOOK_SECONDS = 0.05
_TOO_LATE = ("response_ended", "no_turn_left")


async def steering(sessions: Sessions, connection: Connection) -> None:
    """One or two messages, each at a moment of its own."""
    answer = sessions.ask("steering", background=True)
    moments = [sessions.draw.uniform(0.0, 0.8) for _ in range(sessions.draw.randrange(1, 3))]
    texts = [f"steer {answer.tag} {number}!" for number in range(len(moments))]
    answer.more_tags = [f"{answer.tag}-{number}" for number in range(len(texts))]
    for text, tag in zip(texts, answer.more_tags, strict=True):
        sessions.upstream.says(text, Script(tag=tag, words=WORDS, gap=0.01))
    accepted: dict[str, str] = {}
    answer.check = partial(check_steered, answer, texts, accepted)

    async def steer(text: str, seconds: float) -> None:
        while answer.id is None:
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(seconds)
        steer_id = await _accepted(connection, str(answer.id), text)
        if steer_id is not None:
            accepted[steer_id] = text

    async def asking() -> None:
        with first_failure():
            async with asyncio.TaskGroup() as group:
                for text, seconds in zip(texts, moments, strict=True):
                    group.create_task(steer(text, seconds))
                group.create_task(connection.stream(answer))

    await sessions.settled(connection, [answer], asking())


async def _accepted(connection: Connection, response_id: str, text: str) -> str | None:
    """The id of the submission; None where the response has refused it."""
    response = await connection.fetch(
        "POST",
        f"/v1/responses/{response_id}/steer",
        json={"input": text},
        headers={"Idempotency-Key": uuid4().hex},
        accepts=_is_decided,
    )
    return str(response.json()["id"]) if response.status_code == 200 else None


def _is_decided(response: httpx.Response) -> bool:
    is_late = response.status_code == 409 and response.json()["error"]["code"] in _TOO_LATE
    return response.status_code == 200 or is_late


def check_steered(answer: Answer, texts: list[str], accepted: dict[str, str], response: dict[str, Any]) -> None:
    """Each message of the model answers the message of the user in front of it."""
    steered: Counter[str] = Counter()
    asked: str | None = answer.prompt
    first = (answer.tag, answer.script.words)
    for item in response["output"]:
        if item["type"] != "message":
            continue
        if item["role"] == "user":
            asked = "".join(part["text"] for part in item["content"])
            steered[item["steer_id"]] += 1
            if accepted.get(item["steer_id"]) != asked:
                raise Misfit(Verdict.WRONG, f"{item['steer_id']} is in the output with {asked!r}, of {accepted}")
        elif item["status"] == "completed":
            if asked is None:
                raise Misfit(Verdict.DOUBLED, "two answers to one message")
            tag, words = (answer.more_tags[texts.index(asked)], WORDS) if asked in texts else first
            check_words(text_in(item), tag, words)
            asked = None
    check_counts(steered, Counter(dict.fromkeys(accepted, 1)))
    if asked is not None:
        raise Misfit(Verdict.LOST, f"nothing answers {asked!r}")
