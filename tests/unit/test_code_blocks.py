"""The blocks of code in the documentation are what they say. `tests/campaigns/test_docs_run.py` runs some of them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib

import pytest

from activities.providers.scripted.script_file import Script
from dev.settings_reference import PAGE as CONFIGURATION
from open_responses.config import Config
from open_responses.loop.search_attributes import SEARCH_ATTRIBUTES
from tests.support.code_blocks import ROOT, Block, blocks


# That of docs/clients.md is Codex'.
@pytest.mark.parametrize("block", [block for block in blocks("toml") if block.page.name != "clients.md"], ids=str)
def test_a_configuration_in_the_documentation_is_accepted(block: Block) -> None:
    """Examples show a part: what they refer to is in another one."""
    whole = tomllib.loads(block.text.replace('sha256 = "…"', f'sha256 = "{"0" * 64}"'))
    if "answers" in whole:
        # The script of a scripted provider.
        Script.model_validate(whole)
        return
    named = {provider["name"] for provider in whole.get("providers", [])}
    for route in whole.get("routes", []):
        if "provider" in route and route["provider"] not in named:
            named.add(route["provider"])
            whole.setdefault("providers", []).append(
                {"name": route["provider"], "adapter": "openai", "base_url": "http://127.0.0.1"}
            )
    for name in {name for key in whole.get("api_keys", []) for name in key.get("tools", [])}:
        if name not in [tool["name"] for tool in whole.get("tools", [])]:
            whole.setdefault("tools", []).append({"name": name, "target": "a:b"})
    Config.model_validate(whole)


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_json_in_the_documentation_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_python_in_the_documentation_can_be_parsed(block: Block) -> None:
    compile(block.text, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_shell_commands_in_the_documentation_can_be_parsed(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


def test_each_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        named = set(re.findall(r"`make ([a-z-]+)", page.read_text(encoding="utf-8")))
        assert named <= targets, page.name


def test_each_alert_has_its_entry_in_the_runbook() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    alerts = re.findall(r"^ +- alert: (\w+)", rules, re.MULTILINE)
    assert alerts
    runbook = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert re.findall(r"^### (OpenResponses\w+)", runbook, re.MULTILINE) == alerts


def test_the_commands_for_temporal_create_every_search_attribute_with_its_type() -> None:
    (block,) = [block for block in blocks("sh", page="operations.md") if "namespace create" in block.text]
    created = {
        name: re.findall(r"--type (\w+)", line)[0]
        for line in block.text.splitlines()
        for name in re.findall(r"--name (\w+)", line)
    }
    assert created == dict(SEARCH_ATTRIBUTES)


def test_each_variable_that_a_page_names_is_in_the_reference() -> None:
    known = set(re.findall(r"`(OPEN_RESPONSES_[A-Z_]+)`", CONFIGURATION.read_text(encoding="utf-8")))
    # Of the command line, whose page has a row for each, and of the console's tests: no setting of the server.
    known |= {"OPEN_RESPONSES_URL", "OPEN_RESPONSES_KEY", "OPEN_RESPONSES_SCREENSHOTS"}
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        named = set(re.findall(r"\bOPEN_RESPONSES_[A-Z_]+[A-Z]\b", page.read_text(encoding="utf-8")))
        assert named <= known, page.name
