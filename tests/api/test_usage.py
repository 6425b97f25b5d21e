"""What responses used and cost: on the answer, in `GET /v1/usage`, and again after a loss of Redis."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import httpx
import pytest
from temporalio.client import WorkflowExecution

from api.responses.cost import COST_HEADER, in_digits
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.redis.rate_limits import Quotas, recount
from open_responses.io.redis.rate_limits import Used as RateUsed
from open_responses.io.redis.usage_counters import DayOfUse, UsageCounters, Used, count, day_of
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.usage_rebuild import UsageRebuild
from open_responses.loop.payloads.finish import FinishedResponse, UsageRecord
from open_responses.loop.payloads.start import Admitted, StartResponse
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.price import in_nano
from tests.support.api_with_keys import api_of_the_module, bearer, fresh_key, key_block
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until
from tests.support.temporal_client import client_of_temporal, input_of

PRICED = """
[[routes]]
model = "priced"
provider = "fake"
upstream_model = "fake"
price = { input = 2, output = 8 }
[[routes]]
model = "free"
provider = "fake"
upstream_model = "fake"
price = { input = 0, output = 0 }
[[routes]]
model = "dear then unknown"
provider = "fake"
fallbacks = ["fake"]
price = { input = 2, output = 8 }
"""
A, B, C, ADMIN = bearer("usage-a"), bearer("usage-b"), bearer("usage-c"), bearer("usage-admin")
BUDGET, FRUGAL, SPENT = bearer("usage-budget"), bearer("usage-frugal"), bearer("usage-spent")
TODAY = datetime.now(UTC).date()

api = api_of_the_module(
    PRICED,
    key_block("usage a", "usage-a"),
    key_block("usage b", "usage-b"),
    key_block("usage c", "usage-c"),
    key_block("usage budget", "usage-budget", "budget_usd = 0.002"),
    key_block("usage frugal", "usage-frugal", "budget_usd = 100"),
    key_block("usage spent", "usage-spent", "budget_usd = 0.002", "budget_tokens = 100000"),
    key_block("usage admin", "usage-admin", 'scopes = ["admin"]'),
)


async def ask(api: httpx.AsyncClient, model: str, prompt: str, headers: dict[str, str]) -> dict[str, Any]:
    answer = await api.post("/v1/responses", json={"model": model, "input": prompt}, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def usage(api: httpx.AsyncClient, headers: dict[str, str], **query: str) -> dict[str, Any]:
    # Over midnight the answers are of two days.
    asked = {"from": (TODAY - timedelta(days=1)).isoformat(), **query}
    answer = await api.get("/v1/usage", params=asked, headers=headers)
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.json()
    return report


async def test_the_usage_of_a_tenant_has_its_tokens_and_their_cost(api: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("what does it cost", Script(words=50))
    used = (await ask(api, "priced", "what does it cost", A))["usage"]
    await ask(api, "free", "what does it cost", A)
    report = await usage(api, A, group_by="model")
    assert report["object"] == "usage"
    rows = {row["model"]: row for row in report["data"]}
    assert rows["priced"] == {
        "model": "priced",
        "responses": 1,
        "failed": 0,
        "input_tokens": used["input_tokens"],
        "cached_tokens": 0,
        "output_tokens": used["output_tokens"],
        "reasoning_tokens": 0,
        "total_tokens": used["total_tokens"],
        "cost_usd": pytest.approx((2 * used["input_tokens"] + 8 * used["output_tokens"]) / 1_000_000),
        "unpriced_responses": 0,
    }
    assert (rows["free"]["cost_usd"], rows["free"]["unpriced_responses"]) == (0, 0), "a price of zero is a price"


@pytest.mark.parametrize("store", [True, False])
async def test_a_json_answer_has_the_cost_in_a_header_and_on_request_in_its_usage(
    api: httpx.AsyncClient, store: bool
) -> None:
    body = {"model": "priced", "input": "how dear", "store": store, "include": ["open_responses.cost"]}
    answer = await api.post("/v1/responses", json=body, headers=A)
    used = answer.json()["usage"]
    cost = (2 * used["input_tokens"] + 8 * used["output_tokens"]) / 1_000_000
    assert float(answer.headers[COST_HEADER]) == pytest.approx(cost)
    assert used["cost_usd"] == pytest.approx(cost)
    if store:
        again = await api.get(f"/v1/responses/{answer.json()['id']}", headers=A)
        assert (again.headers[COST_HEADER], again.json()["usage"]) == (answer.headers[COST_HEADER], used)


async def test_a_cost_that_is_not_asked_for_is_in_the_header_alone(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/responses", json={"model": "free", "input": "how dear"}, headers=A)
    assert answer.headers[COST_HEADER] == "0"
    assert "cost_usd" not in answer.json()["usage"]


async def test_a_cost_that_is_not_known_is_null_and_has_no_header(api: httpx.AsyncClient) -> None:
    body = {"model": "fake", "input": "how dear", "include": ["open_responses.cost"]}
    answer = await api.post("/v1/responses", json=body, headers=A)
    assert COST_HEADER not in answer.headers
    assert answer.json()["usage"]["cost_usd"] is None


async def test_every_turn_and_attempt_of_a_response_is_in_its_cost(api: httpx.AsyncClient, upstream: Upstream) -> None:
    first = calls(
        ("call_1", "get_weather", {"city": "Paris"}), turns=[Script(words=40, faults=[Fault(after=9, drop=True)])]
    )
    upstream.says("several turns", first)
    tools = [{"type": "function", "name": "get_weather"}]
    body = {"model": "priced", "input": "several turns", "tools": tools, "include": ["open_responses.cost"]}
    used = (await api.post("/v1/responses", json=body, headers=A)).json()["usage"]
    assert used["cost_usd"] == pytest.approx((2 * used["input_tokens"] + 8 * used["output_tokens"]) / 1_000_000)


async def test_what_has_no_price_costs_null_and_is_counted(api: httpx.AsyncClient) -> None:
    await ask(api, "fake", "without a price", B)
    await ask(api, "priced", "with a price", B)
    rows = {row["model"]: row for row in (await usage(api, B, group_by="model"))["data"]}
    assert (rows["fake"]["cost_usd"], rows["fake"]["unpriced_responses"]) == (None, 1)
    total = (await usage(api, B, group_by=""))["total"]
    assert (total["cost_usd"], total["unpriced_responses"]) == (rows["priced"]["cost_usd"], 1)


async def test_a_failed_response_is_counted_as_such(api: httpx.AsyncClient, upstream: Upstream) -> None:
    tenant = "usage a"
    before = (await usage(api, A))["total"]
    upstream.says("fail at once", Script(faults=[Fault(status=400)]))
    assert (await ask(api, "fake", "fail at once", A))["status"] == "failed"
    after = (await usage(api, A, tenant=tenant))["total"]
    assert (after["responses"], after["failed"]) == (before["responses"] + 1, before["failed"] + 1)


async def test_a_tenant_sees_its_own_usage_and_an_operator_all(api: httpx.AsyncClient) -> None:
    await ask(api, "fake", "seen by its tenant", A)
    await ask(api, "fake", "seen by its tenant", B)
    assert {row["tenant"] for row in (await usage(api, A, group_by="tenant"))["data"]} == {"usage a"}
    everyone = await usage(api, ADMIN, group_by="tenant,model,day")
    assert {"usage a", "usage b"} <= {row["tenant"] for row in everyone["data"]}
    one = await usage(api, ADMIN, group_by="tenant", tenant="usage b")
    assert [row["tenant"] for row in one["data"]] == ["usage b"]
    is_error(await api.get("/v1/usage?tenant=usage%20b", headers=A), 403, "permission_denied", None)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=yesterday", "from"),
        ("from=2026-02-30", "from"),
        ("to=2026-13-01T00:00:00Z", "to"),
        ("from=2026-02-01&to=2026-01-01", "from"),
        ("from=2026-01-01&to=2026-01-01", "from"),
        ("from=1900-01-01", "from"),
        ("from=0001-01-01T00:00:00%2B14:00", "from"),
        ("group_by=week", "group_by"),
        ("group_by=day,secret", "group_by"),
        ("form=2026-01-01", "form"),
    ],
)
async def test_a_query_that_cannot_be_answered_is_refused(api: httpx.AsyncClient, query: str, param: str) -> None:
    answer = await api.get(f"/v1/usage?{query}", headers=A)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


async def test_the_time_of_a_report_is_whole_days_in_utc(api: httpx.AsyncClient) -> None:
    query = {"from": "2026-01-05T23:30:00-01:00", "to": "2026-01-07T10:00:00Z"}
    report = await usage(api, A, **query)
    assert (report["from"], report["to"], report["group_by"]) == ("2026-01-06", "2026-01-08", ["day"])
    report = (await api.get("/v1/usage", headers=A)).json()
    assert datetime.fromisoformat(report["to"]) - datetime.fromisoformat(report["from"]) == timedelta(days=30)


def test_a_small_cost_has_no_exponent() -> None:
    assert [in_digits(cost) for cost in (0, 0.00000015, 12.5, 1e-12)] == ["0", "0.00000015", "12.5", "0.000000000001"]


# --- a budget in US dollars


async def test_a_budget_in_dollars_ends_where_the_cost_of_its_responses_reaches_it(
    api: httpx.AsyncClient, upstream: Upstream
) -> None:
    # 10 tokens of input and 100 of output: $0.00082.
    upstream.says("spend", Script(words=100))
    for _ in range(3):
        await ask(api, "priced", "spend", BUDGET)
    answer = await api.post("/v1/responses", json={"model": "priced", "input": "spend"}, headers=BUDGET)
    is_error(answer, 429, "token_budget_exceeded", None)
    assert "$0.002 a month" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"


async def test_a_budget_in_dollars_admits_no_model_without_a_price(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/responses", json={"model": "fake", "input": "free?"}, headers=BUDGET)
    is_error(answer, 403, "permission_denied", "model")


async def test_a_fallback_without_a_price_is_left_out(api: httpx.AsyncClient, stack: Stack) -> None:
    temporal = await client_of_temporal(stack)
    for headers, fallbacks in ((FRUGAL, 0), (A, 1)):
        body = {"model": "dear then unknown", "input": "fall back", "background": True}
        begun = (await api.post("/v1/responses", json=body, headers=headers)).json()
        assert len((await input_of(temporal, begun["id"])).fallbacks) == fallbacks


# --- a loss of Redis


async def rebuilt(redis: Redis, stack: Stack) -> int:
    """How many responses another rebuild counts. It waits for a worker that found the loss as well, and is behind."""
    rebuild, counted = UsageRebuild(redis, await client_of_temporal(stack)), list[int]()

    async def has_run() -> bool:
        found = await rebuild.rebuild()
        counted.extend([] if found is None else [found])
        return found is not None

    await until(has_run, 90)
    return counted[0]


@pytest.mark.campaign
async def test_the_counts_come_back_after_a_flush_of_redis(
    api: httpx.AsyncClient, upstream: Upstream, redis: Redis, stack: Stack
) -> None:
    upstream.says("fails for good", Script(faults=[Fault(status=400)]))
    for model, prompt in (("priced", "kept"), ("priced", "kept"), ("fake", "kept"), ("fake", "fails for good")):
        await ask(api, model, prompt, C)
    before = await usage(api, C, group_by="model,day")
    assert (before["total"]["responses"], before["total"]["failed"]) == (4, 1)
    await redis.flushall()

    async def are_back() -> bool:
        now = await usage(api, C, group_by="model,day")
        return bool(now["is_complete"]) and now == {**before, "is_complete": True}

    await until(are_back)
    # A response that ends later is counted, and those that are counted again are not counted twice.
    await ask(api, "priced", "kept", C)
    assert await rebuilt(redis, stack) == 0
    assert (await usage(api, C))["total"]["responses"] == 5


@pytest.mark.campaign
async def test_what_a_key_has_spent_of_its_budgets_comes_back_after_a_flush_of_redis(
    api: httpx.AsyncClient, upstream: Upstream, redis: Redis, stack: Stack
) -> None:
    upstream.says("spend and forget", Script(words=100))
    used = [(await ask(api, "priced", "spend and forget", SPENT))["usage"]["total_tokens"] for _ in range(3)]
    quotas, key = Quotas(redis), ApiKeyConfig(tenant="usage spent", sha256=sha256(b"usage-spent").hexdigest())
    before = await quotas.look(key)
    assert (before.spent, before.spent_nano > in_nano(0.002)) == (sum(used), True)
    await redis.flushall()

    async def is_back() -> bool:
        now = await quotas.look(key)
        return (now.spent, now.spent_nano) == (before.spent, before.spent_nano)

    await until(is_back)
    refused = await api.post("/v1/responses", json={"model": "priced", "input": "spend"}, headers=SPENT)
    is_error(refused, 429, "token_budget_exceeded", None)
    assert await rebuilt(redis, stack) == 0
    assert (await quotas.look(key)).spent == before.spent


def ended(key: ApiKeyConfig, **known: Any) -> UsageRecord:
    usage = TurnUsage(input_tokens=3, output_tokens=4, cost_usd=0.5)
    return record(key.tenant, account=key.account, budget_period=key.budget_period, usage=usage, **known)


async def recounted(redis: Redis, *records: UsageRecord, at: datetime | None = None) -> None:
    pipe = redis.pipeline(transaction=False)
    for one in records:
        recount(pipe, one, at or datetime.now(UTC))
        count(pipe, one)
    await pipe.execute()


async def test_a_budget_counts_a_response_once_however_its_end_and_a_rebuild_follow_each_other(redis: Redis) -> None:
    for order in ("rebuilt first", "ended first"):
        key, quotas = fresh_key(budget_usd=10), Quotas(redis)
        one = ended(key)
        ours, used = Admitted(account=key.account), RateUsed(7, cost_usd=0.5)
        if order == "rebuilt first":
            await recounted(redis, one, one)
        await quotas.settle(ours, one.response_id, used)
        await count(redis, one)
        await recounted(redis, one)
        standing = await quotas.look(key)
        assert (standing.spent, standing.spent_nano) == (7, in_nano(0.5)), order


async def test_a_budget_of_a_day_does_not_get_back_what_was_spent_before_it(redis: Redis) -> None:
    key = fresh_key(budget_usd=10, budget_period="day")
    await recounted(redis, ended(key), at=datetime.now(UTC) - timedelta(days=1))
    assert (await Quotas(redis).look(key)).spent == 0
    # Without a key, there is no budget.
    await recounted(redis, ended(key).model_copy(update={"account": ""}))
    assert (await Quotas(redis).look(key)).spent == 0


async def test_a_run_without_a_memo_is_counted_by_its_result(
    api: httpx.AsyncClient, stack: Stack, redis: Redis
) -> None:
    begun = await ask(api, "priced", "by its result", A)
    rebuild, temporal = UsageRebuild(redis, await client_of_temporal(stack)), await client_of_temporal(stack)

    async def runs() -> list[WorkflowExecution]:
        return [run async for run in temporal.list_workflows(f"WorkflowId = '{begun['id']}'") if run.close_time]

    async def is_listed() -> bool:
        return bool(await runs())

    await until(is_listed)
    (run,) = await runs()
    by_memo, by_result = await rebuild._used_by(run), await rebuild._from_result(run)
    assert by_memo.usage is not None
    assert by_memo.usage.cost_usd
    assert by_memo.account, "its result does not have the key"
    known = {"created_at": by_memo.created_at, "account": by_memo.account}
    assert by_result.model_copy(update=known) == by_memo
    assert abs(by_result.created_at - by_memo.created_at) <= 1


# --- the counters


def record(tenant: str, **known: Any) -> UsageRecord:
    given = {"response_id": f"resp_{secrets.token_hex(8)}", "model": "m", "status": "completed", **known}
    return UsageRecord(tenant=tenant, created_at=given.pop("created_at", int(time.time())), **given)


async def read(redis: Redis, tenant: str, day: int | None = None) -> list[DayOfUse]:
    at = day_of(int(time.time()) if day is None else day)
    return [part async for part in UsageCounters(redis).read(at - timedelta(days=1), at, tenant)]


async def test_a_response_counts_once_however_often_its_end_is_written(redis: Redis) -> None:
    tenant = f"once {secrets.token_hex(4)}"
    one = record(tenant, usage=TurnUsage(input_tokens=3, output_tokens=4, cost_usd=0.5))
    assert [int(await count(redis, one)) for _ in range(3)] == [1, 0, 0]  # type: ignore[call-overload]
    (found,) = await read(redis, tenant)
    assert (found.used.responses, found.used.input_tokens, found.used.cost_usd) == (1, 3, 0.5)


async def test_an_end_that_redis_missed_is_counted_when_it_is_found(redis: Redis) -> None:
    """A worker finds a response whose end could not be stored, and releases what it held. That may happen twice."""
    tenant = f"missed {secrets.token_hex(4)}"
    start = StartResponse.model_validate(
        {
            "response_id": f"resp_{secrets.token_hex(8)}",
            "tenant": tenant,
            "created_at": int(time.time()),
            "request": {"model": "m", "input": "Hi"},
            "provider": "p",
            "upstream_model": "m",
            "retry_window": 1,
        }
    )
    shown = {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 7,
    }
    finished = FinishedResponse(response={"status": "failed", "output": [], "usage": shown}, trace=[])
    store = ResponseStore(redis, ttl_seconds=60, log_ttl_seconds=60)
    for _ in range(2):
        await store.release(start, finished)
    (found,) = await read(redis, tenant)
    assert found.used == Used(
        responses=1, failed=1, input_tokens=3, cached_tokens=1, output_tokens=4, reasoning_tokens=2, unpriced=1
    )


async def test_names_of_models_that_clients_make_up_are_bounded(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("open_responses.io.redis.usage_counters._MOST_MODELS", 3)
    tenant = f"names {secrets.token_hex(4)}"
    for number in range(6):
        await count(redis, record(tenant, model=f"model-{number}"))
    assert {found.model: found.used.responses for found in await read(redis, tenant)} == {
        "model-0": 1,
        "model-1": 1,
        "model-2": 1,
        "other": 3,
    }


async def test_a_day_whose_marks_have_expired_counts_nothing_twice(redis: Redis) -> None:
    tenant, at = f"old {secrets.token_hex(4)}", int(time.time()) - 90 * 86400
    old = record(tenant, created_at=at, usage=TurnUsage(input_tokens=3, cost_usd=0.5))
    await count(redis, old)
    await redis.delete(key_names.usage_counted(day_of(at).isoformat()))
    await count(redis, old)
    (found,) = await read(redis, tenant, at)
    assert found.used.responses == 1


async def test_tokens_of_an_earlier_version_have_no_price(redis: Redis) -> None:
    tenant = f"earlier {secrets.token_hex(4)}"
    await count(redis, record(tenant, usage=TurnUsage(input_tokens=3)))
    (found,) = await read(redis, tenant)
    assert (found.used.cost_usd, found.used.unpriced) == (None, 1)


async def test_a_time_at_the_begin_of_the_calendar_has_no_usage(api: httpx.AsyncClient) -> None:
    answer = await api.get("/v1/usage", params={"to": "0001-01-02"}, headers=A)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["from"], answer.json()["data"]) == ("0001-01-01", [])
    is_error(await api.get("/v1/usage", params={"to": "0001-01-01"}, headers=A), 400, "invalid_value", "from")


async def test_the_usage_of_one_tenant_is_read_without_the_names_of_the_others(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(UsageCounters, "_tenants")
    tenant = f"alone {secrets.token_hex(4)}"
    await count(redis, record(tenant))
    (found,) = await read(redis, tenant)
    assert (found.tenant, found.used.responses) == (tenant, 1)
