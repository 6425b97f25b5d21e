"""Requests to `/v1/responses`, the wait for the end of a response, and the check of an error body."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.spec import validate_response
from tests.support.stack import until


async def create(client: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "hello", **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    response: dict[str, Any] = answer.json()
    validate_response(response)
    return response


def is_error(answer: httpx.Response, status: int, code: str, param: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    if param is not None:
        assert error["param"] == param


async def ended(client: httpx.AsyncClient, response_id: str) -> dict[str, Any]:
    """The response, once it has ended."""
    response: dict[str, Any] = {}

    async def has_ended() -> bool:
        response.update((await client.get(f"/v1/responses/{response_id}")).json())
        return response["status"] not in ("queued", "in_progress")

    await until(has_ended)
    return response
