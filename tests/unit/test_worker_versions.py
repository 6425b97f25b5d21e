"""The version of a worker: a hash of what histories are replayed with, and of nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

import open_responses
import workflows
from open_responses.io.settings import Settings
from open_responses.io.temporal.worker_versions import code_build_id, deployment_config

WORKFLOWS, VOCABULARY = (Path(package.__file__ or "").parent for package in (workflows, open_responses))


def copied(folder: Path) -> tuple[Path, Path]:
    for package in (WORKFLOWS, VOCABULARY):
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "workflows", folder / "open_responses"


def test_the_same_code_in_another_place_is_the_same_version(tmp_path: Path) -> None:
    assert code_build_id(*copied(tmp_path)) == code_build_id(WORKFLOWS, VOCABULARY)


@pytest.mark.parametrize(
    ("file", "is_new_version"),
    [
        ("workflows/model_turn.py", True),
        ("open_responses/loop/next_step.py", True),
        ("open_responses/io/store/redis_store.py", False),
        ("open_responses/middleware/audit_log.py", False),
        ("open_responses/__main__.py", False),
    ],
)
def test_a_change_of_what_decides_is_another_version(tmp_path: Path, file: str, is_new_version: bool) -> None:
    roots = copied(tmp_path)
    before = code_build_id(*roots)
    with (tmp_path / file).open("a") as changed:
        changed.write("# changed\n")
    assert (code_build_id(*roots) != before) is is_new_version


def test_versioning_is_off_unless_a_deployment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPEN_RESPONSES_DEPLOYMENT_NAME", "TEMPORAL_DEPLOYMENT_NAME"):
        monkeypatch.delenv(variable, raising=False)
    assert not deployment_config(Settings().deployment_name, "1").use_worker_versioning
    monkeypatch.setenv("OPEN_RESPONSES_DEPLOYMENT_NAME", "responses")
    monkeypatch.setenv("OPEN_RESPONSES_BUILD_ID", "v2.1")
    settings = Settings()
    config = deployment_config(settings.deployment_name, settings.build_id or "")
    assert config.use_worker_versioning
    assert (config.version.deployment_name, config.version.build_id) == ("responses", "v2.1")
    monkeypatch.setenv("OPEN_RESPONSES_DEPLOYMENT_NAME", "no.dots")
    with pytest.raises(ValidationError):
        Settings()
