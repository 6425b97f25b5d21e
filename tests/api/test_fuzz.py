"""Whatever is sent, by HTTP or over a WebSocket: no 5xx, no hang, and each refusal in the specification's shape.

Requests are drawn from the served OpenAPI document, then spoiled. The suite's run is short and always the same; `make
fuzz` is long and new each time (`OPEN_RESPONSES_FUZZ_SECONDS`, for each operation).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from api.openapi.document import document
from tests.support.fake_upstream import Upstream
from tests.support.json_values import JUNK, Values, spoiled
from tests.support.openapi_document import operations, problem
from tests.support.stack import Stack, http_client, until
from tests.support.stream_judge import TERMINAL, judge
from tests.support.webhook_receiver import WebhookReceiver

pytestmark = pytest.mark.campaign

SECONDS = float(os.environ.get("OPEN_RESPONSES_FUZZ_SECONDS", "1.5"))
IS_SHORT = "OPEN_RESPONSES_FUZZ_SECONDS" not in os.environ
PATIENCE = 30.0
_STEER_FAILED = "response.steer.failed"
_REQUEST = {"model": "fake", "input": "known"}
_values = Values(document()["components"]["schemas"])
_fuzzed = settings(
    max_examples=120 if IS_SHORT else 100_000,
    deadline=None,
    derandomize=IS_SHORT,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Known:
    """Ids of what is there."""

    response_id: str
    conversation_id: str
    item_id: str
    model: str = "fake"
    file_id: str = "file-" + "0" * 48
    vector_store_id: str = "vs_" + "0" * 48
    batch_id: str = "vsfb_" + "0" * 48
    container_id: str = "cntr_" + "0" * 53
    key_id: str = "key_0123456789abcdef"
    """Of no key: the suite's server has none."""
    webhook_endpoint_id: str = "whe_0123456789abcdef01234567"
    """Of none: an endpoint is of a key."""
    delivery_id: str = "whd_" + "0" * 64
    schedule_id: str = "sched_" + "0" * 48


@pytest_asyncio.fixture(scope="module")
async def known(session_stack: Stack, upstream: Upstream, receiver: WebhookReceiver) -> Known:
    await session_stack.heal()
    async with http_client(session_stack.api_url) as client:
        response = (await client.post("/v1/responses", json={"model": "fake", "input": "known"})).json()
        given_ = {"items": [{"role": "user", "content": "known"}]}
        conversation = (await client.post("/v1/conversations", json=given_)).json()
        items = (await client.get(f"/v1/conversations/{conversation['id']}/items")).json()["data"]
        form: Any = {"data": {"purpose": "user_data"}, "files": {"file": ("a.txt", b"known")}}
        file = (await client.post("/v1/files", **form)).json()["id"]
        store = (await client.post("/v1/vector_stores")).json()["id"]
        batch = await client.post(f"/v1/vector_stores/{store}/file_batches", json={"file_ids": [file]})
        container = await client.post("/v1/containers", json={"name": "known", "file_ids": [file]})
        schedule = await client.post("/v1/schedules", json={"cron": "@yearly", "request": _REQUEST})
        delivery = await _delivery(client, receiver)
    return Known(
        response["id"],
        conversation["id"],
        items[0]["id"],
        file_id=file,
        vector_store_id=store,
        batch_id=batch.json()["id"],
        container_id=container.json()["id"],
        delivery_id=delivery,
        schedule_id=schedule.json()["id"],
    )


async def _delivery(client: httpx.AsyncClient, receiver: WebhookReceiver) -> str:
    """The id of a webhook that was sent."""
    hook = {"url": receiver.url("/fuzz"), "secret": "whsec_" + "A" * 44}
    response = (await client.post("/v1/responses", json={**_REQUEST, "webhook": hook, "background": True})).json()
    found: list[str] = []

    async def is_logged() -> bool:
        listed = await client.get("/v1/webhook_deliveries", params={"response_id": response["id"]})
        found[:] = [one["id"] for one in listed.json()["data"]]
        return bool(found)

    await until(is_logged)
    return found[0]


