"""Each program that a person starts explains itself with `--help`."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.campaign

PROGRAMS = {
    "make dev": ("-m", "dev"),
    "make providers": ("-m", "dev.providers"),
    "make reference": ("-m", "dev.settings_reference"),
    "make vendor-console": ("dev/vendor_console.py",),
    "the installation": ("dev/install.py",),
    "the table of make coverage": ("-m", "dev.coverage_table"),
    "make demo": ("-m", "examples.kill_the_worker"),
    "make research": ("-m", "examples.research_agent"),
    "its model": ("-m", "examples.scripted_model"),
    "its small web": ("-m", "examples.local_web"),
    "its agent": ("-m", "examples.research"),
    "the server of the example adapter": ("-m", "examples.custom_server"),
    "make bench": ("-m", "benchmarks"),
    "make chaos": ("-m", "tests.campaigns"),
    "the worker": ("worker.py",),
    "the API": ("-m", "api"),
    "the API and a worker": ("-m", "open_responses", "serve"),
    "make key": ("-m", "open_responses"),
}


@pytest.mark.parametrize("command", PROGRAMS.values(), ids=PROGRAMS)
def test_a_program_explains_itself(command: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, *command, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    assert not done.stderr


def test_make_lists_its_targets_and_make_key_says_what_a_key_is() -> None:
    helped = subprocess.run(["make", "help"], capture_output=True, text=True, timeout=60, check=True)
    for target in ("dev", "test", "providers", "key", "reference", "docs"):
        assert f"make {target} " in helped.stdout
    refused = subprocess.run(["make", "key", "TENANT="], capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "make key TENANT=acme" in refused.stderr
