"""`make providers`, as an operator meets it: one line for each provider, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dev.providers import main
from dev.services import free_port
from open_responses.contracts import ListedModel
from open_responses.errors import ProviderRejected
from tests.support.provider_wire import Answer, Wire, refusal, sse

KEY = "sk-hush-0123456789"
MODELS: dict[str, Any] = {"object": "list", "data": [{"id": f"model-{n}", "object": "model"} for n in range(5)]}
GEMINI: dict[str, Any] = {"models": [{"name": "models/gemini-2.5-flash"}, {"name": "models/gemini-2.5-pro"}]}
OLLAMA: dict[str, Any] = {"models": [{"name": "qwen3:8b", "model": "qwen3:8b"}]}


@dataclass(frozen=True)
class Told:
    code: int
    output: str
    errors: str

    def line(self, name: str) -> str:
        (found,) = [line for line in self.output.splitlines() if line.split(" ")[0] == name]
        return found


def answer(body: Any, status: int = 200) -> Answer:
    return refusal(status, body)


def provider(name: str, adapter: str, url: str, *more: str) -> str:
    return "\n".join(["[[providers]]", f'name = "{name}"', f'adapter = "{adapter}"', f'base_url = "{url}"', *more, ""])


def route(model: str, to: str, *more: str) -> str:
    return "\n".join(["[[routes]]", f'model = "{model}"', f'provider = "{to}"', *more, ""])


class Command:
    """The command, with a configuration and this environment, and no other keys."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._file, self._monkeypatch, self._capsys = folder / "config.toml", monkeypatch, capsys
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPEN_RESPONSES_LOCAL_MODEL_URL"):
            monkeypatch.delenv(name, raising=False)

    async def __call__(self, config: str, *arguments: str, **environment: str) -> Told:
        self._file.write_text(config)
        self._monkeypatch.setenv("OPEN_RESPONSES_CONFIG", str(self._file))
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)
        code = await asyncio.to_thread(main, arguments)
        output, errors = self._capsys.readouterr()
        assert KEY not in output + errors
        return Told(code, output, errors)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, monkeypatch, capsys)


def at(wire: Wire, path: str = "") -> str:
    return f"http://127.0.0.1:{wire.port}{path}"


async def test_each_adapters_models_are_listed(told: Command) -> None:
    async with Wire(answer(MODELS)) as lists, Wire(answer(GEMINI)) as gemini, Wire(answer(OLLAMA)) as ollama:
        config = "".join(
            [
                provider("mine", "openai", at(lists, "/v1"), 'api_key_env = "A_KEY"'),
                provider("chat", "openai-chat", at(lists, "/v1/"), 'api_key_env = "A_KEY"'),
                provider("claude", "anthropic", at(lists), 'api_key_env = "A_KEY"'),
                provider("google", "gemini", at(gemini), 'api_key_env = "A_KEY"'),
                provider("pulled", "ollama", at(ollama)),
            ]
        )
        said = await told(config, A_KEY=KEY)
    assert said.code == 0, said
    for name in ("mine", "chat", "claude"):
        assert "A_KEY set" in said.line(name)
        assert "HTTP 200" in said.line(name)
        assert "5: model-0, model-1, model-2, …" in said.line(name)
        assert said.line(name).split()[-1].isdigit()
    assert "2: gemini-2.5-flash, gemini-2.5-pro" in said.line("google")
    assert "1: qwen3:8b" in said.line("pulled")
    assert sorted(request.path.partition("?")[0] for request in lists.requests) == ["/v1/models"] * 3
    sent = [request.headers for request in lists.requests]
    assert sorted(headers.get("authorization", headers.get("x-api-key")) or "" for headers in sent) == [
        f"Bearer {KEY}",
        f"Bearer {KEY}",
        KEY,
    ]
    assert gemini.requests[0].path.startswith("/v1beta/models")
    assert gemini.requests[0].headers["x-goog-api-key"] == KEY
    assert ollama.requests[0].path == "/api/tags"


