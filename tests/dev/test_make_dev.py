"""`make dev`, as a newcomer meets it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from dev.__main__ import codec_endpoint
from dev.services import free_port

PORTS = ("API", "TEMPORAL", "TEMPORAL_UI", "VALKEY", "LLAMA", "WORKER_METRICS")


def environment(folder: Path, **changes: str) -> dict[str, str]:
    ports = {f"OPEN_RESPONSES_{name}_PORT": str(free_port()) for name in PORTS}
    return {**os.environ, **ports, "OPEN_RESPONSES_DATA_DIR": str(folder / "data"), **changes}


def refused(env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dev"], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


def test_a_taken_port_is_named_in_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        said = refused(environment(tmp_path, OPEN_RESPONSES_VALKEY_PORT=port))
    assert port in said
    assert "OPEN_RESPONSES_VALKEY_PORT" in said


@pytest.mark.campaign
def test_a_bad_configuration_is_named_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('[[routes]]\nmodel = "x"\nprovidr = "y"\n')
    said = refused(environment(tmp_path, OPEN_RESPONSES_CONFIG=str(config)))
    assert "bad.toml" in said
    assert "providr" in said or "provider" in said
    assert "no such file" in refused(environment(tmp_path, OPEN_RESPONSES_CONFIG=str(tmp_path / "none.toml")))
    assert "OPEN_RESPONSES_API_PORT" in refused(environment(tmp_path, OPEN_RESPONSES_API_PORT="eighty"))


def test_temporals_ui_has_the_codecs_token_in_its_address_if_there_are_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPEN_RESPONSES_CODEC_TOKEN", raising=False)
    assert codec_endpoint(8080, has_keys=False) == ("http://127.0.0.1:8080/codec", None)
    url, token = codec_endpoint(8080, has_keys=True)
    assert token is not None
    assert len(token) >= 16
    assert url == f"http://127.0.0.1:8080/codec/{token}"
    assert codec_endpoint(8080, has_keys=True)[1] != token
    monkeypatch.setenv("OPEN_RESPONSES_CODEC_TOKEN", "an operator's/token")
    url, token = codec_endpoint(8080, has_keys=True)
    assert url == "http://127.0.0.1:8080/codec/an%20operator%27s%2Ftoken"
    assert token == "an operator's/token"


@pytest.mark.campaign
async def test_a_tool_that_cannot_be_imported_ends_the_start_at_once_and_is_named(tmp_path: Path) -> None:
    config = tmp_path / "tools.toml"
    config.write_text(
        '[[providers]]\nname = "mine"\nadapter = "openai"\nbase_url = "http://127.0.0.1:9"\n'
        '[[tools]]\nname = "get_time"\ntarget = "no_such_package.tools:get_time"\n'
    )
    env = environment(tmp_path, OPEN_RESPONSES_CONFIG=str(config))
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "dev"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "worker-0 ended before it was ready (exit code 1)" in done.stderr
    assert "no_such_package" in done.stderr


@pytest.mark.campaign
async def test_a_process_that_dies_is_restarted_and_ctrl_c_leaves_none_behind(tmp_path: Path) -> None:
    env = environment(tmp_path)
    output = tmp_path / "output"
    with output.open("wb") as log:
        dev = subprocess.Popen([sys.executable, "-m", "dev"], env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        await said(output, dev, "Ctrl-C stops everything")
        standby = tmp_path / "data" / "logs" / "standby.log"
        await until(lambda: "worker_stands_by" in standby.read_text())
        for name in ("worker-0", "api", "valkey"):
            pid_file = tmp_path / "data" / "pids" / f"{name}.pid"
            before = pid_file.read_text()
            os.kill(int(before), signal.SIGKILL)
            await said(output, dev, f"{name:<10} died (signal 9); restarting")
            await said(output, dev, f"{name:<10} ready again")
            await until(lambda file=pid_file, old=before: file.read_text() not in ("", old))  # type: ignore[misc]
        # No start of a process lies between a worker's death and the next one's work.
        await until(lambda: "worker_takes_a_place" in standby.read_text())
        url = f"http://127.0.0.1:{env['OPEN_RESPONSES_API_PORT']}/readyz"
        await until(lambda: answers(url))
        pids = [int(file.read_text()) for file in (tmp_path / "data" / "pids").glob("*.pid")]
        assert len(pids) == 5
    finally:
        dev.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(dev.wait, 40) == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def said(output: Path, dev: subprocess.Popen[bytes], line: str) -> None:
    await until(lambda: line in output.read_text() or dev.poll() is not None)
    assert line in output.read_text(), output.read_text()


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


async def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.05)
