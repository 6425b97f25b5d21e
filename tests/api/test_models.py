"""`/v1/models`: the routes' names, and what providers list; how the lists are asked for, kept, and lost."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from activities.providers.registry import build_providers
from activities.providers.shared.http import open_http_client
from activities.worker.model_list_refresher import ModelListRefresher
from dev.services import free_port
from open_responses.config import Config, ProviderConfig, RouteConfig
from open_responses.contracts import ListedModel, ListsModels
from open_responses.errors import OpenResponsesError, ProviderStreamBroken
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis, connect
from open_responses.io.redis.model_lists import ModelLists
from open_responses.models.catalog import MOST_LISTED, offered_models, usable
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream
from tests.support.fake_vendors import Vendors
from tests.support.provider_wire import Answer, Wire, refusal
from tests.support.stack import Stack, check_whole, collect, until
from tests.support.vendor_configuration import VENDORS
from tests.support.vendor_scripts import LISTED, LISTED_AT

SLASHES = "vendor/model-with/slashes"
KEY = "sk-hush-0123456789"


async def listed_by(client: httpx.AsyncClient, **headers: str) -> dict[str, dict[str, Any]]:
    answer = await client.get("/v1/models", headers=headers)
    assert answer.status_code == 200
    data = answer.json()["data"]
    assert len({model["id"] for model in data}) == len(data)
    return {model["id"]: model for model in data}


@pytest_asyncio.fixture
async def listed(client: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    """Once every provider was asked."""
    wanted = {"vendor/second", *(name for vendor in VENDORS for name in LISTED[vendor] if "-lists-" in name)}

    async def is_whole() -> bool:
        return wanted <= (await listed_by(client)).keys()

    await until(is_whole, 40)
    return await listed_by(client)


# --- what is offered


async def test_what_providers_list_is_offered_where_a_route_takes_it(listed: dict[str, dict[str, Any]]) -> None:
    assert listed[SLASHES] == {"id": SLASHES, "object": "model", "created": 1754425777, "owned_by": "system"}
    assert listed["openai-lists-1"]["owned_by"] == "system"
    for vendor in ("anthropic", "gemini", "ollama"):
        # They do not say whose it is; Gemini does not say when it was made, either.
        assert listed[LISTED[vendor][1]]["owned_by"] == f"{vendor}-fake"
    assert {name: model["created"] for name, model in listed.items() if "-lists-" in name} == {
        name: 0 if vendor == "gemini" else LISTED_AT
        for vendor in VENDORS
        for name in LISTED[vendor]
        if "-lists-" in name
    }
    assert not {"whisper-1", "gpt-5", "qwen3:latest", "vendor/*", "gpt-*"} & listed.keys()


async def test_an_alias_says_of_its_model_what_the_provider_does(listed: dict[str, dict[str, Any]]) -> None:
    assert (listed["openai-fake"]["created"], listed["openai-fake"]["owned_by"]) == (LISTED_AT, "system")
    assert (listed["anthropic-fake"]["created"], listed["gemini-fake"]["created"]) == (LISTED_AT, 0)
    assert listed["fake"] == {"id": "fake", "object": "model", "created": 0, "owned_by": "fake"}


async def test_what_is_listed_can_be_retrieved_as_it_is(
    client: httpx.AsyncClient, listed: dict[str, dict[str, Any]]
) -> None:
    for name, model in listed.items():
        assert (await client.get(f"/v1/models/{name}")).json() == model
    assert (await client.get(f"/v1/models/{SLASHES.replace('/', '%2F')}")).json() == listed[SLASHES]


async def test_what_is_listed_can_be_asked_for(
    client: httpx.AsyncClient, listed: dict[str, dict[str, Any]], upstream: Upstream, vendors: Vendors
) -> None:
    script = upstream.says("by its listed name", Script(words=3))
    check_whole(await collect(client, {"model": SLASHES, "input": "by its listed name"}), script.text)
    assert upstream.requests[-1]["model"] == SLASHES
    check_whole(await collect(client, {"model": "openai-lists-2", "input": "a listed name"}), Script().text)
    assert vendors.asked("openai", "a listed name")[-1]["model"] == "openai-lists-2"


async def test_what_a_route_takes_is_there_though_the_provider_does_not_list_it(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models/vendor/of-tomorrow")).json() == {
        "id": "vendor/of-tomorrow",
        "object": "model",
        "created": 0,
        "owned_by": "fake",
    }
    assert (await client.get("/v1/models/whisper-1")).status_code == 404


@pytest.mark.campaign
async def test_a_key_sees_what_it_may_use_and_nothing_else(stack: Stack, listed: dict[str, dict[str, Any]]) -> None:
    blocks = (
        key_block("narrow", "narrow-key", 'models = ["vendor/s*", "openai-lists-*"]'),
        key_block("wide", "wide-key"),
    )
    async with keyed_api(stack, *blocks) as client:
        narrow = await listed_by(client, **bearer("narrow-key"))
        assert narrow.keys() == {"vendor/second", "openai-lists-1", "openai-lists-2"}
        assert await listed_by(client, **bearer("wide-key")) == listed
        for name, status in (("vendor/second", 200), (SLASHES, 404), ("fake", 404)):
            answer = await client.get(f"/v1/models/{name}", headers=bearer("narrow-key"))
            assert answer.status_code == status


async def test_after_a_flush_the_routes_are_there_and_soon_the_lists_again(
    stack: Stack, client: httpx.AsyncClient, redis: Redis, listed: dict[str, dict[str, Any]]
) -> None:
    await redis.flushall()

    async def is_back() -> bool:
        now = await listed_by(client)
        assert "fake" in now
        return now.keys() == listed.keys() and now[SLASHES] == listed[SLASHES]

    await until(is_back, 40)
    for name in await redis.keys("or:{models}:*"):
        assert await redis.pttl(name) > 0


async def test_without_redis_the_routes_are_offered(
    stack: Stack, client: httpx.AsyncClient, listed: dict[str, dict[str, Any]]
) -> None:
    await stack.kill("valkey")
    routes_alone = await listed_by(client)
    assert routes_alone["fake"] == listed["fake"]
    assert routes_alone["openai-fake"]["created"] == 0
    assert SLASHES not in routes_alone
    assert (await client.get(f"/v1/models/{SLASHES}")).json()["owned_by"] == "fake"


def test_a_name_is_offered_only_where_it_leads_to_the_model_that_it_names() -> None:
    providers = tuple(
        ProviderConfig(name=name, adapter="openai-chat", base_url="http://127.0.0.1:9/v1") for name in ("one", "two")
    )
    routes = (
        RouteConfig(model="a-1", provider="two"),
        RouteConfig(model="a-*", provider="one"),
        RouteConfig(model="b-*", provider="one", upstream_model="b-2"),
        RouteConfig(model="*", provider="two"),
    )
    lists = {"one": ("a-1", "a-2", "b-1", "b-2", "c"), "two": ("a-1", "a-2", "b-2", "d")}
    offered = offered_models(Config(providers=providers, routes=routes), as_lists(lists))
    assert {model.id: model.owned_by for model in offered} == {"a-1": "two", "a-2": "one", "b-2": "one", "d": "two"}


def test_the_first_route_is_the_one_that_a_request_takes() -> None:
    rolls = random.Random(7)
    providers = tuple(
        ProviderConfig(name=f"p{n}", adapter="openai-chat", base_url="http://127.0.0.1:9/v1") for n in range(4)
    )
    for _ in range(200):
        patterns = ["".join(rolls.choices("ab*?[-]", k=rolls.randint(1, 4))) for _ in range(8)]
        routes = tuple(RouteConfig(model=pattern, provider=rolls.choice(providers).name) for pattern in patterns)
        config = Config(providers=providers, routes=routes)
        names = ["".join(rolls.choices("ab-", k=rolls.randint(1, 4))) for _ in range(20)]
        offered = offered_models(config, as_lists({provider.name: names for provider in providers}))
        by_name = {model.id: model.owned_by for model in offered}
        wanted = {name: route.provider for name in names if (route := config.route(name)) is not None}
        assert wanted.items() <= by_name.items()


def as_lists(names: Mapping[str, Any]) -> dict[str, dict[str, ListedModel]]:
    return {provider: {name: ListedModel(name) for name in listed} for provider, listed in names.items()}


def test_what_a_provider_may_not_call_a_model_is_left_out() -> None:
    good = [
        ListedModel(name) for name in ("org/model:8b", "ft:gpt-4o:org::id", "@cf/meta/llama-3", "~latest", "a" * 200)
    ]
    bad: list[Any] = [
        "",
        "a" * 201,
        "/home/me/model.gguf",
        "gpt-*",
        "a b",
        "red\x1b[31m",
        "a\n",
        "é",
        "a/../b",
        None,
        7,
    ]
    assert usable([*good, *map(ListedModel, bad), *good]) == good
    odd: list[Any] = [ListedModel("a", True, 7), ListedModel("b", 1754425777000, "x" * 101), ListedModel("c", -1, "\n")]  # type: ignore[arg-type]
    assert usable(odd) == [ListedModel("a"), ListedModel("b"), ListedModel("c")]
    assert len(usable(ListedModel(f"m{n}") for n in range(MOST_LISTED + 5))) == MOST_LISTED
    assert usable([ListedModel(f"echo-{KEY}"), ListedModel("m", owned_by=KEY), good[0]], secret=KEY) == good[:1]


# --- how providers are asked


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http_client() as client:
        yield client


async def list_of(http: httpx.AsyncClient, adapter: str, base_url: str) -> list[ListedModel]:
    provider = ProviderConfig(name="asked", adapter=adapter, base_url=base_url, api_key_env="A_KEY")
    made = build_providers(Config(providers=(provider,)), http, {"A_KEY": KEY})["asked"]
    assert isinstance(made, ListsModels)
    return list(await made.list_models())


@pytest.mark.parametrize("vendor", VENDORS)
async def test_every_page_of_a_vendors_list_is_read(http: httpx.AsyncClient, vendors: Vendors, vendor: str) -> None:
    models = await list_of(http, vendor, f"http://127.0.0.1:{vendors.port}/{vendor}")
    assert [model.id for model in models] == list(LISTED[vendor])
    assert {model.created for model in models} == {None if vendor == "gemini" else LISTED_AT}


async def test_pages_are_asked_for_in_the_vendors_words_and_with_the_key(http: httpx.AsyncClient) -> None:
    pages = [{"data": [{"id": f"m{n}"}], "has_more": n < 3, "last_id": f"m{n}"} for n in (1, 2, 3)]
    async with Wire(*(refusal(200, page) for page in pages)) as wire:
        models = await list_of(http, "anthropic", f"http://127.0.0.1:{wire.port}")
    assert [model.id for model in models] == ["m1", "m2", "m3"]
    following = [request.path for request in wire.requests]
    assert following == ["/v1/models?limit=1000"] + [f"/v1/models?limit=1000&after_id=m{n}" for n in (1, 2)]
    for request in wire.requests:
        assert (request.headers["x-api-key"], request.headers["anthropic-version"]) == (KEY, "2023-06-01")


async def test_a_link_to_the_next_page_leads_nowhere_else(http: httpx.AsyncClient) -> None:
    """OpenRouter's `links.next`; the key would go along."""
    first = {"data": [{"id": "m1"}], "links": {"next": "http://127.0.0.1:9/steal?offset=1&limit=1"}}
    async with Wire(refusal(200, first), refusal(200, {"data": [{"id": "m2"}], "links": {"next": None}})) as wire:
        models = await list_of(http, "openai-chat", f"http://127.0.0.1:{wire.port}/api/v1")
    assert [model.id for model in models] == ["m1", "m2"]
    assert [request.path for request in wire.requests] == ["/api/v1/models", "/api/v1/models?offset=1&limit=1"]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ([{"id": "m1", "created": 1692896905, "organization": "org"}], ["m1"]),
        ({"object": "list", "data": None}, []),
        ({"data": [None, 7, {"name": "x"}, {"id": 7}, {"id": "m1"}]}, ["m1"]),
    ],
)
async def test_servers_that_write_it_otherwise_are_understood(
    http: httpx.AsyncClient, body: Any, names: list[str]
) -> None:
    async with Wire(refusal(200, body)) as wire:
        assert [m.id for m in await list_of(http, "openai-chat", f"http://127.0.0.1:{wire.port}/v1")] == names


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(b'{"data": [{"id": "' + b"m" * 9_000_000 + b'"}]}'), "larger than"),
        (Answer(b'{"data": [{"id": "m1"}'), "not JSON"),
        (Answer(b"[" * 100_000), "not JSON"),
        (Answer(b'{"models": [{"name": "m1"}]}'), "no list of models"),
        (refusal(200, {"data": [{"id": "m1"}], "links": {"next": "/v1/models?offset=0"}}), "no end"),
    ],
)
async def test_a_list_that_cannot_be_had_whole_is_an_error(http: httpx.AsyncClient, answer: Answer, words: str) -> None:
    async with Wire(answer) as wire:
        with pytest.raises(ProviderStreamBroken, match=words):
            await list_of(http, "openai", f"http://127.0.0.1:{wire.port}/v1")


