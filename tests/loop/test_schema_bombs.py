"""A schema that keeps a validator busy fails its own response, and stops neither the worker nor another tenant."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream
from tests.support.schema_bombs import ENDLESS, SLOW, endless_answer, exploding, slow_answer
from tests.support.stack import Event, Stack, until

pytestmark = pytest.mark.campaign


def form(schema: dict[str, Any]) -> dict[str, Any]:
    return {"format": {"type": "json_schema", "name": "f", "schema": schema}}


def check_refused(answer: httpx.Response, param: str) -> None:
    assert answer.status_code == 400, answer.text
    assert (answer.json()["error"]["code"], answer.json()["error"]["param"]) == ("invalid_value", param)


async def test_a_schema_that_explodes_is_refused_before_anything_starts(client: httpx.AsyncClient) -> None:
    body = {"model": "fake", "input": "x", "text": form(exploding())}
    for path in ("/v1/responses", "/v1/responses/input_tokens"):
        check_refused(await client.post(path, json=body), "text.format.schema")
    tool = {"type": "function", "name": "f", "parameters": exploding()}
    body = {"model": "fake", "input": "x", "tools": [{"type": "function", "name": "g"}, tool]}
    check_refused(await client.post("/v1/responses", json=body), "tools[1].parameters")


async def test_a_check_that_does_not_end_fails_its_response_and_no_other(stack: Stack, upstream: Upstream) -> None:
    upstream.says("an endless check", Script(literal=endless_answer()))
    upstream.says("a slow check", Script(literal=slow_answer()))
    upstream.says("a small check", Script(literal='{"a":"b"}'))
    pids = {name: process.pid for name, process in stack.processes.items()}
    async with keyed_api(stack, key_block("bomber", "bomber-key"), key_block("other", "other-key")) as api:

        async def ask(key: str, prompt: str, schema: dict[str, Any], **more: Any) -> dict[str, Any]:
            body = {"model": "fake", "input": prompt, "text": form(schema), **more}
            answer = await api.post("/v1/responses", json=body, headers=bearer(key))
            assert answer.status_code == 200, answer.text
            response: dict[str, Any] = answer.json()
            return response

        bombs = [
            asyncio.create_task(ask("bomber-key", "a slow check", SLOW)),
            asyncio.create_task(ask("bomber-key", "an endless check", ENDLESS)),
        ]
        small = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^b$"}}, "required": ["a"]}
        rounds = 0
        while not all(task.done() for task in bombs):
            assert (await ask("other-key", "a small check", small))["status"] == "completed"
            rounds += 1
        assert rounds > 1, "the other tenant was served while the checks ran"
        for failed in await asyncio.gather(*bombs):
            assert (failed["status"], failed["error"]["code"]) == ("failed", "schema_too_complex")
            replayed = await api.get(
                f"/v1/responses/{failed['id']}", params={"stream": "true"}, headers=bearer("bomber-key")
            )
            assert replayed.text.count("event: response.failed") == 1
            assert "response.completed" not in replayed.text
    assert {name: process.pid for name, process in stack.processes.items()} == pids
    assert all(process.poll() is None for process in stack.processes.values())


async def test_a_response_is_cancelled_while_its_answer_is_checked(stack: Stack, upstream: Upstream) -> None:
    upstream.says("cancel a check", Script(literal=slow_answer()))
    async with keyed_api(stack, key_block("bomber", "bomber-key")) as api:
        api.headers.update(bearer("bomber-key"))
        body = {"model": "fake", "input": "cancel a check", "text": form(SLOW), "background": True, "stream": True}
        events: list[Event] = []
        async with api.stream("POST", "/v1/responses", json=body) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    events.append(httpx.Response(200, text=line.removeprefix("data: ")).json())
                if "aaaa" in line and "delta" in line:
                    break
        response_id = events[0]["response"]["id"]
        cancelled = await api.post(f"/v1/responses/{response_id}/cancel")
        assert cancelled.status_code == 200

        async def is_cancelled() -> bool:
            return bool((await api.get(f"/v1/responses/{response_id}")).json()["status"] == "cancelled")

        await until(is_cancelled, 30)
