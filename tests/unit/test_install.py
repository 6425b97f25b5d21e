"""`dev/install.py`: pip's output is shown where pip fails, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dev.install import main


def environment(folder: Path, pip: str) -> Path:
    """A folder that looks like a virtual environment, whose Python is the shell script `pip`."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "pip").touch()
    python = folder / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{pip}\n")
    python.chmod(0o755)
    return folder


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text("one==1 \\\n    --hash=sha256:00\ntwo==2 \\\n    --hash=sha256:01\n")
    return path


def test_warnings_of_a_pip_that_succeeds_are_in_its_log_alone(
    lock: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = environment(tmp_path / "venv", "echo WARNING: never mind; echo WARNING: this neither >&2")
    assert main(lock, folder) == 0
    out, err = capfd.readouterr()
    assert out.startswith("installing 2 packages of ")
    assert "installed in " in out
    assert "WARNING" not in out + err
    assert (folder / "install.log").read_text() == "WARNING: never mind\nWARNING: this neither\n"


def test_a_pip_that_fails_shows_the_end_of_its_output_and_where_the_rest_is(
    lock: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = environment(tmp_path / "venv", "seq 100; echo ERROR: no such package >&2; exit 1")
    assert main(lock, folder) == 1
    err = capfd.readouterr().err
    assert "ERROR: no such package" in err
    assert str(folder / "install.log") in err
    assert "\n50\n" not in err
