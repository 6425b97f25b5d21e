"""The compose file, as `docker compose config` reads it where it can be run, and by what matters in any case."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from open_responses.loop.search_attributes import SEARCH_ATTRIBUTES

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def test_every_dependency_is_a_service_and_is_waited_for() -> None:
    services = COMPOSE["services"]
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, f"{name} needs {needed}"
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], f"{needed} is waited for, and has no health check"


def test_two_workers_and_an_api_share_one_image_without_root() -> None:
    services = COMPOSE["services"]
    assert services["worker"]["deploy"]["replicas"] == 2
    assert services["worker"]["build"] == services["api"]["build"] == "."
    assert "\nUSER app\n" in (ROOT / "Dockerfile").read_text()


def test_a_worker_is_healthy_once_it_has_written_its_file() -> None:
    services = COMPOSE["services"]
    for name in ("worker", "standby"):
        assert services[name]["healthcheck"]["test"][-1] == services[name]["environment"]["OPEN_RESPONSES_READY_FILE"]


def test_ports_are_published_on_loopback_only() -> None:
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_docker_compose_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed here")
    config = subprocess.run([docker, "compose", "config", "-q"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert config.returncode == 0, config.stderr


def test_temporal_gets_every_search_attribute_with_its_type() -> None:
    (command,) = COMPOSE["services"]["search-attributes"]["command"]
    named = dict(pair.split("=") for pair in re.findall(r"\b[A-Z][A-Za-z]+=[A-Z][A-Za-z]+\b", command))
    assert {f"OpenResponses{name}": kind for name, kind in named.items()} == dict(SEARCH_ATTRIBUTES)


def test_the_ui_has_the_codec_of_the_api_where_there_is_a_token() -> None:
    endpoint = COMPOSE["services"]["temporal-ui"]["environment"]["TEMPORAL_CODEC_ENDPOINT"]
    assert endpoint.startswith("${OPEN_RESPONSES_CODEC_TOKEN:+http://127.0.0.1:")
    assert endpoint.endswith("/codec/}${OPEN_RESPONSES_CODEC_TOKEN:-}")
