"""The configuration file is read again while the server runs, and a broken one changes nothing."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Stack, events_of, until

FIRST, SECOND = key_block("first", "reload-first", 'scopes = ["admin"]'), key_block("second", "reload-second")


@dataclass
class Reloading:
    """An API with a configuration file of its own."""

    api: httpx.AsyncClient
    stack: Stack
    name: str
    file: Path

    @property
    def log(self) -> str:
        return (self.stack.data / "logs" / f"{self.name}.log").read_text()

    async def status(self, key: str, path: str = "/v1/models") -> int:
        return (await self.api.get(path, headers=bearer(key))).status_code

    async def until_status(self, key: str, wanted: int, path: str = "/v1/models") -> None:
        async def has_it() -> bool:
            return await self.status(key, path) == wanted

        await until(has_it)


@pytest_asyncio.fixture
async def reloading(stack: Stack) -> AsyncIterator[Reloading]:
    async with keyed_api(stack, FIRST) as api:
        name = f"api-{api.base_url.port}"
        yield Reloading(api, stack, name, stack.data / f"{name}.toml")


async def test_a_changed_file_is_in_force_without_a_restart(reloading: Reloading) -> None:
    whole = reloading.file.read_text()
    assert await reloading.status("reload-second") == 401
    reloading.file.write_text(f'{whole}\n{SECOND}\n[[routes]]\nmodel = "new-model"\nprovider = "fake"\n')
    await reloading.until_status("reload-second", 200)
    await reloading.until_status("reload-first", 200, "/v1/models/new-model")
    reloading.file.write_text(whole)
    await reloading.until_status("reload-second", 401)
    assert await reloading.status("reload-first") == 200
    assert "configuration_reloaded" in reloading.log
    assert "route 'new-model' added" in reloading.log


@pytest.mark.campaign
async def test_a_broken_file_changes_nothing_and_one_line_says_what_is_wrong(reloading: Reloading) -> None:
    whole = reloading.file.read_text()

    async def error() -> Any:
        health = await reloading.api.get("/v1/admin/health", headers=bearer("reload-first"))
        return health.json()["configuration"]["error"]

    async def is_reported() -> bool:
        return await error() is not None

    async def is_gone() -> bool:
        return await error() is None

    broken = f'{whole}\n[[routes]]\nmodel = "x"\nprovider = "nobody"\n{SECOND}\n'
    reloading.file.write_text(broken)
    await until(is_reported)
    assert "nobody" in await error()
    ready = (await reloading.api.get("/readyz")).json()
    assert ready["status"] == "ready", "the old configuration serves"
    assert "refused" in ready["configuration"]
    assert "nobody" not in ready["configuration"], "anybody may ask, and the reason may name a tenant"
    assert [await reloading.status(key) for key in ("reload-first", "reload-second")] == [200, 401]
    scraped = (await reloading.api.get("/metrics", headers=bearer("reload-first"))).text
    assert "open_responses_configuration_in_force 0" in scraped
    lines = [line for line in reloading.log.splitlines() if "configuration_refused" in line]
    assert len(lines) == 1
    assert reloading.file.name in lines[0]
    reloading.file.write_text(whole)
    await until(is_gone)


@pytest.mark.campaign
async def test_the_last_key_cannot_be_taken_away_while_the_server_runs(reloading: Reloading) -> None:
    reloading.file.write_text(reloading.file.read_text().replace(FIRST, ""))

    async def is_refused() -> bool:
        return "configuration_refused" in reloading.log

    await until(is_refused)
    assert (await reloading.api.get("/v1/models")).status_code == 401
    assert await reloading.status("reload-first") == 200


async def test_a_hangup_reads_the_file_at_once(reloading: Reloading) -> None:
    reloading.file.write_text(f"{reloading.file.read_text()}\n{SECOND}")
    reloading.stack.signal(reloading.name, signal.SIGHUP)
    await reloading.until_status("reload-second", 200)


@pytest.mark.campaign
async def test_prices_of_a_provider_are_those_of_the_file_that_is_in_force(reloading: Reloading) -> None:
    """A key with a budget in dollars may use models with a known price alone."""
    reloading.file.write_text(
        f"{reloading.file.read_text()}\n{key_block('paying', 'reload-paying', 'budget_usd = 100')}\n"
        '[[routes]]\nmodel = "gpt-of-the-house"\nprovider = "fake"\nupstream_model = "gpt-5"\n'
    )
    await reloading.until_status("reload-paying", 200, "/v1/models/gpt-of-the-house")
    body = {"model": "gpt-of-the-house", "input": "how dear"}
    refused = await reloading.api.post("/v1/responses", json=body, headers=bearer("reload-paying"))
    is_error(refused, 403, "permission_denied", "model")
    listed = reloading.file.read_text().replace('name = "fake"\n', 'name = "fake"\nprice_list = "openai"\n', 1)
    reloading.file.write_text(listed)

    async def is_admitted() -> bool:
        answer = await reloading.api.post("/v1/responses", json=body, headers=bearer("reload-paying"))
        return answer.status_code == 200

    await until(is_admitted)


@pytest.mark.campaign
async def test_a_stream_that_is_open_goes_on_through_a_reload(reloading: Reloading, upstream: Upstream) -> None:
    script = upstream.says("through a reload", Script(words=30, hold_after=3))
    api = reloading.api
    api.headers.update(bearer("reload-first"))
    events = events_of(api, {"input": "through a reload"})
    seen = [await anext(events)]
    reloading.file.write_text(f"{reloading.file.read_text()}\n{SECOND}")
    await reloading.until_status("reload-second", 200)
    script.released.set()
    seen += [event async for event in events]
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    assert seen[-1]["type"] == "response.completed"
