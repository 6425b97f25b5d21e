"""The command line for operators, against a running server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tomllib
from typing import Any

import httpx
import pytest

from open_responses.cli.http import CommandFailed, Server, with_query
from open_responses.cli.tables import plain
from tests.support.api_with_keys import api_of_the_module, bearer, key_block
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.operator import HOSTED, turns
from tests.support.own_valkey import own_valkey
from tests.support.responses_http import is_error
from tests.support.stack import Stack, until
from tests.support.webhook_receiver import WebhookReceiver

api = api_of_the_module(
    key_block("cli", "cli-key"),
    key_block("house", "cli-operator-key", 'scopes = ["admin"]'),
)


async def run(*arguments: str, key: str = "cli-key", url: object = "", **env: str) -> tuple[int, str, str]:
    """The exit status, what was printed, and the complaint."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "open_responses", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "OPEN_RESPONSES_URL": str(url), "OPEN_RESPONSES_KEY": key, **env},
    )
    out, error = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode is not None
    return process.returncode, out.decode(), error.decode()


async def told(*arguments: str, **options: Any) -> Any:
    """What a command prints with --json."""
    status, out, error = await run(*arguments, "--json", **options)
    assert status == 0, error
    return json.loads(out)


async def made(api: httpx.AsyncClient, **body: Any) -> Any:
    answer = await api.post(
        "/v1/responses", json={"model": "fake", "input": "hello", **body}, headers=bearer("cli-key")
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_responses_are_listed_shown_followed_and_cancelled(api: httpx.AsyncClient, upstream: Upstream) -> None:
    url = api.base_url
    done = await made(api)
    script = upstream.says("the command line follows", Script(words=5, hold_after=2))
    running = await made(api, input="the command line follows", background=True)

    async def are_listed() -> bool:
        return {row["id"] for row in await told("responses", "list", url=url)} >= {done["id"], running["id"]}

    await until(are_listed, 30)
    assert [row["id"] for row in await told("responses", "list", "--status", "in_progress", url=url)] == [running["id"]]
    status, table, _ = await run("responses", "list", "--limit", "5", url=url)
    assert status == 0
    assert done["id"] in table
    shown = await told("responses", "show", done["id"], url=url)
    assert (shown["response"], shown["timeline"]["entries"][0]["kind"]) == (done, "model_turn")
    assert "model_turn" in (await run("responses", "show", done["id"], url=url))[1]
    follows = asyncio.create_task(run("responses", "follow", running["id"], url=url))
    await asyncio.wait_for(script.held.wait(), 50)
    script.released.set()
    status, said, _ = await follows
    assert status == 0
    assert script.text in said
    lines = (await run("responses", "follow", done["id"], "--json", "--after", "0", url=url))[1].splitlines()
    assert [json.loads(line)["sequence_number"] for line in lines] == list(range(1, len(lines) + 1))
    assert (await told("responses", "cancel", running["id"], url=url))["status"] == "completed"


async def test_a_call_that_waits_is_listed_and_denied(api: httpx.AsyncClient, upstream: Upstream) -> None:
    turns(upstream, "the command line denies", calls(("a", "delete_all", {"what": "cli"})), Script(words=2))
    waiting = await made(api, input="the command line denies", tools=HOSTED, background=True)
    url = api.base_url

    async def waits() -> bool:
        return [row["response_id"] for row in await told("approvals", url=url)] == [waiting["id"]]

    await until(waits, 30)
    assert "delete_all" in (await run("approvals", url=url))[1]
    status, out, _ = await run("responses", "approve", waiting["id"], "--deny", "--reason", "no", url=url)
    assert (status, out.split()[1]) == (0, "denied")
    status, _, error = await run("responses", "approve", waiting["id"], url=url)
    assert status == 1
    assert "waits for a person" in error or "answered" in error


async def test_what_the_server_refuses_is_one_line_and_a_status(api: httpx.AsyncClient) -> None:
    for arguments, options, reason in (
        (("responses", "show", "resp_none"), {"url": api.base_url}, "(404 not_found)"),
        (("responses", "list"), {"url": api.base_url, "key": "wrong"}, "(401 invalid_api_key)"),
        (("responses", "list", "--tenant", "house"), {"url": api.base_url}, "(403 permission_denied)"),
        (("responses", "list"), {"url": "http://127.0.0.1:9"}, "does not answer"),
        (("responses", "list"), {"url": "nowhere"}, "is no address"),
    ):
        status, out, error = await run(*arguments, **options)  # type: ignore[arg-type]
        assert (status, out, len(error.splitlines())) == (1, "", 1), arguments
        assert reason in error, (arguments, error)


async def test_usage_is_shown_by_tenant(api: httpx.AsyncClient) -> None:
    status, out, error = await run("usage", "--by", "tenant", url=api.base_url)
    assert status == 0, error
    assert out.splitlines()[0].split()[:3] == ["tenant", "responses", "failed"]


@pytest.mark.campaign
async def test_an_operator_asks_for_health_and_refusals(api: httpx.AsyncClient) -> None:
    url, key = api.base_url, "cli-operator-key"
    status, out, error = await run("health", url=url, key=key)
    assert (status, error) == (0, "")
    assert "restart: safe, one process at a time" in out
    assert (await told("health", url=url, key=key))["restart"]["is_safe"]
    assert (await run("health", url=url))[0] == 1
    await api.get("/v1/responses", params={"limit": "x"}, headers=bearer("cli-key"))

    async def is_listed() -> bool:
        rows = await told("refusals", "--tenant", "cli", url=url, key=key)
        return ("cli", "invalid_value") in {(row["tenant"], row["code"]) for row in rows}

    await until(is_listed, 30)
    status, out, _ = await run("refusals", "--code", "invalid_value", "--hours", "1", url=url, key=key)
    assert (status, out.splitlines()[1].split()[1:4]) == (0, ["400", "invalid_value", "/v1/responses"])
    made = await told("keys", "create", "audited-cli", "--name", "of the audit", url=url, key=key)
    await told("keys", "create", "another", url=url, key=key)
    assert [row["key_id"] for row in await told("keys", "audit", made["id"], url=url, key=key)] == [made["id"]]
    line = (await run("keys", "audit", made["id"], url=url, key=key))[1].splitlines()[1]
    assert "of the audit" in line
    assert "house" in line
    assert "so far" not in (await run("responses", "list", "--slower-than", "999999", url=url, key=key))[1]


async def test_a_key_for_the_file_is_made_without_a_server() -> None:
    made = await told("keys", "add", "acme")
    assert tomllib.loads(made["toml"])["api_keys"][0]["tenant"] == "acme"
    assert made["key"] not in made["toml"]
    for name in ('a"b', "'a", "a'", "a\\b", "", "x" * 65):
        assert (await run("keys", "add", name))[0] == 2, name


@pytest.mark.campaign
async def test_keys_of_the_running_server_are_made_changed_and_revoked(api: httpx.AsyncClient) -> None:
    operator = {"key": "cli-operator-key", "url": api.base_url}

    async def status(key: str) -> int:
        return (await api.get("/v1/models", headers=bearer(key))).status_code

    limits = ("--limit", "requests_per_minute=60", "--limit", "budget_usd=2.5")
    created = await told("keys", "create", "cli-made", "--name", "of a test", "--models", "fake", *limits, **operator)
    assert (created["tenant"], created["models"], await status(created["key"])) == ("cli-made", ["fake"], 200)
    rest = ("--limit", "requests_per_minute=", "--expires-at", "4102444800")
    changed = await told("keys", "change", created["id"], *rest, **operator)
    assert (changed["limits"]["requests_per_minute"], changed["limits"]["budget_usd"]) == (None, 2.5)
    (row,) = await told("keys", "list", "--tenant", "cli-made", **operator)
    assert (row["id"], row["expires_at"], "key" in row) == (created["id"], 4102444800, False)

    async def state() -> str:
        _, out, _ = await run("keys", "list", "--tenant", "cli-made", **operator)
        return next(word for word in ("in force", "expired", "revoked") if word in out)

    assert await state() == "in force"
    await told("keys", "change", created["id"], "--expires-at", "1", **operator)
    assert (await state(), await status(created["key"])) == ("expired", 401)
    await told("keys", "revoke", created["id"], **operator)
    assert await state() == "revoked"
    made = [one for one in await told("keys", "audit", **operator) if one["key_id"] == created["id"]]
    assert [one["action"] for one in made] == ["revoked", "changed", "changed", "created"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("list",), "for operators"),
        (("create", "acme"), "for operators"),
        (("change", "key_0", "--name", "n"), "for operators"),
        (("change", "key_0"), "nothing to change"),
        (("revoke", "key_0"), "for operators"),
        (("audit",), "for operators"),
    ],
)
async def test_keys_are_for_operators(api: httpx.AsyncClient, arguments: tuple[str, ...], reason: str) -> None:
    status, out, error = await run("keys", *arguments, url=api.base_url)
    assert (status, out, len(error.splitlines())) == (1, "", 1)
    assert reason in error


