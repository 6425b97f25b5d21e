"""How a client of a campaign sends requests and comes back: over HTTP, SSE and a WebSocket.

It does what docs/clients.md asks of a client and no more: a request is repeated under its Idempotency-Key, a 503 or 429
is repeated later, a stream is taken up behind its last event, and one that was lost is read from its beginning.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tests.campaigns.answers import Answer, Misfit, Verdict
from tests.support.spec import SPEC_PATH, validate_event

# Keep-alives come each second: a stream without them is cut off.
_READ_SECONDS = 15.0
_AGAIN_SECONDS = 0.3
_RUNNING = ("queued", "in_progress")
# Validation against the schema costs more than all else of a client: of its events, each tenth is checked.
_VALIDATE_EACH = 10


class Connection:
    """The requests of one client."""

    def __init__(self, http: httpx.AsyncClient, api_url: str) -> None:
        self._http = http
        self._socket_url = f"ws{api_url.removeprefix('http')}/v1/responses"
        self._taken = 0

    async def stream(self, answer: Answer) -> None:
        """Follow a streamed response to its end, whatever breaks."""
        key = {"Idempotency-Key": uuid4().hex} if answer.is_stored else {}
        while not answer.is_over:
            answer.connections += 1
            try:
                await self._read(answer, key)
            except httpx.TransportError:
                await asyncio.sleep(_AGAIN_SECONDS)
            if not answer.is_over and not answer.is_stored:
                # It was cancelled with its connection, and nobody can fetch it.
                answer.begin_again()
        answer.response = answer.events[-1]["response"]

    async def poll(self, answer: Answer) -> None:
        """Begin a background response, and ask for it until it has ended."""
        answer.body["background"] = True
        key = {"Idempotency-Key": uuid4().hex}
        response = await self.request("POST", "/v1/responses", answer=answer, json=answer.body, headers=key)
        answer.id = response["id"]
        while response["status"] in _RUNNING:
            await asyncio.sleep(_AGAIN_SECONDS)
            response = await self.request("GET", f"/v1/responses/{answer.id}", answer=answer)
        answer.response = response

    async def plain(self, answer: Answer) -> None:
        """Ask for JSON, and wait for it."""
        key = {"Idempotency-Key": uuid4().hex}
        response = await self.request("POST", "/v1/responses", answer=answer, json=answer.body, headers=key)
        answer.id, answer.response = response["id"], response

    async def request(self, method: str, path: str, *, answer: Answer | None = None, **options: Any) -> Any:
        """The JSON of an answer, repeated until there is one. Raises Misfit for a refusal."""
        return (await self.fetch(method, path, answer=answer, **options)).json()

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        answer: Answer | None = None,
        accepts: Callable[[httpx.Response], bool] = lambda response: response.status_code == 200,
        **options: Any,
    ) -> httpx.Response:
        """An answer that is accepted, repeated until there is one. Raises Misfit for a refusal."""
        while True:
            if answer is not None:
                answer.connections += 1
            try:
                response = await self._http.request(method, path, timeout=60, **options)
            except httpx.TransportError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if accepts(response):
                return response
            check_refusal(response.status_code, response.headers, response.text)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def once(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """One try at a request that must not be repeated as it is. None where it has no answer, or is refused for now.

        Raises Misfit for any other refusal.
        """
        try:
            response = await self._http.request(method, path, timeout=60, **options)
            if response.status_code == 200:
                return response
            check_refusal(response.status_code, response.headers, response.text)
        except httpx.TransportError:
            pass
        await asyncio.sleep(_AGAIN_SECONDS)
        return None

    async def end_of(self, response_id: str) -> dict[str, Any] | None:
        """A response once it has ended; None if it is unknown."""
        while True:
            found = await self.fetch(
                "GET", f"/v1/responses/{response_id}", accepts=lambda answer: answer.status_code in (200, 404)
            )
            if found.status_code == 404:
                return None
            response: dict[str, Any] = found.json()
            if response["status"] not in _RUNNING:
                return response
            await asyncio.sleep(_AGAIN_SECONDS)

    async def replayed(self, response_id: str) -> list[dict[str, Any]]:
        """All events of a response that has ended."""
        path, params = f"/v1/responses/{response_id}", {"stream": "true"}
        while True:
            try:
                response = await self._http.get(path, params=params, timeout=30)
            except httpx.TransportError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if response.status_code == 200 and response.text.endswith("data: [DONE]\n\n"):
                lines = response.text.splitlines()
                return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
            if response.status_code != 200:
                check_refusal(response.status_code, response.headers, response.text)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _read(self, answer: Answer, headers: dict[str, str]) -> None:
        timeout = httpx.Timeout(_READ_SECONDS)
        if answer.id is None:
            request = self._http.build_request(
                "POST", "/v1/responses", json=answer.body, headers=headers, timeout=timeout
            )
        else:
            params = {"stream": "true"}
            if answer.events:
                params["starting_after"] = str(answer.events[-1]["sequence_number"])
            request = self._http.build_request("GET", f"/v1/responses/{answer.id}", params=params, timeout=timeout)
        response = await self._http.send(request, stream=True)
        try:
            if response.status_code != 200:
                check_refusal(response.status_code, response.headers, (await response.aread()).decode())
                await asyncio.sleep(_AGAIN_SECONDS)
                return
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    self._take(answer, json.loads(line.removeprefix("data: ")))
        finally:
            await response.aclose()

    def _take(self, answer: Answer, event: dict[str, Any]) -> None:
        self._taken += 1
        if self._taken % _VALIDATE_EACH == 0 and SPEC_PATH.is_file():
            validate_event(event)
        if event["type"] == "error" and event["error"].get("code") == "stream_lost":
            answer.told += 1
            answer.begin_again()
            return
        answer.hear(event)

    async def turns(self, answers: list[Answer]) -> None:
        """Turns on one WebSocket, each continuing the one before. What breaks with the socket is followed over HTTP."""
        socket: ClientConnection | None = None
        try:
            for index, answer in enumerate(answers):
                if index:
                    answer.body["previous_response_id"] = answers[index - 1].id
                answer.start_clock()
                while answer.id is None:
                    answer.connections += 1
                    try:
                        socket = socket or await connect(self._socket_url, open_timeout=10, proxy=None)
                        await self._turn(socket, answer)
                    except (WebSocketException, OSError, TimeoutError):
                        socket = None
                        await asyncio.sleep(_AGAIN_SECONDS)
                if not answer.is_over:
                    await self.stream(answer)
                answer.response = answer.events[-1]["response"]
                if answer.response["status"] != "completed":
                    return
        finally:
            if socket is not None:
                await socket.close()

    async def _turn(self, socket: ClientConnection, answer: Answer) -> None:
        body = {name: value for name, value in answer.body.items() if name not in ("stream", "background")}
        await socket.send(json.dumps({"type": "response.create", **body}))
        while not answer.is_over:
            event = json.loads(await asyncio.wait_for(socket.recv(), _READ_SECONDS))
            if "status" not in event:
                answer.hear(event)
                continue
            error = event["error"]
            if error["code"] == "stream_lost":
                answer.told += 1
                answer.begin_again()
                return
            check_refusal(event["status"], error.get("headers") or {}, json.dumps(event))
            await asyncio.sleep(_AGAIN_SECONDS)
            return


def check_refusal(status: int, headers: Any, text: str) -> None:
    """A part is away, and the refusal says when to come back; anything else breaks the promise. Raises Misfit."""
    if status == 404:
        raise Misfit(Verdict.LOST, f"404: {text[:300]}")
    if status not in (409, 429, 503) or "retry-after" not in headers:
        raise Misfit(Verdict.WRONG, f"{status}: {text[:300]}")