async def test_a_list_is_read_no_further_than_it_is_kept(http: httpx.AsyncClient) -> None:
    page = {"data": [{"id": f"m{n}"} for n in range(1500)], "has_more": True, "last_id": "m"}
    async with Wire(refusal(200, page)) as wire:
        assert len(await list_of(http, "anthropic", f"http://127.0.0.1:{wire.port}")) == 3000
    assert len(wire.requests) == 2


# --- who asks, and how often


def provider_at(port: int, name: str, adapter: str = "openai-chat", **more: Any) -> ProviderConfig:
    return ProviderConfig(name=name, adapter=adapter, base_url=f"http://127.0.0.1:{port}/v1", **more)


@asynccontextmanager
async def asking(
    redis: Redis,
    http: httpx.AsyncClient,
    *providers: ProviderConfig,
    environ: Mapping[str, str] | None = None,
    workers: int = 1,
    **seconds: float,
) -> AsyncIterator[ModelLists]:
    """Workers' chores, impatient ones."""
    config = Config(
        providers=providers,
        routes=tuple(RouteConfig(model="*", provider=provider.name) for provider in providers),
    )
    settings = {"look_seconds": 0.02, "refresh_seconds": 0.1, "again_seconds": 0.05, "ask_seconds": 5.0, **seconds}
    adapters = build_providers(config, http, environ or {})
    lists = ModelLists(redis)
    chores = [
        asyncio.create_task(ModelListRefresher(lists, config, adapters, environ or {}, **settings).run())
        for _ in range(workers)
    ]
    try:
        yield lists
        assert not [chore for chore in chores if chore.done()], "the worker would stop"
    finally:
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        for provider in providers:
            await forget(redis, lists, provider)