@pytest.mark.campaign
async def test_check_names_what_is_wrong_part_by_part(stack: Stack, tmp_path: Any) -> None:
    status, out, error = await run("check", "--json", **stack.env)
    found = {one["part"]: one["problem"] for one in json.loads(out)}
    assert found.keys() >= {"configuration", "tools", "middleware", "adapters", "Temporal", "Redis"}, error
    # Routes of the suite lead to a provider whose key is not set, and to one that is away.
    failing = {part for part, problem in found.items() if problem}
    assert {part for part in failing if not part.startswith("provider ")} == {"key of keyed"}
    assert "provider down" in failing
    assert found["provider fake"] is None
    assert status == 1
    broken = tmp_path / "broken.toml"
    broken.write_text('[[tools]]\nname = "gone"\ntarget = "no_such_module:tool"\n')
    env = {
        "OPEN_RESPONSES_CONFIG": str(broken),
        "TEMPORAL_ADDRESS": "127.0.0.1:9",
        "REDIS_URL": "redis://127.0.0.1:9/0",
    }
    status, out, _ = await run("check", "--json", **env)
    assert status == 1
    problems = {one["part"]: one["problem"] for one in json.loads(out) if not one["ok"]}
    assert problems.keys() == {"tools", "Temporal", "Redis"}
    assert problems["Temporal"] == "cannot be reached at 127.0.0.1:9 (TEMPORAL_ADDRESS): connection refused"
    broken.write_text(
        '[[providers]]\nname = "away"\nadapter = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[[routes]]\nmodel = "m"\nprovider = "away"\n[web_search]\nbackend = "brave"\napi_key_env = "NO_SUCH_KEY"\n'
    )
    status, out, _ = await run("check", "--json", **env)
    found = {one["part"]: one["problem"] for one in json.loads(out)}
    assert found["provider away"].startswith("provider_unavailable: away cannot be reached")
    assert found["key of [web_search]"] == "NO_SUCH_KEY is not set: each search fails"
    broken.write_text('[[tools]]\nname = "gone"\ntarget = "no_such_module:tool"\n')
    assert "no_such_module" in problems["tools"]
    async with own_valkey(tmp_path, in_cluster_mode=True) as (cluster, _):
        status, out, _ = await run("check", "--json", **{**env, "REDIS_URL": cluster})
    found = {one["part"]: one["problem"] for one in json.loads(out)}
    assert found["Redis"].startswith("is a cluster")
    broken.write_text("[[tool]]")
    status, out, _ = await run("check", "--offline", **env)
    assert status == 1
    assert "tool" in out