async def test_a_provider_that_is_down_is_said_in_words(told: Command) -> None:
    async with Wire(answer(MODELS)) as wire:
        down = f"http://127.0.0.1:{free_port()}/v1"
        config = provider("down", "openai-chat", down) + provider("up", "openai-chat", at(wire, "/v1"))
        config += provider("nowhere", "openai-chat", "http://no-such-host.invalid/v1")
        said = await told(config)
    assert said.code == 1
    assert "connection refused" in said.line("down")
    assert "no such host" in said.line("nowhere")
    assert "HTTP 200" in said.line("up")


async def test_a_refused_key_is_named_by_its_variable_and_never_shown(told: Command) -> None:
    body = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}
    async with Wire(answer(body, 401)) as wire:
        config = provider("mine", "openai-chat", at(wire, "/v1"), 'api_key_env = "A_KEY"') + route("m", "mine")
        said = await told(config, "--sample", A_KEY=KEY)
    assert said.code == 1
    assert "HTTP 401: the key is refused" in said.line("mine")
    assert "A_KEY set" in said.line("mine")
    assert "provider_authentication" in said.line("m")


async def test_what_a_server_repeats_of_a_key_or_paints_is_not_shown(told: Command) -> None:
    listed = {"data": [{"id": f"echo-{KEY}"}, {"id": "red\x1b[31m"}]}
    async with Wire(answer(listed)) as wire:
        secret = f"http://user:{KEY}@127.0.0.1:{wire.port}/v1?key={KEY}"
        config = provider("mine", "openai-chat", at(wire, "/v1"), 'api_key_env = "A_KEY"')
        config += provider("odd", "openai-chat", secret) + provider("bad", "anthropic", "http://[1/v1")
        said = await told(config, A_KEY=KEY)
    assert "echo-…" in said.line("mine")
    assert "\x1b" not in said.output
    assert "user" not in said.output
    assert at(wire, "/v1") in said.line("odd")
    assert said.line("bad")


async def test_built_in_providers_without_a_key_are_not_called(told: Command) -> None:
    said = await told("")
    for name in ("openai", "anthropic", "gemini"):
        assert "no key" in said.line(name)
        assert f"{name.upper()}_API_KEY not set" in said.line(name)
    assert said.code == 0


async def test_a_configured_provider_without_its_key_is_called_without_one(told: Command) -> None:
    async with Wire(answer({}, 401)) as wire:
        said = await told(provider("mine", "openai-chat", at(wire, "/v1"), 'api_key_env = "A_KEY"'))
    assert "A_KEY not set" in said.line("mine")
    assert "HTTP 401: it wants a key" in said.line("mine")
    assert "authorization" not in wire.requests[0].headers
    assert said.code == 0


@pytest.mark.parametrize(
    ("given", "words", "code"),
    [
        (answer({"detail": "Not Found"}, 404), "is base_url right?", 0),
        (answer({}, 429), "HTTP 429", 0),
        (answer({}, 503), "HTTP 503: service unavailable", 1),
        (answer({}, 302), "HTTP 302: found", 1),
        (Answer(b"<html>", content_type="text/html"), "HTTP 200, but no list of models", 1),
        (answer({"hello": "world"}), "HTTP 200, but no list of models", 1),
        (answer([{"id": "m1"}]), "1: m1", 0),
        (answer({"data": []}), "HTTP 200", 0),
        (Answer(b"{", breaks=True), "the connection failed", 1),
    ],
)
async def test_other_answers(told: Command, given: Answer, words: str, code: int) -> None:
    async with Wire(given) as wire:
        said = await told(provider("mine", "openai-chat", at(wire, "/v1")))
    assert words in said.line("mine")
    assert said.code == code


@pytest.mark.campaign
async def test_all_are_called_at_once_and_none_is_waited_for_forever(told: Command) -> None:
    async with Wire(Answer(b"{", stalls=True)) as wire:
        config = "".join(provider(f"silent-{n}", "openai-chat", at(wire, "/v1")) for n in range(8))
        began = asyncio.get_running_loop().time()
        said = await told(config)
        seconds = asyncio.get_running_loop().time() - began
    assert said.output.count("no answer in 10 s") == 8
    assert seconds < 30
    assert said.code == 1


