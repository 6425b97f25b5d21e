"""Conversations over HTTP: made, asked in, and read."""

from __future__ import annotations

from typing import Any

import httpx
from temporalio.client import Client

from open_responses.conversations.payloads import ConversationState, Entry, ResponseEnd
from open_responses.conversations.state import Conversation
from open_responses.io.temporal.codec import DATA_CONVERTER
from tests.support.fake_upstream import Upstream
from tests.support.stack import Stack, until

Json = dict[str, Any]


def user(text: str) -> Json:
    return {"role": "user", "content": text}


async def new(client: httpx.AsyncClient, *items: Json, **body: Any) -> str:
    answer = await client.post("/v1/conversations", json={"items": list(items), **body})
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


async def ask(client: httpx.AsyncClient, conversation: str, prompt: Any, **body: Any) -> httpx.Response:
    return await client.post(
        "/v1/responses", json={"model": "fake", "input": prompt, "conversation": conversation, **body}
    )


async def respond(client: httpx.AsyncClient, conversation: str, prompt: Any, **body: Any) -> Json:
    answer = await ask(client, conversation, prompt, **body)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def page_of(client: httpx.AsyncClient, conversation: str, params: dict[str, str]) -> Json:
    """One page of items. It is asked for again while no worker answers: a worker that a test has killed takes a while
    to start."""
    answers: list[httpx.Response] = []

    async def is_answered() -> bool:
        answers.append(await client.get(f"/v1/conversations/{conversation}/items", params=params))
        return answers[-1].status_code != 503

    await until(is_answered, 60)
    assert answers[-1].status_code == 200, answers[-1].text
    page: Json = answers[-1].json()
    return page


async def items_of(client: httpx.AsyncClient, conversation: str) -> list[Json]:
    """All items, oldest first."""
    items: list[Json] = []
    while True:
        after = {"after": items[-1]["id"]} if items else {}
        page = await page_of(client, conversation, {"order": "asc", "limit": "100", **after})
        items += page["data"]
        if not page["has_more"]:
            return items


def texts(items: list[Json]) -> list[str]:
    return ["".join(part.get("text", "") for part in item.get("content", [])) for item in items]


def shown(upstream: Upstream) -> list[str]:
    """What the model was last shown."""
    return [message["content"] for message in upstream.requests[-1]["messages"]]


async def connect(stack: Stack) -> Client:
    return await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)


def conversation(**changes: Any) -> Conversation:
    return Conversation(ConversationState(conversation_id="conv_1", tenant="t", created_at=1, **changes))


def end(response_id: str, *ids: str) -> ResponseEnd:
    return ResponseEnd(
        response_id=response_id,
        entries=[Entry(item={"type": "message", "id": id}, response_id=response_id) for id in ids],
    )