async def forget(redis: Redis, lists: ModelLists, provider: ProviderConfig) -> None:
    await lists.write(provider, ())
    await lists.keep_refresh_lock(provider, 0)


def names(*ids: str) -> Answer:
    return refusal(200, {"object": "list", "data": [{"id": name} for name in ids]})


async def kept(lists: ModelLists, provider: ProviderConfig) -> list[str] | None:
    found = (await lists.read([provider])).get(provider.name)
    return None if found is None else list(found)


async def test_a_list_is_asked_for_again_and_the_last_one_stands_while_it_cannot_be_had(
    redis: Redis, http: httpx.AsyncClient
) -> None:
    garbage = [
        Answer(b"<html>"),
        refusal(503, {}),
        refusal(401, {"error": {"message": KEY}}),
        Answer(b"{", breaks=True),
    ]
    async with Wire(names("old"), *garbage, names("new")) as wire:
        provider = provider_at(wire.port, "changing")
        seen: list[list[str] | None] = []

        async def is_new() -> bool:
            seen.append(await kept(lists, provider))
            return seen[-1] == ["new"]

        with capture_logs() as logs:
            async with asking(redis, http, provider) as lists:
                await until(is_new)
    told = [entry for entry in logs if entry["event"] == "models_not_listed"]
    assert told == [
        {
            "event": "models_not_listed",
            "log_level": "info",
            "provider": "changing",
            "reason": "provider_stream_broken",
        }
    ]
    assert [one for one, before in zip(seen, [None, *seen], strict=False) if one != before] in ([["old"], ["new"]],)


