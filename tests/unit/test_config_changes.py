"""What a reload of the configuration changes, in words, and when the file is read again."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from open_responses.config import Config
from open_responses.io.config_changes import changes_between
from open_responses.io.config_watch import ConfigWatch
from open_responses.io.settings import Settings

HASH = "a" * 64
ROUTES = [{"model": "a", "provider": "openai"}, {"model": "b", "provider": "openai"}]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({}, {}, []),
        ({}, {"max_turns": 5}, ["max_turns changed"]),
        ({"routes": ROUTES}, {"routes": ROUTES[::-1]}, ["routes in another order"]),
        ({"routes": ROUTES}, {"routes": ROUTES[:1]}, ["route 'b' removed"]),
        ({}, {"mcp_servers": [{"label": "m", "url": "http://x"}]}, ["MCP server 'm' added"]),
        (
            {"routes": ROUTES},
            {"routes": [ROUTES[0], {"model": "b", "provider": "gemini"}]},
            ["route 'b' changed: provider"],
        ),
        (
            {"api_keys": [{"tenant": "t", "sha256": HASH}]},
            {"api_keys": [{"tenant": "t", "sha256": HASH, "weight": 2, "max_concurrent": 3}]},
            [f"API key 'key_{HASH[:24]}' changed: max_concurrent, weight"],
        ),
    ],
)
def test_each_difference_is_named_and_no_value_is_quoted(
    before: dict[str, object], after: dict[str, object], changes: list[str]
) -> None:
    assert changes_between(Config.model_validate(before), Config.model_validate(after)) == changes


def test_a_copy_of_the_settings_has_its_own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "c.toml"
    file.write_text("max_turns = 3")
    monkeypatch.setenv("OPEN_RESPONSES_CONFIG", str(file))
    settings = Settings()
    assert settings.config.max_turns == 3
    file.write_text("max_turns = 4")
    renewed = settings.with_config(settings.read_config())
    assert (settings.config.max_turns, renewed.config.max_turns) == (3, 4)
    assert renewed.redis_url == settings.redis_url


async def test_a_file_is_reported_once_it_is_whole_however_it_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("1")
    changes = ConfigWatch(str(file), look_seconds=0.01).changes()
    file.write_text("22")
    await asyncio.wait_for(anext(changes), 50)
    (tmp_path / "new").write_text("333")
    (tmp_path / "new").replace(file)
    await asyncio.wait_for(anext(changes), 50)
    file.unlink()
    await asyncio.wait_for(anext(changes), 50)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(changes), 0.1)


async def test_a_hangup_is_a_change(tmp_path: Path) -> None:
    watch = ConfigWatch(str(tmp_path / "c.toml"), look_seconds=1000)
    watch.on_hangup()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(anext(watch.changes()), 50)
    finally:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
