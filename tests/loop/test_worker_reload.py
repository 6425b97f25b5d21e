"""Workers put a changed configuration file into force without a restart, and keep what they have if it is broken."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from activities.middleware_loader import load_middleware
from activities.providers.registry import build_providers
from activities.reload import Loaded, WorkerReload
from activities.tools.registry import load_tools
from open_responses.io.settings import Settings
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import create
from tests.support.scripts import HOSTED, outputs, script
from tests.support.stack import Stack, until

ADDED = """
[[providers]]
name = "added"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{port}/v1"
[[routes]]
model = "added-model"
provider = "added"
[[tools]]
name = "added_tool"
target = "tests.support.hosted_tools:get_weather"
"""


@pytest_asyncio.fixture
async def file(stack: Stack, client: httpx.AsyncClient) -> AsyncIterator[Path]:
    """The file of all processes of the stack, which is as it was at the end."""
    file = stack.data / "open_responses.toml"
    whole = file.read_text()
    yield file
    file.write_text(whole)
    await until_model(client, 404)


async def until_model(client: httpx.AsyncClient, wanted: int) -> None:
    async def has_it() -> bool:
        return (await client.get("/v1/models/added-model")).status_code == wanted

    await until(has_it)


async def test_a_new_provider_model_and_tool_work_without_a_restart(
    client: httpx.AsyncClient, upstream: Upstream, file: Path
) -> None:
    file.write_text(file.read_text() + ADDED.format(port=upstream.port))
    await until_model(client, 200)
    script(upstream, "call what was added", calls(("c", "added_tool", {"city": "Bern"})), Script(words=3))
    response = await create(client, model="added-model", input="call what was added", tools=HOSTED)
    assert response["status"] == "completed"
    (output,) = outputs(response)
    assert "Bern" in output


async def test_a_new_provider_has_its_prices_without_a_restart(
    client: httpx.AsyncClient, upstream: Upstream, file: Path
) -> None:
    listed = ADDED.replace('"openai-chat"\n', '"openai-chat"\nprice_list = "openai"\n')
    listed = listed.replace('provider = "added"\n', 'provider = "added"\nupstream_model = "gpt-5"\n')
    file.write_text(file.read_text() + listed.format(port=upstream.port))
    await until_model(client, 200)
    body = {"model": "added-model", "input": "how dear is what was added", "include": ["open_responses.cost"]}
    response = (await client.post("/v1/responses", json=body)).json()
    assert response["usage"]["cost_usd"], response


@pytest.mark.campaign
async def test_a_response_that_runs_goes_on_when_its_provider_is_taken_away(
    client: httpx.AsyncClient, upstream: Upstream, file: Path
) -> None:
    whole = file.read_text()
    file.write_text(whole + ADDED.format(port=upstream.port))
    await until_model(client, 200)
    held = upstream.says("on its way", Script(words=5, hold_after=2))
    body = {"model": "added-model", "input": "on its way", "background": True}
    begun = (await client.post("/v1/responses", json=body)).json()
    await held.held.wait()
    file.write_text(whole)
    await until_model(client, 404)
    held.released.set()

    async def has_ended() -> bool:
        return (await client.get(f"/v1/responses/{begun['id']}")).json()["status"] == "completed"

    await until(has_ended)


# --- one reload, without a worker


@pytest_asyncio.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as http:
        yield http


class Reloading:
    """A reload of a file, and what was put into force."""

    def __init__(self, file: Path, http: httpx.AsyncClient, environ: Mapping[str, str]) -> None:
        self.file = file
        self.put: list[Loaded] = []
        settings = Settings()
        config = settings.config
        self.first = Loaded(config, load_tools(config), load_middleware(config), build_providers(config, http, environ))
        self.reload = WorkerReload(settings, self.first, http, environ, self.put.append).reload


TOOL = '[[tools]]\nname = "kept"\ntarget = "tests.support.hosted_tools:get_weather"\n'
MIDDLEWARE = (
    '[[middleware]]\ntarget = "open_responses.middleware.token_budget:TokenBudget"\noptions = {per_response = 5}\n'
)


@pytest.fixture
def reloading(tmp_path: Path, http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> Reloading:
    file = tmp_path / "open_responses.toml"
    file.write_text(TOOL + MIDDLEWARE)
    monkeypatch.setenv("OPEN_RESPONSES_CONFIG", str(file))
    return Reloading(file, http, os.environ)


async def test_what_has_not_changed_stays_the_same_object(reloading: Reloading) -> None:
    reloading.file.write_text('[[routes]]\nmodel = "x"\nprovider = "ollama"\n' + TOOL + MIDDLEWARE)
    await reloading.reload()
    (loaded,) = reloading.put
    assert loaded.config.route("x") is not None
    assert loaded.tools["kept"] is reloading.first.tools["kept"]
    assert loaded.middleware is reloading.first.middleware
    assert loaded.providers["ollama"] is reloading.first.providers["ollama"]


async def test_what_has_changed_is_made_anew(reloading: Reloading) -> None:
    provider = '[[providers]]\nname = "ollama"\nadapter = "ollama"\nbase_url = "http://127.0.0.1:1"\n'
    reloading.file.write_text(provider + TOOL.replace("kept", "another"))
    await reloading.reload()
    (loaded,) = reloading.put
    assert (list(loaded.tools), list(loaded.middleware)) == (["another"], [])
    assert loaded.providers["ollama"] is not reloading.first.providers["ollama"]
    assert loaded.providers["openai"] is reloading.first.providers["openai"]


@pytest.mark.parametrize(
    "broken",
    [
        "not TOML",
        "max_turns = 0",
        TOOL.replace("get_weather", "nothing_there"),
        TOOL.replace("tests.support.hosted_tools", "a_module_that_breaks"),
        MIDDLEWARE.replace("per_response", "per_nothing"),
        '[[providers]]\nname = "x"\nadapter = "nowhere:Adapter"\nbase_url = "http://x"\n',
    ],
)
async def test_a_file_that_cannot_be_used_changes_nothing(
    reloading: Reloading, broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_module_that_breaks.py").write_text("raise RuntimeError('as it was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    reloading.file.write_text(broken)
    await reloading.reload()
    assert reloading.put == []
    reloading.file.write_text(TOOL)
    await reloading.reload()
    assert [list(loaded.tools) for loaded in reloading.put] == [["kept"]]