async def test_of_many_workers_one_asks(redis: Redis, http: httpx.AsyncClient) -> None:
    async with Wire(names("m1")) as wire:
        provider = provider_at(wire.port, "asked-once")
        async with asking(redis, http, provider, workers=8, refresh_seconds=60) as lists:

            async def is_there() -> bool:
                return await kept(lists, provider) is not None

            await until(is_there)
            for _ in range(10):
                await asyncio.sleep(0.02)
            assert len(wire.requests) == 1
            # A flush takes the turn along.
            await redis.delete(*await redis.keys("or:{models}:*"))
            await until(is_there)
            assert len(wire.requests) == 2


async def test_a_worker_that_died_while_it_asked_holds_up_nobody_for_long(
    redis: Redis, http: httpx.AsyncClient
) -> None:
    async with Wire(names("m1")) as wire:
        provider = provider_at(wire.port, "orphaned")
        lists = ModelLists(redis)
        assert await lists.take_refresh_lock(provider, 0.3)
        assert not await lists.take_refresh_lock(provider, 0.3)
        async with asking(redis, http, provider):

            async def is_there() -> bool:
                return await kept(lists, provider) == ["m1"]

            await until(is_there)


class Odd:
    """An adapter that somebody else wrote."""

    def __init__(self, *_: object) -> None: ...

    async def list_models(self) -> Any:
        raise RuntimeError(f"oh no: {KEY}")


