"""Conversations that are summarized on the way (`context_management`), with the summary as an item of the output."""

from __future__ import annotations

from typing import Any

import httpx

from open_responses.compaction import ORDER, from_summary, is_due
from open_responses.items import INPUT_ITEMS
from open_responses.json_types import JsonObject
from open_responses.tokens import item_tokens
from tests.stack import Event, Stack, check_whole, collect, events_of
from tests.test_loop import HOSTED, script, types
from tests.test_loop_survival import stream_and
from tests.upstream import Script, Upstream, calls

MANAGED: JsonObject = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
LONG = "filler " * 1200


def in_the_answer(event: Event) -> bool:
    return bool(event["type"] == "response.output_text.delta" and event["delta"].startswith("w5"))


def message(role: str, content: str) -> JsonObject:
    return {"type": "message", "role": role, "content": content}


def test_what_is_read_after_a_compaction() -> None:
    given = [
        message("system", "be kind"),
        message("user", "old"),
        message("assistant", "yes"),
        message("user", "the question"),
        {"type": "compaction", "encrypted_content": "first"},
        message("assistant", "more"),
        {"type": "compaction", "encrypted_content": "second"},
        message("assistant", "since"),
    ]
    read = from_summary(INPUT_ITEMS.validate_python(given), lambda sealed: f"<{sealed}>")
    texts = [item.model_dump()["content"] for item in read]
    assert texts[0] == "be kind"
    assert texts[1].endswith("<second>")
    assert texts[2:] == ["the question", "since"]
    went_on = INPUT_ITEMS.validate_python([*given, message("user", "next")])
    assert [item.model_dump()["content"] for item in from_summary(went_on, str)][2:] == ["since", "next"]


def test_a_long_prompt_alone_is_not_summarized_again_and_again() -> None:
    alone = INPUT_ITEMS.validate_python([message("developer", LONG), message("user", LONG)])
    assert not is_due(alone, 1000, item_tokens)
    grown = INPUT_ITEMS.validate_python([message("user", "hi"), message("assistant", LONG), message("user", "and?")])
    assert is_due(grown, 1000, item_tokens)
    assert not is_due(grown, 2000, item_tokens)


async def test_a_loop_that_grows_is_compacted_and_goes_on(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says(ORDER, Script(words=7))
    answer = Script(words=4)
    script(upstream, "compact me", calls(("a", "get_weather", {"city": LONG})), answer)
    events = await collect(client, {"input": "compact me", "tools": HOSTED, **MANAGED})
    response = check_whole(events, answer.text)
    assert types(response) == ["function_call", "function_call_output", "compaction", "message"]
    compaction = response["output"][2]
    assert set(compaction) == {"type", "id", "encrypted_content"}
    assert "w6" not in compaction["encrypted_content"]
    asked, told = list(upstream.requests)[-2:]
    assert asked["messages"][-1]["content"] == ORDER
    assert not asked.get("tools")
    assert Script(words=7).text in told["messages"][0]["content"]
    assert [m["role"] for m in told["messages"]][1:] == ["user"]
    assert told["messages"][-1]["content"] == "compact me"
    assert response["usage"]["output_tokens"] == 4 + 7

    upstream.says("what now", Script(words=3))
    body: dict[str, Any] = {"model": "fake", "input": "what now", "previous_response_id": response["id"]}
    following = (await client.post("/v1/responses", json=body)).json()
    assert following["status"] == "completed"
    shown = [m["content"] for m in upstream.requests[-1]["messages"]]
    assert Script(words=7).text in shown[0]
    assert shown[1:] == [answer.text, "what now"]

    sent_back = [*response["output"], message("user", "what now")]
    again = await client.post("/v1/responses", json={"model": "fake", "input": sent_back})
    assert again.json()["status"] == "completed", again.text
    forged = {"type": "compaction", "encrypted_content": compaction["encrypted_content"][:-4] + "AAAA"}
    refused = await client.post("/v1/responses", json={"model": "fake", "input": [forged]})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "input[0].encrypted_content"


async def test_a_worker_killed_after_a_compaction_does_not_write_it_twice(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says(ORDER, Script(words=7))
    answer = Script(words=40, gap=0.02)
    script(upstream, "compact and die", calls(("a", "get_weather", {"city": LONG})), answer)

    async def kill() -> None:
        await stack.kill(await stack.busy_worker())

    events = await stream_and(client, "compact and die", kill, once=in_the_answer, **MANAGED)
    response = check_whole(events, answer.text)
    assert types(response).count("compaction") == 1
    assert [event async for event in events_of(client, resume=(response["id"], None))] == events
