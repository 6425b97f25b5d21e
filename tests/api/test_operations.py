"""The lists for operators: which responses there are, by what is known of each, for those who may see them."""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from api.admission.history_reads import HistoryReads
from api.operations.health import _looked_at
from open_responses.errors import ProviderTimeout
from open_responses.io.redis import key_names
from open_responses.io.redis.breaker import Breaker, states_of
from open_responses.io.redis.client import Redis
from open_responses.io.redis.takeovers import Takeover, newest_takeovers, note_takeover
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.json_types import JsonObject
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.operator import HOSTED, console, turns
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until

PRICED = """
[[routes]]
model = "priced-to-list"
provider = "fake"
upstream_model = "fake"
price = { input = 2, output = 8 }
"""

api = api_of_the_module(
    PRICED,
    key_block("lists-a", "a-key"),
    key_block("lists-b", "b-key"),
    key_block("house", "operator-key", 'scopes = ["admin"]'),
)


async def made(api: httpx.AsyncClient, key: str, **body: Any) -> JsonObject:
    answer = await api.post("/v1/responses", json={"model": "fake", "input": "hello", **body}, headers=bearer(key))
    response: JsonObject = answer.json()
    assert answer.status_code == 200, response
    return response


async def listed(api: httpx.AsyncClient, key: str, **query: Any) -> list[JsonObject]:
    answer = await api.get("/v1/responses", params=query, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    entries: list[JsonObject] = answer.json()["data"]
    return entries


async def entry_of(api: httpx.AsyncClient, key: str, response_id: str, status: str) -> JsonObject:
    """The entry of this response, once it has this status: Temporal's index follows in a moment."""
    found: list[JsonObject] = []

    async def is_listed() -> bool:
        entries = await listed(api, key, limit=100)
        found[:] = [one for one in entries if one["id"] == response_id and one["status"] == status]
        return bool(found) and (found[0]["ended_at"] is not None or status == "in_progress")

    await until(is_listed, 30)
    return found[0]


async def test_a_response_is_listed_with_what_it_was_and_how_it_ended(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    conversation = (await api.post("/v1/conversations", json={}, headers=bearer("a-key"))).json()["id"]
    turns(upstream, "listed with a tool", calls(("a", "get_weather", {"city": "Rome"})), Script(words=3))
    response = await made(api, "a-key", input="listed with a tool", tools=HOSTED, conversation=conversation)
    entry = await entry_of(api, "a-key", response["id"], "completed")
    assert abs(entry.pop("created_at") - response["created_at"]) < 60
    assert entry.pop("ended_at") >= response["created_at"]
    url = entry.pop("temporal_url")
    assert url.startswith("http://127.0.0.1:8233/namespaces/default/workflows/" + response["id"])
    assert entry == {
        "id": response["id"],
        "object": "response.summary",
        "status": "completed",
        "model": "fake",
        "provider": "fake",
        "tenant": "lists-a",
        "error_code": None,
        "conversation": conversation,
        "previous_response_id": None,
        "tools": ["get_weather"],
        "input_tokens": response["usage"]["input_tokens"],
        "output_tokens": response["usage"]["output_tokens"],
        "total_tokens": response["usage"]["total_tokens"],
        "cost_usd": None,
        "waiting_for": None,
    }


@pytest.mark.campaign
async def test_a_list_has_the_cost_the_end_and_the_link_of_each_response(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    first = await made(api, "a-key", model="priced-to-list", include=["open_responses.cost"])
    upstream.says("a failure to list", Script(faults=[Fault(status=400)]))
    failed = await made(api, "a-key", input="a failure to list", previous_response_id=first["id"])
    shown = await entry_of(api, "a-key", first["id"], "completed")
    assert shown["cost_usd"] == pytest.approx(first["usage"]["cost_usd"]) != 0
    shown = await entry_of(api, "a-key", failed["id"], "failed")
    assert (shown["error_code"], shown["previous_response_id"]) == (failed["error"]["code"], first["id"])


async def test_a_response_that_an_operator_terminates_is_listed_as_it_ended(
    api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Its search attributes are those from before, and cannot change any more."""
    held = upstream.says("terminated in a list", Script(hold_after=1))
    response = await made(api, "a-key", input="terminated in a list", background=True)
    await asyncio.wait_for(held.held.wait(), 50)
    await (await console(stack)).get_workflow_handle(response["id"]).terminate()
    entry = await entry_of(api, "a-key", response["id"], "failed")
    assert (entry["error_code"], entry["waiting_for"]) == ("run_terminated", None)
    for query, is_there in (
        ({"status": "failed"}, True),
        ({"error_code": "run_terminated"}, True),
        ({"status": "failed", "error_code": "run_terminated"}, True),
        ({"status": "in_progress"}, False),
        ({"error_code": "run_timed_out"}, False),
        ({"error_code": "run_failed"}, False),
    ):
        found = [one["id"] for one in await listed(api, "a-key", limit=100, **query)]
        assert (response["id"] in found) == is_there, query


@pytest.mark.campaign
async def test_each_filter_lists_the_responses_that_it_names(api: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("a failure to filter", Script(faults=[Fault(status=400)]))
    failed = await made(api, "a-key", input="a failure to filter")
    assert failed["status"] == "failed"
    upstream.says("an answer to filter", Script(hold_after=1))
    running = await made(api, "a-key", input="an answer to filter", background=True)
    done = await made(api, "a-key", model="vendor/second")
    for response in (failed, done, running):
        await entry_of(api, "a-key", response["id"], response["status"].replace("queued", "in_progress"))
    created = str(done["created_at"])

    async def ids(**query: Any) -> set[str]:
        return {one["id"] for one in await listed(api, "a-key", limit=100, **query)}

    three = {failed["id"], running["id"], done["id"]}
    for query, wanted in (
        ({"status": "failed"}, {failed["id"]}),
        ({"error_code": failed["error"]["code"]}, {failed["id"]}),
        ({"status": "in_progress"}, {running["id"]}),
        ({"model": "vendor/second"}, {done["id"]}),
        ({"model": "vendor/second", "status": "failed"}, set()),
        ({"provider": "fake", "tenant": "lists-a"}, three),
        ({"waiting": "true"}, set()),
        ({"created_after": "2199-01-01"}, set()),
        ({"created_before": "2020-01-01T00:00:00+02:00"}, set()),
        ({"created_after": str(float(created) - 3600), "created_before": "2199-01-01"}, three),
    ):
        assert await ids(**query) & three == wanted, query
    await api.post(f"/v1/responses/{running['id']}/cancel", headers=bearer("a-key"))
    await entry_of(api, "a-key", running["id"], "cancelled")
    assert running["id"] in await ids(status="cancelled")


@pytest.mark.campaign
async def test_slow_responses_are_listed_whether_they_run_or_have_ended(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("an answer that takes its time", Script(hold_after=1))
    slow = await made(api, "a-key", input="an answer that takes its time", background=True)
    fast = await made(api, "a-key", input="an answer at once")

    async def ids(seconds: int) -> set[str]:
        return {one["id"] for one in await listed(api, "a-key", limit=100, slower_than=seconds)}

    async def is_slow() -> bool:
        return slow["id"] in await ids(2)

    await until(is_slow, 30)
    assert {slow["id"], fast["id"]} <= await ids(0)
    assert slow["id"] not in await ids(3600)
    script.released.set()
    entry = await entry_of(api, "a-key", slow["id"], "completed")
    assert entry["ended_at"] - entry["created_at"] >= 2
    assert slow["id"] in await ids(2)
    for given in ("-1", "1.5", "soon", "9" * 9):
        is_error(
            await api.get("/v1/responses", params={"slower_than": given}, headers=bearer("a-key")), 400, "invalid_value"
        )


async def test_a_call_that_waits_for_a_person_shows_in_the_list(api: httpx.AsyncClient, upstream: Upstream) -> None:
    turns(upstream, "a list that waits", calls(("a", "delete_all", {"what": "a"})), Script(words=2))
    response = await made(api, "a-key", input="a list that waits", tools=HOSTED, background=True)

    async def waits() -> bool:
        return [
            (one["id"], one["status"], one["waiting_for"]) for one in await listed(api, "a-key", waiting="true")
        ] == [(response["id"], "in_progress", "approval")]

    await until(waits, 30)
    assert [one["id"] for one in await listed(api, "a-key", status="awaiting_approval")] == [response["id"]]
    await api.post(f"/v1/responses/{response['id']}/cancel", headers=bearer("a-key"))


async def test_pages_list_each_response_once_newest_first(api: httpx.AsyncClient) -> None:
    made_ids = [(await made(api, "b-key"))["id"] for _ in range(5)]
    await entry_of(api, "b-key", made_ids[-1], "completed")
    pages: list[list[str]] = []
    after: dict[str, str] = {}
    while True:
        page = (await api.get("/v1/responses", params={"limit": 2, **after}, headers=bearer("b-key"))).json()
        pages.append([one["id"] for one in page["data"]])
        assert (page["object"], page["first_id"], page["last_id"]) == ("list", pages[-1][0], pages[-1][-1])
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert [one for page in pages for one in page] == made_ids[::-1]
    assert [len(page) for page in pages] == [2, 2, 1]


async def test_a_tenant_lists_its_own_responses_and_an_operator_every_tenants(api: httpx.AsyncClient) -> None:
    one, other = await made(api, "a-key"), await made(api, "b-key")
    for key, response in (("a-key", one), ("b-key", other), ("operator-key", one), ("operator-key", other)):
        await entry_of(api, key, response["id"], "completed")
    assert {entry["tenant"] for entry in await listed(api, "a-key", limit=100)} == {"lists-a"}
    assert {entry["tenant"] for entry in await listed(api, "operator-key", tenant="lists-b")} == {"lists-b"}
    refused = await api.get("/v1/responses", params={"tenant": "lists-b"}, headers=bearer("a-key"))
    is_error(refused, 403, "permission_denied")
    # Another tenant's response is no place to begin a page at, as one that does not exist.
    is_error(await api.get("/v1/responses", params={"after": other["id"]}, headers=bearer("a-key")), 404, "not_found")
    assert (await api.get("/v1/responses")).status_code == 401


async def test_a_deleted_response_is_not_listed(api: httpx.AsyncClient) -> None:
    response = await made(api, "a-key")
    await entry_of(api, "a-key", response["id"], "completed")
    assert (await api.delete(f"/v1/responses/{response['id']}", headers=bearer("a-key"))).status_code == 200
    # Not within the second for which an answer is kept.
    query = {"limit": 99}
    assert response["id"] not in [one["id"] for one in await listed(api, "a-key", **query)]


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"status": "done"}, "status"),
        ({"status": ""}, "status"),
        ({"waiting": "perhaps"}, "waiting"),
        ({"model": ""}, "model"),
        ({"model": "x" * 301}, "model"),
        ({"model": "'fake"}, "model"),
        ({"model": "a\\' OR WorkflowId != 'x"}, "model"),
        ({"tenant": "a\x00b"}, "tenant"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_before": "9" * 400}, "created_before"),
        ({"created_before": "2026-13-01"}, "created_before"),
        ({"modle": "fake"}, "modle"),
    ],
)
async def test_a_filter_that_means_nothing_is_a_400_that_names_it(
    client: httpx.AsyncClient, query: dict[str, str], param: str
) -> None:
    answer = await client.get("/v1/responses", params=query)
    is_error(answer, 400, "unknown_parameter" if param == "modle" else "invalid_value", param)


async def test_a_malformed_place_to_begin_at_is_a_404(client: httpx.AsyncClient) -> None:
    for after in ("x", "resp_" + "0" * 48, "' OR 1 = 1"):
        is_error(await client.get("/v1/responses", params={"after": after}), 404, "not_found")


# --- what one response did


async def test_the_timeline_shows_turns_tools_and_the_end(api: httpx.AsyncClient, upstream: Upstream) -> None:
    wanted = calls(("a", "get_weather", {"city": "Rome"}), ("b", "fails", {}))
    turns(upstream, "a timeline", wanted, Script(words=3))
    response = await made(api, "a-key", input="a timeline", tools=HOSTED)
    path = f"/v1/responses/{response['id']}/timeline"
    found: JsonObject = {}

    async def has_ended() -> bool:
        # Temporal closes the run a moment after clients have the end.
        found.update((await api.get(path, headers=bearer("a-key"))).json())
        return found["entries"][-1]["kind"] == "finish"

    await until(has_ended, 30)
    assert (found["object"], found["response_id"]) == ("response.timeline", response["id"])
    assert found["temporal_url"].startswith("http://127.0.0.1:8233/namespaces/default/workflows/" + response["id"])
    entries = found["entries"]
    first, last = entries[0], entries[-2]
    assert (first["kind"], first["name"], first["turn"], first["status"]) == ("model_turn", "fake", 1, "completed")
    assert {(one["name"], one["status"]) for one in entries if one["kind"] == "tool"} == {
        ("get_weather", "completed"),
        ("fails", "failed"),
    }
    assert (last["kind"], last["turn"]) == ("model_turn", 2)
    assert first["tokens"] + last["tokens"] == response["usage"]["total_tokens"]
    assert entries[-1]["name"] == "completed"
    assert all(one["ended_at"] >= one["started_at"] for one in entries)
    is_error(await api.get(path, headers=bearer("b-key")), 404, "not_found")
    assert (await api.get(path, headers=bearer("operator-key"))).json()["response_id"] == response["id"]


async def test_the_timeline_of_a_running_response_shows_what_it_does(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("a timeline that goes on", Script(hold_after=1))
    response = await made(api, "a-key", input="a timeline that goes on", background=True)
    await asyncio.wait_for(script.held.wait(), 50)
    answer = await api.get(f"/v1/responses/{response['id']}/timeline", headers=bearer("a-key"))
    assert [(one["kind"], one["status"], one["ended_at"]) for one in answer.json()["entries"]] == [
        ("model_turn", "running", None)
    ]
    await api.post(f"/v1/responses/{response['id']}/cancel", headers=bearer("a-key"))


# --- calls that wait for a person


async def waiting_response(api: httpx.AsyncClient, upstream: Upstream, key: str, *names: str) -> JsonObject:
    """A response with a call of `delete_all` for each name, each of which waits."""
    prompt = f"asks for {key} {names}"
    wanted = calls(*((f"call-{name}", "delete_all", {"what": name}) for name in names))
    turns(upstream, prompt, wanted, Script(words=2))
    return await made(api, key, input=prompt, tools=HOSTED, background=True)


@pytest.mark.campaign
async def test_calls_that_wait_are_listed_until_they_are_answered(api: httpx.AsyncClient, upstream: Upstream) -> None:
    async def pending(key: str, **query: Any) -> list[JsonObject]:
        answer = await api.get("/v1/approvals", params=query, headers=bearer(key))
        assert answer.status_code == 200, answer.text
        entries: list[JsonObject] = answer.json()["data"]
        return entries

    async def are(key: str, *arguments: str, **query: Any) -> None:
        async def listed() -> bool:
            return [one["arguments"] for one in await pending(key, **query)] == list(arguments)

        await until(listed, 30)

    a, b, c = '{"what": "a"}', '{"what": "b"}', '{"what": "c"}'
    first = await waiting_response(api, upstream, "b-key", "a", "b")
    await are("b-key", a, b)
    second = await waiting_response(api, upstream, "b-key", "c")
    await are("b-key", c, a, b)
    entry = (await pending("b-key"))[1]
    assert abs(entry.pop("requested_at") - first["created_at"]) < 60
    assert entry == {
        "id": entry["id"],
        "object": "approval.pending",
        "response_id": first["id"],
        "tenant": "lists-b",
        "tool": "delete_all",
        "arguments": a,
        "server_label": None,
    }
    await are("operator-key", c, a, b, tenant="lists-b")
    assert await pending("operator-key", tenant="lists-a") == []
    is_error(
        await api.get("/v1/approvals", params={"tenant": "lists-b"}, headers=bearer("a-key")), 403, "permission_denied"
    )
    # Pages of one: the approvals of one response are on several.
    after, read = None, []
    while True:
        query = {"limit": 1} | ({} if after is None else {"after": after})
        page = (await api.get("/v1/approvals", params=query, headers=bearer("b-key"))).json()
        read += [one["arguments"] for one in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert read == [c, a, b]
    for where in ("x", "mcpr_" + "0" * 53, "' OR 1 = 1"):
        is_error(await api.get("/v1/approvals", params={"after": where}, headers=bearer("b-key")), 404, "not_found")
    answer = {"approval_request_id": entry["id"], "approve": False}
    answered = await api.post(f"/v1/responses/{first['id']}/approvals", json=answer, headers=bearer("b-key"))
    assert answered.status_code == 200
    await are("b-key", c, b)
    for response in (first, second):
        await api.post(f"/v1/responses/{response['id']}/cancel", headers=bearer("b-key"))
    await are("b-key")


async def test_the_calls_of_a_deleted_response_are_not_listed(
    api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    response = await waiting_response(api, upstream, "a-key", "deleted")

    async def is_listed() -> bool:
        answer = await api.get("/v1/approvals", headers=bearer("a-key"))
        return response["id"] in [one["response_id"] for one in answer.json()["data"]]

    await until(is_listed, 30)
    # As a deletion does that Temporal has not carried out yet.
    marks = ErasureMarks(stack.data / "blobs")
    marks.mark(response["id"], 60)
    try:
        await until_not(is_listed)
    finally:
        marks.mark(response["id"], -60)
    await api.post(f"/v1/responses/{response['id']}/cancel", headers=bearer("a-key"))


async def until_not(condition: Callable[[], Awaitable[bool]]) -> None:
    async def is_not() -> bool:
        return not await condition()

    await until(is_not, 30)


# --- health


@pytest.mark.campaign
async def test_an_operator_sees_what_runs(api: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    upstream.says("keeps a worker busy", Script(hold_after=1))
    response = await made(api, "a-key", input="keeps a worker busy", background=True)
    await made(api, "a-key", model="falls-back")
    health: JsonObject = {}

    async def shows() -> bool:
        health.update((await api.get("/v1/admin/health", headers=bearer("operator-key"))).json())
        return sum(worker["running"] for worker in health["workers"]) >= 1

    await until(shows, 30)
    assert health["object"] == "health"
    for part in ("temporal", "redis"):
        assert (health[part]["ok"], health[part]["detail"]) == (True, None)
        assert health[part]["latency_ms"] >= 0
    leases = {await stack.worker_id("worker-0"), await stack.worker_id("worker-1")}
    assert {worker["id"] for worker in health["workers"]} >= leases
    providers = {provider["name"]: provider for provider in health["providers"]}
    assert providers["fake"] == {
        "name": "fake",
        "adapter": "openai-chat",
        "breaker": "closed",
        "open_until": None,
        "last_error": None,
    }
    assert providers["down"]["last_error"] == "provider_unavailable"
    assert set(health["backlog"]) == {"workflow_tasks", "activity_tasks", "oldest_seconds"}
    assert health["configuration"]["error"] is None
    assert health["configuration"]["loaded_at"] > 1.7e9
    assert isinstance(health["takeovers"], list)
    assert health["restart"]["is_safe"], health["restart"]
    assert "go on elsewhere" in health["restart"]["notes"][-1]
    is_error(await api.get("/v1/admin/health", headers=bearer("a-key")), 403, "permission_denied")
    await api.post(f"/v1/responses/{response['id']}/cancel", headers=bearer("a-key"))


async def test_an_operator_sees_the_refusals_of_each_tenant(api: httpx.AsyncClient, stack: Stack) -> None:
    mark = f"refused-{uuid.uuid4()}"
    for _ in range(3):
        answer = await api.post(
            "/v1/responses",
            json={"model": "no-such-model", "input": "x"},
            headers={**bearer("b-key"), "X-Request-Id": mark},
        )
        is_error(answer, 404, "model_not_found")
    await api.get("/v1/models", headers=bearer("nobody's key"))
    found: dict[tuple[str | None, str, str], JsonObject] = {}

    async def is_counted() -> bool:
        answer = await api.get("/v1/admin/refusals", headers=bearer("operator-key"))
        assert answer.status_code == 200, answer.text
        found.update({(row["tenant"], row["code"], row["path"]): row for row in answer.json()["data"]})
        return {
            ("lists-b", "model_not_found", "/v1/responses"),
            (None, "invalid_api_key", "/v1/models"),
        } <= found.keys()

    await until(is_counted, 30)
    row = found["lists-b", "model_not_found", "/v1/responses"]
    assert (row["object"], row["status"], row["count"], row["last_request_id"]) == ("refusals", 404, 3, mark)
    assert row["last_at"] > 1.7e9
    answer = await api.get(
        "/v1/admin/refusals", params={"tenant": "lists-b", "hours": 2}, headers=bearer("operator-key")
    )
    assert {one["tenant"] for one in answer.json()["data"]} == {"lists-b"}
    is_error(await api.get("/v1/admin/refusals", headers=bearer("a-key")), 403, "permission_denied")
    for query in ({"hours": "0"}, {"hours": "49"}, {"hours": "x"}, {"hour": "1"}):
        answer = await api.get("/v1/admin/refusals", params=query, headers=bearer("operator-key"))
        is_error(answer, 400, "unknown_parameter" if "hour" in query else "invalid_value")


async def test_a_worker_that_died_is_listed_with_the_responses_that_went_on(
    api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("an answer whose worker dies", Script(hold_after=1))
    response = await made(api, "a-key", input="an answer whose worker dies", background=True)
    await asyncio.wait_for(script.held.wait(), 30)
    name = await stack.busy_worker()
    dead = await stack.worker_id(name)
    await stack.kill_seen(name)
    found: list[JsonObject] = []

    async def is_listed() -> bool:
        health = (await api.get("/v1/admin/health", headers=bearer("operator-key"))).json()
        found[:] = [one for one in health["takeovers"] if one["worker"] == dead]
        return bool(found)

    await until(is_listed, 30)
    assert response["id"] in found[0]["responses"]
    assert found[0]["activities"] >= 1
    assert found[0]["by"] != dead
    script.released.set()
    await entry_of(api, "a-key", response["id"], "completed")


async def test_the_list_of_takeovers_does_not_grow(redis: Redis) -> None:
    for number in range(150):
        await note_takeover(redis, Takeover(float(number), "one-of-many", "w", 0, [], None))
    assert len(await newest_takeovers(redis, 1000)) == 100


async def test_a_breaker_shows_as_open_and_then_as_half_open(redis: Redis) -> None:
    breaker, name = Breaker(redis), f"p-{uuid.uuid4()}"
    for _ in range(5):
        await breaker.failed(name, ProviderTimeout("late"))
    found = (await states_of(redis, [name, "never-failed"]))[name]
    assert (found.state, found.last_error) == ("open", "provider_timeout")
    assert found.open_until is not None
    seconds, _ = await redis.time()
    assert 0 < found.open_until - seconds <= 11
    await redis.hset(key_names.breaker(name), "until", str((seconds - 1) * 1000))
    assert (await states_of(redis, [name]))[name].state == "half_open"
    await breaker.succeeded(name)
    assert await states_of(redis, [name]) == {}


async def test_the_answer_about_health_does_not_wait_for_what_hangs() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    part, found = await _looked_at(hangs(), "nothing is known")
    assert (part["ok"], found) == (False, "nothing is known")
    assert part["detail"].startswith("no answer within")


# --- what one tenant may ask for at a time


async def test_a_tenant_that_asks_for_too_many_lists_at_a_time_is_refused_and_others_are_not(
    api: httpx.AsyncClient, stack: Stack
) -> None:
    tasks: list[asyncio.Task[httpx.Response]] = []
    stack.signal("temporal", signal.SIGSTOP)
    try:
        for limit in range(1, 41):
            ask = api.get("/v1/responses", params={"limit": limit}, headers=bearer("a-key"))
            tasks.append(asyncio.create_task(ask))

        async def are_refused() -> bool:
            return sum(task.done() for task in tasks) == 40 - HistoryReads().most_of_a_tenant

        await until(are_refused)
        other = asyncio.create_task(api.get("/v1/approvals", headers=bearer("b-key")))
        refused = [task.result() for task in tasks if task.done()]
    finally:
        stack.signal("temporal", signal.SIGCONT)
    for answer in refused:
        is_error(answer, 429, "rate_limit_exceeded")
        assert answer.headers["retry-after"] == "1"
    answers = [await task for task in [*tasks, other]]
    assert sorted(answer.status_code for answer in answers) == [200] * 33 + [429] * 8