class Vague(Odd):
    async def list_models(self) -> Any:
        return ["m1", None]


async def test_no_provider_keeps_another_from_being_listed(redis: Redis, http: httpx.AsyncClient) -> None:
    async with Wire(names("m1")) as wire, Wire(Answer(b"{", stalls=True)) as silent:
        good = provider_at(wire.port, "good")
        bad = [
            provider_at(free_port(), "down"),
            provider_at(silent.port, "silent"),
            provider_at(9, "odd", "tests.api.test_models:Odd"),
            provider_at(9, "vague", "tests.api.test_models:Vague"),
            provider_at(9, "unable", "examples.custom_provider:Adapter"),
        ]
        with capture_logs() as logs:
            async with asking(redis, http, *bad, good, ask_seconds=0.3) as lists:

                async def is_asked_again() -> bool:
                    return len(wire.requests) > 2 and len(silent.requests) > 1

                await until(is_asked_again)
                assert await kept(lists, good) == ["m1"]
                assert [await kept(lists, one) for one in bad] == [None] * 5
    told = [(entry["provider"], entry["reason"]) for entry in logs if entry["event"] == "models_not_listed"]
    assert sorted(told) == [
        ("down", "provider_unavailable"),
        ("odd", "RuntimeError"),
        ("silent", "TimeoutError"),
        ("vague", "AttributeError"),
    ]
    assert KEY not in json.dumps(logs, default=repr)


async def test_a_key_that_a_provider_repeats_is_kept_nowhere(redis: Redis, http: httpx.AsyncClient) -> None:
    async with Wire(names("m1", f"echo-{KEY}")) as wire:
        provider = provider_at(wire.port, "echoes", api_key_env="A_KEY")
        with capture_logs() as logs:
            async with asking(redis, http, provider, environ={"A_KEY": KEY}) as lists:

                async def is_there() -> bool:
                    return await kept(lists, provider) is not None

                await until(is_there)
                assert await kept(lists, provider) == ["m1"]
                for name in await redis.keys("or:{models}:*"):
                    assert KEY.encode() not in (await redis.get(name) or b"")
    assert wire.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(logs, default=repr)


async def test_a_provider_without_its_key_is_not_asked(redis: Redis, http: httpx.AsyncClient) -> None:
    async with Wire(names("m1")) as wire, Wire(names("m2")) as other:
        keyless = provider_at(wire.port, "keyless", api_key_env="A_KEY")
        free = provider_at(other.port, "free")
        async with asking(redis, http, keyless, free) as lists:

            async def is_there() -> bool:
                return await kept(lists, free) is not None

            await until(is_there)
            assert wire.requests == []


async def test_the_chore_outlives_redis(http: httpx.AsyncClient) -> None:
    away = connect(f"redis://127.0.0.1:{free_port()}/0")
    provider = provider_at(free_port(), "nowhere")
    config = Config(providers=(provider,), routes=(RouteConfig(model="*", provider="nowhere"),))
    listing = ModelListRefresher(ModelLists(away), config, build_providers(config, http, {}), {}, look_seconds=0.01)
    chore = asyncio.create_task(listing.run())
    assert await ModelLists(away).read([provider]) == {}
    await asyncio.sleep(0.1)
    assert not chore.done()
    chore.cancel()
    await asyncio.gather(chore, return_exceptions=True)
    await away.aclose()


async def test_a_provider_that_was_moved_has_no_list_of_its_old_place(redis: Redis) -> None:
    lists, here, there = ModelLists(redis), provider_at(1, "moved"), provider_at(2, "moved")
    await lists.write(here, [ListedModel("m1", 5, "me")])
    assert await lists.read([here, there]) == {"moved": {"m1": ListedModel("m1", 5, "me")}}
    assert await lists.read([there]) == {}
    assert key_names.models("x") != key_names.models_refresh("x")
    await forget(redis, lists, here)


async def test_an_error_says_nothing_of_the_key(http: httpx.AsyncClient) -> None:
    async with Wire(refusal(400, {"error": {"message": f"bad key {KEY}"}})) as wire:
        with pytest.raises(OpenResponsesError) as caught:
            await list_of(http, "gemini", f"http://127.0.0.1:{wire.port}")
    assert KEY not in f"{caught.value} {caught.value!r}"
    assert wire.requests[0].headers["x-goog-api-key"] == KEY
    assert KEY not in wire.requests[0].path
