"""`make dev`: everything that a response needs, on loopback, with real parts."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import os
import secrets
import shutil
import signal
import sys
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from dev import services
from dev.services import Missing, Service
from dev.settings import DevSettings
from dev.supervisor import Part, StartFailed, Supervisor, new_worker_id
from open_responses.io.ports import is_taken
from open_responses.io.redis.leases import announce_death
from open_responses.io.settings import LOCAL_MODEL, ConfigError, Settings, check_names, load_config


def main() -> int:
    """Exit code 0 after Ctrl-C, 1 with one line for what keeps it from starting."""
    argparse.ArgumentParser(
        prog="make dev",
        description="Start Temporal, Valkey, a local model, the worker and the API on loopback; restart what dies.",
        epilog="It has no options. Ports, folders and the number of workers are environment variables: "
        "docs/configuration.md.",
    ).parse_args()
    try:
        check_names(os.environ, DevSettings, Settings)
        settings = DevSettings()
        config = load_config(settings.config_path)
        local_model = not config.providers
        _check_ports(settings, local_model=local_model)
        named = next((route.model for route in config.routes if not set(route.model) & set("*?[")), "MODEL")
        welcome = _welcome(
            settings, local_model=local_model, model=LOCAL_MODEL if local_model else named, is_open=not config.api_keys
        )
        return asyncio.run(_run(settings, welcome, local_model=local_model, has_keys=bool(config.api_keys)))
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]).upper().removeprefix("OPEN_RESPONSES_")
        return _fail(f"OPEN_RESPONSES_{name}: {problem['msg']}")
    except (ConfigError, Missing, StartFailed) as error:
        return _fail(str(error))


async def _run(settings: DevSettings, welcome: str, *, local_model: bool, has_keys: bool) -> int:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    stages = _stages(settings, local_model=local_model, has_keys=has_keys)
    supervisor = Supervisor(stages, settings.data_dir, _say)
    try:
        starting = asyncio.create_task(supervisor.start())
        interrupted = asyncio.create_task(stopping.wait())
        await asyncio.wait({starting, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            _say(welcome)
            await supervisor.watch(stopping)
        starting.cancel()
        _say("stopping …")
    finally:
        await supervisor.stop()
    return 0


def _stages(settings: DevSettings, *, local_model: bool, has_keys: bool) -> list[list[Part]]:
    data = settings.data_dir
    redis_url = f"redis://127.0.0.1:{settings.valkey_port}/0"
    env = {
        "TEMPORAL_ADDRESS": f"127.0.0.1:{settings.temporal_port}",
        "REDIS_URL": redis_url,
        "OPEN_RESPONSES_CONFIG": settings.config_path,
        "OPEN_RESPONSES_TEMPORAL_UI_URL": f"http://127.0.0.1:{settings.temporal_ui_port}",
        "OPEN_RESPONSES_REWRITE_REDIS_LOG": "1",
    }
    # What killed workers of an earlier `make dev` have left.
    shutil.rmtree(data / "ready", ignore_errors=True)
    codec, token = codec_endpoint(settings.api_port, has_keys=has_keys)
    if token is not None:
        env["OPEN_RESPONSES_CODEC_TOKEN"] = token
    servers = [
        Part(lambda: services.valkey(settings.valkey_port, data)),
        Part(lambda: services.temporal(settings.temporal_port, data, ui_port=settings.temporal_ui_port, codec=codec)),
    ]
    if local_model:
        env["OPEN_RESPONSES_LOCAL_MODEL_URL"] = f"http://127.0.0.1:{settings.llama_port}/v1"
        servers.append(Part(lambda: services.llama(settings.llama_port)))

    async def announce(dead: Service) -> None:
        with contextlib.suppress(ConnectionError):
            await announce_death(redis_url, dead.env["OPEN_RESPONSES_WORKER_ID"])

    metrics = settings.worker_metrics_port
    standby = None
    worker_env = env
    if settings.standby:
        worker_env = {**env, "OPEN_RESPONSES_ACTIVE_WORKERS": str(settings.workers)}

        def make_standby() -> Service:
            worker_id = new_worker_id(settings.workers)
            return services.standby(worker_id, worker_env, metrics_port=metrics, ready_file=data / "ready" / worker_id)

        standby = Part(make_standby, announce, is_spare=True)

    def make_worker(index: int) -> Service:
        worker_id = new_worker_id(index)
        # With a standby, each process takes the first port that is free.
        port = metrics if settings.standby else metrics + index
        return services.worker(index, worker_id, worker_env, metrics_port=port, ready_file=data / "ready" / worker_id)

    workers = [
        Part(functools.partial(make_worker, index), announce, spare=standby) for index in range(settings.workers)
    ]
    # Kept open by us, so that a restart of the API refuses no connection.
    listener = services.listen(settings.api_port)
    api_env = {**env, "OPEN_RESPONSES_DEV_PID_DIR": str(data / "pids")}
    api = Part(lambda: services.api(settings.api_port, api_env, listener=listener, with_workers=False))
    # A standby that starts would hold up what a newcomer waits for.
    return [servers, [*workers, api], [] if standby is None else [standby]]


def codec_endpoint(api_port: int, *, has_keys: bool) -> tuple[str, str | None]:
    """Where Temporal's UI has payloads decoded, and the codec's token: yours, or a new one if there are API keys.

    The UI sends no header, so the token is in the path. Without keys, the API decodes for this machine without one.
    """
    url = f"http://127.0.0.1:{api_port}/codec"
    token = os.environ.get("OPEN_RESPONSES_CODEC_TOKEN") or (secrets.token_urlsafe(24) if has_keys else None)
    return (url, None) if token is None else (f"{url}/{quote(token, safe='')}", token)


def _check_ports(settings: DevSettings, *, local_model: bool) -> None:
    wanted = {
        "API": (settings.api_port, "OPEN_RESPONSES_API_PORT"),
        "Temporal": (settings.temporal_port, "OPEN_RESPONSES_TEMPORAL_PORT"),
        "Temporal UI": (settings.temporal_ui_port, "OPEN_RESPONSES_TEMPORAL_UI_PORT"),
        "Valkey": (settings.valkey_port, "OPEN_RESPONSES_VALKEY_PORT"),
    }
    if local_model:
        wanted["local model"] = (settings.llama_port, "OPEN_RESPONSES_LLAMA_PORT")
    for index in range(settings.workers):
        wanted[f"worker {index} metrics"] = (
            settings.worker_metrics_port + index,
            "OPEN_RESPONSES_WORKER_METRICS_PORT",
        )
    for name, (port, variable) in wanted.items():
        if is_taken(port):
            raise StartFailed(f"Port {port} for {name} is taken; choose another with {variable}.")


def _welcome(settings: DevSettings, *, local_model: bool, model: str, is_open: bool) -> str:
    api = f"http://127.0.0.1:{settings.api_port}"
    key = "" if is_open else " -H 'Authorization: Bearer YOUR_KEY'"
    lines = [
        "",
        f"Console      {api}/",
        f"API          {api}/v1",
        f"Temporal UI  http://127.0.0.1:{settings.temporal_ui_port}",
        f"Temporal     127.0.0.1:{settings.temporal_port}",
        f"Valkey       127.0.0.1:{settings.valkey_port}",
        *([f"Local model  http://127.0.0.1:{settings.llama_port}/v1"] if local_model else []),
        f"Metrics      {api}/metrics and http://127.0.0.1:{settings.worker_metrics_port}/metrics",
        f"Logs         {settings.data_dir / 'logs'}",
        *(["Access       no API keys: this machine only (docs/tenants.md)"] if is_open else []),
        "",
        "Try it:",
        f"  curl -s {api}/v1/responses -H 'Content-Type: application/json'{key} \\",
        f'''    -d '{{"model": "{model}", "input": "Tell me a story about a river.", "max_output_tokens": 60}}' \\''',
        """    | python3 -c 'import json, sys; print(json.load(sys.stdin)["output"][0]["content"][0]["text"])'""",
        "",
        "Ctrl-C stops everything.",
    ]
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, flush=True)


def _fail(line: str) -> int:
    print(f"dev: {line}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    assert Path("worker.py").exists(), "run from the project's root"
    sys.exit(main())
