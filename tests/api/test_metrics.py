"""`/metrics` of the API and of the workers: what a response leaves there, who may read it, and what a scrape costs."""

from __future__ import annotations

import httpx
import pytest

from dev import services
from tests.support.api_with_keys import api_of_the_module, bearer, blocks_of
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.scraped import Samples, samples_in, scraped, total
from tests.support.scripts import HOSTED, script
from tests.support.stack import Stack, check_whole, collect, events_of, until

PORT = services.free_port()
KEYS = {"operator": 'scopes = ["admin"]', "limited": "requests_per_minute = 4\nbudget_usd = 1000.0"}

# The workers do not know this route: the price travels with the request, and the model's name is theirs for others.
PRICED = """
[[routes]]
model = "priced"
provider = "fake"
upstream_model = "fake"
[routes.price]
input = 500_000
output = 1_000_000
"""

api = api_of_the_module(*blocks_of("metrics", KEYS), PRICED, API_METRICS_PORT=str(PORT))


class Growth:
    """What has grown since `of` was called."""

    def __init__(self, client: httpx.AsyncClient, stack: Stack, before: Samples) -> None:
        self._client, self._stack, self._before = client, stack, before

    @classmethod
    async def of(cls, client: httpx.AsyncClient, stack: Stack) -> Growth:
        return cls(client, stack, await scraped(client, stack))

    async def by(self, name: str, **labels: str) -> float:
        now = await scraped(self._client, self._stack)
        return total(now, name, **labels) - total(self._before, name, **labels)

    async def reaches(self, count: float, name: str, **labels: str) -> None:
        """A client has the last byte a moment before the server has counted all of it."""

        async def is_there() -> bool:
            return await self.by(name, **labels) >= count

        await until(is_there)
        assert await self.by(name, **labels) == count, name


@pytest.mark.campaign
async def test_a_response_with_a_tool_is_counted_under_the_names_of_the_original(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "counted", calls(("call_1", "get_weather", {"city": "Paris"})), Script(words=7))
    grown = await Growth.of(client, stack)
    events = await collect(client, {"input": "counted", "tools": HOSTED})
    await grown.reaches(1, "open_responses_requests_total", model="fake")
    await grown.reaches(2, "open_responses_loop_iterations_total", model="fake")
    await grown.reaches(1, "open_responses_tool_dispatches_total", tool="get_weather")
    for kind in {event["type"] for event in events}:
        # Deltas of a slow moment are merged before they are numbered, so each is counted as the client gets it.
        count = sum(event["type"] == kind for event in events)
        await grown.reaches(count, "open_responses_stream_events_total", type=kind)


@pytest.mark.campaign
async def test_a_response_leaves_opentelemetrys_metrics_and_its_end(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("measured", Script(words=5))
    grown = await Growth.of(client, stack)
    response = check_whole(await collect(client, {"input": "measured"}), Script(words=5).text)
    call = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "fake", "gen_ai_request_model": "fake"}
    await grown.reaches(1, "gen_ai_client_operation_duration_seconds_count", **call, tenant="default", error_type="")
    await grown.reaches(1, "gen_ai_server_time_to_first_token_seconds_count", **call)
    await grown.reaches(1, "gen_ai_server_time_per_output_token_seconds_count", **call)
    usage = response["usage"]
    await grown.reaches(usage["input_tokens"], "gen_ai_client_token_usage_sum", **call, gen_ai_token_type="input")
    await grown.reaches(usage["output_tokens"], "gen_ai_client_token_usage_sum", **call, gen_ai_token_type="output")
    ended = {"model": "fake", "provider": "fake", "tenant": "default"}
    await grown.reaches(1, "open_responses_responses_total", **ended, status="completed", error_code="")
    await grown.reaches(usage["output_tokens"], "open_responses_tokens_total", **ended, type="output")
    await grown.reaches(1, "open_responses_response_duration_seconds_count", model="fake", status="completed")
    await grown.reaches(1, "open_responses_unpriced_total", model="fake", provider="fake")
    assert await grown.by("open_responses_cost_usd_total", model="fake") == 0


