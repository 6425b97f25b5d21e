"""The example of docs/ten-questions.md: its configuration is one that a server starts with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from activities.providers.scripted.script_file import read_script
from activities.tools.registry import load_tools
from open_responses.io.settings import load_config

FOLDER = Path(__file__).parents[2] / "examples" / "ten_questions"


def test_the_examples_configuration_answers_and_tools_are_valid() -> None:
    config = load_config(str(FOLDER / "open_responses.toml"))
    assert set(load_tools(config)) == {"get_weather", "wire_money", "lookup_invoice"}
    (script,) = [provider.script for provider in config.providers if provider.script]
    assert FOLDER.parent.parent / script == FOLDER / "answers.toml"
    assert read_script(str(FOLDER / "answers.toml")).answer("slow-writer", "Take your time.") is not None


def test_the_examples_keys_are_the_ones_that_its_page_names() -> None:
    config = load_config(str(FOLDER / "open_responses.toml"))
    keys = {key.tenant: key for key in config.api_keys}
    assert keys.keys() == {"operations", "acme", "globex"}
    for tenant, key in keys.items():
        assert key.sha256 == hashlib.sha256(f"example-{tenant}".encode()).hexdigest()
    page = (FOLDER.parents[1] / "docs" / "ten-questions.md").read_text(encoding="utf-8")
    assert "OPEN_RESPONSES_KEY=example-operations" in page