async def test_an_adapter_of_your_own_is_there_if_its_address_answers(told: Command) -> None:
    async with Wire(answer({}, 404)) as wire:
        url = at(wire)
        config = provider("own", "examples.custom_provider:Adapter", url, 'api_key_env = "A_KEY"')
        said = await told(config, A_KEY=KEY)
    assert "HTTP 404" in said.line("own")
    assert "—" in said.line("own")
    assert KEY not in json.dumps(wire.requests[0].headers)
    assert said.code == 0


class Listing:
    """An adapter that lists by itself, without our HTTP client."""

    def __init__(self, *_: object) -> None: ...

    async def list_models(self) -> list[ListedModel]:
        return [ListedModel("m2"), ListedModel("m1")]


class Refusing(Listing):
    async def list_models(self) -> list[ListedModel]:
        raise ProviderRejected(f"not with {KEY}")


async def test_an_adapter_of_your_own_may_list_its_models(told: Command) -> None:
    config = provider("own", "tests.dev.test_providers_command:Listing", "http://127.0.0.1:1")
    config += provider(
        "not", "tests.dev.test_providers_command:Refusing", "http://127.0.0.1:1", 'api_key_env = "A_KEY"'
    )
    said = await told(config, A_KEY=KEY)
    assert "2: m1, m2" in said.line("own")
    assert "not with …" in said.line("not")
    assert said.code == 1


async def test_a_sample_is_asked_of_each_route_that_names_one_model(told: Command) -> None:
    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
        return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}

    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    spoken = sse(chunk({"content": "Hello"}), chunk({"content": " there"}), chunk({}, "stop", usage=usage), done=True)
    async with Wire(spoken) as wire:
        config = provider("mine", "openai-chat", at(wire, "/v1"), 'api_key_env = "A_KEY"')
        config += provider("keyless", "openai-chat", at(wire, "/v1"), 'api_key_env = "ANOTHER_KEY"')
        config += route("exact", "mine", 'upstream_model = "model-1"') + route("wide-*", "mine")
        config += route("wide-1", "mine") + route("unpaid", "keyless")
        said = await told(config, "--sample", A_KEY=KEY)
    assert '"Hello there" (2 tokens, stop)' in said.line("exact")
    assert "no key" in said.line("unpaid")
    assert "wide" not in said.output
    (asked,) = [request.json for request in wire.requests if request.method == "POST"]
    assert asked["model"] == "model-1"
    assert 16 in asked.values()


async def test_a_broken_configuration_is_one_line(told: Command) -> None:
    for config, words in (
        ('[[routes]]\nmodel = "x"\nprovidr = "y"\n', "config.toml"),
        ("[[providers", "config.toml"),
        (provider("own", "no_such_module:Adapter", "http://127.0.0.1:1"), "no_such_module"),
    ):
        said = await told(config)
        assert said.code == 2
        assert said.output == ""
        assert len(said.errors.splitlines()) == 1, said.errors
        assert words in said.errors


def test_it_is_a_command(tmp_path: Path) -> None:
    environ = {**os.environ, "OPEN_RESPONSES_CONFIG": str(tmp_path / "none.toml")}
    done = subprocess.run(
        [sys.executable, "-m", "dev.providers"], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "no such file" in done.stderr


async def test_the_local_model_of_make_dev_is_listed_where_the_file_has_no_providers(told: Command) -> None:
    """`make providers` is another process than those of `make dev`, and knows no address from them."""
    async with Wire(answer({"object": "list", "data": [{"id": "smollm2", "object": "model"}]})) as model:
        said = await told("", OPEN_RESPONSES_LLAMA_PORT=str(model.port))
        assert said.code == 0
        assert "smollm2" in said.line("local")
        assert "HTTP 200" in said.line("local")
    said = await told("", OPEN_RESPONSES_LLAMA_PORT=str(free_port()))
    assert said.code == 0
    assert "connection refused: start `make dev`" in said.line("local")