@pytest.mark.campaign
async def test_a_failure_shows_with_its_code_and_so_do_the_attempts_before_it(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("breaks off", Script(words=6, faults=[Fault(after=3, drop=True), None]))
    upstream.says("is refused", Script(faults=[Fault(status=400)]))
    grown = await Growth.of(client, stack)
    await collect(client, {"input": "breaks off"})
    failed = (await collect(client, {"input": "is refused"}))[-1]["response"]
    code = failed["error"]["code"]
    await grown.reaches(1, "open_responses_responses_total", status="failed", error_code=code)
    await grown.reaches(1, "open_responses_attempts_total", provider="fake", outcome="broken")
    await grown.reaches(1, "open_responses_attempts_total", provider="fake", outcome="failed", reason=code)
    await grown.reaches(1, "open_responses_attempts_total", provider="fake", outcome="done")
    await grown.reaches(1, "gen_ai_client_operation_duration_seconds_count", tenant="default", error_type=code)


async def test_calls_of_an_mcp_server_count_under_its_label(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "counted mcp", calls(("c", "add", {"a": 2, "b": 3})), Script(words=3))
    grown = await Growth.of(client, stack)
    tools = [{"type": "mcp", "server_label": "calc", "require_approval": "never"}]
    await collect(client, {"input": "counted mcp", "tools": tools})
    await grown.reaches(1, "open_responses_mcp_requests_total", server="calc", operation="call_tool", outcome="done")
    await grown.reaches(1, "open_responses_tool_dispatches_total", tool="mcp:calc")
    await grown.reaches(1, "open_responses_tool_duration_seconds_count", tool="mcp:calc", outcome="done")


async def test_refusals_and_resumed_streams_and_open_streams_are_the_apis(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    async def open_streams(count: int) -> None:
        """A stream is closed a moment after its client has the last byte, also that of the test before."""

        async def are_open() -> bool:
            return total(await scraped(client, stack), "open_responses_open_streams") == count

        await until(are_open)

    await open_streams(0)
    grown = await Growth.of(client, stack)
    refused = await client.post("/v1/responses", json={"model": "fake", "input": 3})
    await grown.reaches(1, "open_responses_refusals_total", code=refused.json()["error"]["code"])
    held = upstream.says("held", Script(words=4, hold_after=2))
    stream = events_of(client, {"input": "held"})
    first = await anext(stream)
    await open_streams(1)
    await held.held.wait()
    again = events_of(client, resume=(first["response"]["id"], 0))
    await anext(again)
    await grown.reaches(1, "open_responses_stream_resumes_total", response="running")
    await open_streams(2)
    held.released.set()
    for rest in (stream, again):
        assert [event async for event in rest][-1]["type"] == "response.completed"
    await open_streams(0)


async def test_the_whole_servers_numbers_are_there_once_scrapes_have_begun(
    stack: Stack, client: httpx.AsyncClient
) -> None:
    async def are_read() -> bool:
        text = (await client.get("/metrics")).text
        return 'open_responses_backlog_tasks{kind="workflow"}' in text and "open_responses_live_workers 2.0" in text

    await until(are_read, seconds=60)
    text = (await client.get("/metrics")).text
    for line in (
        'open_responses_waiting_responses{reason="approval"}',
        'open_responses_breaker_open{provider="fake"} ',
        'open_responses_dependency_up{dependency="redis"} 1.0',
        'open_responses_dependency_up{dependency="temporal"} 1.0',
        "open_responses_running_responses ",
    ):
        assert line in text


async def test_a_workers_address_has_the_sdks_metrics_as_well(stack: Stack, client: httpx.AsyncClient) -> None:
    await scraped(client, stack)
    for port in stack.metrics_ports.values():
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
        assert 'component="worker"' in text
        assert "temporal_request_total" in text or "temporal_request{" in text


@pytest.mark.campaign
async def test_with_keys_only_an_operators_key_reads_them_and_a_port_of_their_own_asks_for_none(
    api: httpx.AsyncClient,
) -> None:
    assert (await api.get("/metrics")).status_code == 401
    assert (await api.get("/metrics", headers=bearer("limited"))).status_code == 403
    allowed = await api.get("/metrics", headers=bearer("operator"))
    assert allowed.status_code == 200
    assert total(samples_in(allowed.text), "open_responses_refusals_total", code="permission_denied") >= 1
    apart = await api.get(f"http://127.0.0.1:{PORT}/metrics")
    assert 'component="api"' in apart.text


async def test_a_response_with_a_price_adds_its_cost(
    stack: Stack, client: httpx.AsyncClient, api: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("priced", Script(words=3))
    grown = await Growth.of(client, stack)
    answer = await api.post("/v1/responses", json={"model": "priced", "input": "priced"}, headers=bearer("operator"))
    usage = answer.json()["usage"]
    due = 0.5 * usage["input_tokens"] + usage["output_tokens"]
    await grown.reaches(due, "open_responses_cost_usd_total", provider="fake", tenant="metrics-operator")
    assert await grown.by("open_responses_unpriced_total") == 0


async def test_the_limits_of_a_key_show_how_much_of_them_is_used(api: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("limited", Script(words=3))
    body = {"model": "priced", "input": "limited"}
    assert (await api.post("/v1/responses", json=body, headers=bearer("limited"))).status_code == 200
    answer = await api.get("/metrics", headers=bearer("operator"))
    samples = samples_in(answer.text)
    used = {"tenant": "metrics-limited", "limit": "requests_per_minute"}
    assert total(samples, "open_responses_limit_used_ratio", **used) == 0.25
    in_dollars = total(samples, "open_responses_limit_used_ratio", tenant="metrics-limited", limit="budget_usd")
    assert 0 <= in_dollars < 1
    assert 'limit="budget_usd"' in answer.text


async def test_without_keys_only_this_machine_reads_them(client: httpx.AsyncClient) -> None:
    assert (await client.get("/metrics", headers={"Host": "rebound.example"})).status_code == 403


async def test_a_takeover_shows_on_the_worker_that_makes_it_with_the_dead_ones_silence(
    stack: Stack, client: httpx.AsyncClient, upstream: Upstream
) -> None:
    held = upstream.says("taken over", Script(words=6, hold_after=3))
    stream = events_of(client, {"input": "taken over"})
    events = [await anext(stream)]
    await held.held.wait()
    dead = await stack.busy_worker()
    (port,) = (port for name, port in stack.metrics_ports.items() if name != dead)

    async def samples() -> Samples:
        return samples_in((await client.get(f"http://127.0.0.1:{port}/metrics")).text)

    before = await samples()
    await stack.kill(dead)
    held.released.set()
    events += [event async for event in stream]
    check_whole(events, held.text)

    async def is_counted() -> bool:
        name = "open_responses_takeover_silence_seconds_count"
        return total(await samples(), name) > total(before, name)

    await until(is_counted)
    after = await samples()
    for name, growth in (
        ("open_responses_takeovers_total", 1),
        ("open_responses_taken_over_activities_total", 1),
        ("open_responses_takeover_silence_seconds_count", 1),
    ):
        assert total(after, name) - total(before, name) == growth, name
    silence = "open_responses_takeover_silence_seconds_sum"
    assert total(after, silence) - total(before, silence) > 0