async def test_this_server_meets_every_clause(api: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("Count from one to two hundred, in words.", Script(words=16, finish="length"))
    found = await told("conformance", str(api.base_url), "--model", "fake")
    assert [one for one in found["clauses"] if not one["ok"]] == []
    assert found["met"] == found["of"] >= 20


async def test_the_console_tries_the_clauses_that_the_command_does(api: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("Count from one to two hundred, in words.", Script(words=16, finish="length"))
    path, key = "/console/conformance", bearer("cli-key")
    clauses = (await api.get(path, headers=key)).json()["data"]
    answer = await api.post(path, json={"model": "fake"}, headers=key)
    tried = [json.loads(line) for line in answer.text.splitlines()]
    assert [one for one in tried if one["problem"] is not None] == []
    found = await told("conformance", str(api.base_url), "--model", "fake")
    names = [(one["id"], one["says"]) for one in found["clauses"]]
    assert [(one["id"], one["says"]) for one in clauses] == names
    assert [one["id"] for one in tried] == [id for id, _ in names]


async def test_the_console_tries_the_clauses_with_the_readers_key_alone(api: httpx.AsyncClient) -> None:
    path, key = "/console/conformance", bearer("cli-key")
    is_error(await api.post(path, json={"model": "fake"}), 401, "invalid_api_key")
    is_error(await api.post(path, json={"model": ""}, headers=key), 400, "invalid_value", "model")
    answer = await api.post(path, json={"model": "no such model"}, headers=key)
    problems = {one["id"]: one["problem"] for one in map(json.loads, answer.text.splitlines())}
    assert "no such model" in problems["RES-1"]
    assert problems["HTTP-1"] is None


async def test_a_server_that_meets_few_clauses_is_told_which(upstream: Upstream) -> None:
    """A chat server is no server of this API."""
    url = f"http://127.0.0.1:{upstream.port}"
    status, out, _ = await run("conformance", url, "--model", "fake", "--json")
    assert status == 1
    assert json.loads(out)["met"] < 5


@pytest.mark.parametrize(
    "command", ["", "responses", "responses list", "responses approve", "usage", "keys create", "check", "conformance"]
)
async def test_every_command_has_help(command: str) -> None:
    status, out, _ = await run(*command.split(), "--help")
    assert status == 0
    assert "usage: open_responses" in out


def test_texts_of_clients_do_not_reach_the_terminal_as_commands() -> None:
    assert plain("a\x1b[2Jb\nc") == "a [2Jb c"


def test_a_query_has_only_what_was_given() -> None:
    assert with_query("/v1/responses", {"status": None, "waiting": True, "model": "a b&c"}) == (
        "/v1/responses?waiting=true&model=a+b%26c"
    )
    with pytest.raises(CommandFailed, match="is no address"):
        Server.at("file:///etc/passwd", None)


@pytest.mark.campaign
async def test_webhooks_are_replayed_and_schedules_run_from_the_command_line(
    api: httpx.AsyncClient, receiver: WebhookReceiver
) -> None:
    url, path = api.base_url, receiver.answers("/cli", 410, 200)
    done = await made(api, webhook={"url": receiver.url("/cli"), "secret": "whsec_" + "A" * 44})
    found: list[Any] = []

    async def is_listed() -> bool:
        found[:] = await told("webhooks", "list", "--response", done["id"], "--status", "failed", url=url)
        return bool(found)

    await until(is_listed)
    status, out, _ = await run("webhooks", "replay", found[0]["id"], url=url)
    assert (status, found[0]["event_id"] in out) == (0, True)

    async def is_sent() -> bool:
        return len(path.requests) == 2

    await until(is_sent)
    request = {"request": {"model": "fake", "input": "hello"}, "cron": "@yearly", "name": "of the command line"}
    schedule = (await api.post("/v1/schedules", json=request, headers=bearer("cli-key"))).json()
    assert (await told("schedules", "pause", schedule["id"], url=url))["status"] == "paused"
    assert (await told("schedules", "resume", schedule["id"], url=url))["status"] == "active"
    assert (await run("schedules", "trigger", schedule["id"], url=url))[0] == 0

    async def has_ended() -> bool:
        runs = await told("schedules", "runs", schedule["id"], url=url)
        return any(run["status"] == "ended" for run in runs)

    await until(has_ended)
    assert "@yearly UTC" in (await run("schedules", "list", url=url))[1]
    assert (await told("schedules", "delete", schedule["id"], url=url))["deleted"] is True
    status, _, error = await run("webhooks", "test", "whe_unknown", url=url)
    assert (status, "not_found" in error) == (1, True)