def tame(body: Any) -> Any:
    """Nothing that calls elsewhere or waits long: each body asks the scripted model, and no server of MCP."""
    if isinstance(body, dict):
        if isinstance(body.get("model"), str) and len(body["model"]) % 4:
            body["model"] = "fake"
        tools = body.get("tools")
        for tool in tools if isinstance(tools, list) else []:
            if isinstance(tool, dict) and isinstance(tool.get("server_url"), str):
                tool["server_url"] = "http://127.0.0.1:9/mcp"
        if isinstance(body.get("webhook"), dict) and isinstance(body["webhook"].get("url"), str):
            body["webhook"]["url"] = "http://127.0.0.1:9/hook"
        if isinstance(body.get("input"), list) and body["input"]:
            # The scripted model takes an answer at the end for its own, half-finished.
            body["input"].append({"role": "user", "content": "hello"})
        # A schedule has a whole request within.
        tame(body.get("request"))
        body.pop("api_key", None)
        if isinstance(body.get("background"), bool):
            body["background"] = False
    return body


def bodies(schema: Any) -> st.SearchStrategy[bytes]:
    made = spoiled(_values.of(schema)).map(tame)
    written = made.map(lambda value: json.dumps(value).encode())
    broken = st.sampled_from([b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe{}", b'{"model": NaN}', b"[" * 5000])
    return st.one_of(written, written, written, written, written, written, broken)


def forms() -> st.SearchStrategy[dict[str, Any]]:
    """Uploads, and bodies that are nearly one."""
    names = st.sampled_from(["purpose", "expires_after[anchor]", "expires_after[seconds]", "file", "", "x"])
    values = st.sampled_from(["user_data", "vision", "created_at", "3600", "-1", "", "9" * 30, "\x00"])
    whole = st.builds(
        lambda fields, content, name: {"data": fields, "files": {"file": (name, content)}, "headers": {}},
        st.dictionaries(names, values, max_size=4),
        st.binary(max_size=200),
        st.sampled_from(["a.txt", "../../a", "\\", "", "n" * 1000]),
    )
    begun = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc'
    broken = st.sampled_from([b"", b"--b--", b"--b\r\n\r\n", begun, b"\xff" * 300, b"--b\r\n" + b"a" * 70_000])
    kinds = st.sampled_from(["multipart/form-data; boundary=b", "multipart/form-data", "text/plain"])
    return st.one_of(
        whole,
        st.builds(lambda content, kind: {"content": content, "headers": {"content-type": kind}}, broken, kinds),
    )


@st.composite
def requests(draw: st.DrawFn, method: str, path: str, known: Known) -> dict[str, Any]:
    told, request = operations()[method, path], {"headers": {"content-type": "application/json"}, "params": []}
    for parameter in told.get("parameters", ()):
        name = parameter["name"]
        if parameter["in"] == "path":
            value = draw(st.sampled_from([getattr(known, name), "x", "resp_" + "0" * 48, "%00", "🜁", "a/b", "." * 300]))
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        elif draw(st.booleans()):
            value = draw(st.one_of(_values.of(parameter["schema"]), JUNK))
            if parameter["in"] == "query":
                text = value if isinstance(value, str) else json.dumps(value)
                request["params"].append((name, text.encode("utf-8", "replace").decode()))
            elif isinstance(value, str) and value.isascii() and value.isprintable():
                request["headers"][name.lower()] = value
    if "multipart/form-data" in told.get("requestBody", {}).get("content", {}):
        request |= draw(forms())
    elif "requestBody" in told:
        request["content"] = draw(bodies(told["requestBody"]["content"]["application/json"]["schema"]))
    return {"method": method, "url": path, **request}


def check(method: str, path: str, answer: httpx.Response) -> None:
    told = operations()[method, path]["responses"]
    assert answer.status_code < 500, f"{answer.status_code}: {answer.text[:500]}"
    assert answer.headers["x-request-id"]
    media = answer.headers["content-type"].partition(";")[0]
    if answer.status_code >= 400:
        assert media == "application/json"
        assert (found := problem({"$ref": "/Error"}, answer.json())) is None, f"{found}: {answer.text[:300]}"
        # A path that an id has changed may be another's, or none.
        assert str(answer.status_code) in told or answer.status_code in (404, 405)
    elif media == "text/event-stream":
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        if events[0]["sequence_number"] == 0:
            judge(events)


class Enough(Exception):
    """Time is up, or something was found."""


def search(values: st.SearchStrategy[Any], work: Callable[[Any], None]) -> None:
    """`work` with one value after the other, for so long. Fails with the first value that it fails with."""
    end = time.monotonic() + SECONDS
    found: list[tuple[Any, Exception]] = []

    def one(value: Any) -> None:
        if found or time.monotonic() > end:
            raise Enough
        try:
            work(value)
        except Exception as error:  # noqa: BLE001 - whatever it is, it was found
            found.append((value, error))
            raise Enough from None

    with contextlib.suppress(Enough):
        _fuzzed(given(values)(one))()
    for value, error in found:
        raise AssertionError(f"with {value!r:.2000}") from error


# Deletion comes last, so that the others find something.
OPERATIONS = sorted(operations(), key=lambda key: (key[0] == "DELETE", key))


@pytest.mark.timeout(int(SECONDS) * 3 + 120)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda value: str(value))
async def test_no_request_is_a_5xx_or_hangs(stack: Stack, known: Known, method: str, path: str) -> None:
    def run() -> None:
        with httpx.Client(base_url=stack.api_url, timeout=PATIENCE, trust_env=False) as client:
            search(requests(method, path, known), lambda request: check(method, path, client.request(**request)))

    await asyncio.to_thread(run)


def messages() -> st.SearchStrategy[str | bytes]:
    create = {"$ref": "#/components/schemas/CreateResponse"}
    turn = spoiled(_values.of(create)).map(tame).map(_as_turn)
    steer = spoiled(_values.of({"$ref": "#/components/schemas/SteerBody"})).map(_as_steer)
    return st.one_of(
        turn,
        turn,
        turn,
        steer,
        st.sampled_from(["", "{", "[]", "null", '{"type": "x"}', '{"type": "response.create"}', b"\x00"]),
    )


def _as_steer(body: Any) -> str:
    """Of no response that runs: each is refused."""
    if isinstance(body, dict):
        body = {"type": "response.steer", "previous_response_id": "resp_" + "0" * 48, **body}
    return json.dumps(body)


def _as_turn(body: Any) -> str:
    if isinstance(body, dict):
        for name in ("stream", "stream_options", "background"):
            if len(json.dumps(body)) % 5:
                body.pop(name, None)
        body.setdefault("type", "response.create")
    return json.dumps(body)


@pytest.mark.timeout(int(SECONDS) * 3 + 120)
async def test_no_message_breaks_a_socket(stack: Stack, known: Known) -> None:
    url = stack.api_url.replace("http", "ws") + "/v1/responses"

    def run() -> None:
        socket = connect(url, close_timeout=5)

        def one(message: str | bytes) -> None:
            nonlocal socket
            try:
                socket.send(message)
                events = [json.loads(socket.recv(timeout=PATIENCE))]
                while events[-1]["type"] not in (*TERMINAL, "error", _STEER_FAILED) or (
                    events[-1]["type"] == "error" and "sequence_number" in events[-1]
                ):
                    events.append(json.loads(socket.recv(timeout=PATIENCE)))
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd is not None else 1006
                if code in (1006, 1011):
                    raise
                socket = connect(url, close_timeout=5)
                return
            if events[-1]["type"] == _STEER_FAILED:
                assert events[-1]["error"]["code"], events[-1]
            elif events[-1]["type"] == "error":
                assert events[-1]["status"] < 500, events[-1]
                assert events[-1]["error"].keys() >= {"code", "message", "param"}
            else:
                judge(events)

        try:
            search(messages(), one)
        finally:
            socket.close()

    await asyncio.to_thread(run)
