"""Folders with locked npm packages, made once for each lock."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

_CACHE = Path(__file__).parents[2] / ".data" / "node-clients"


def installed(source: Path, *scripts: str) -> Path:
    """A folder with the packages of the lock in `source`, and these scripts of it. Skips the test where npm cannot.

    One test process installs, and others that need the same folder wait: `npm ci` begins by deleting what is there."""
    lock = (source / "package-lock.json").read_bytes()
    folder = _CACHE / hashlib.sha256(lock).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "installing").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (folder / "node_modules" / ".package-lock.json").is_file():
            _install(source, folder)
        for name in scripts:
            shutil.copy(source / name, folder / name)
    return folder


def _install(source: Path, folder: Path) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(source / name, folder / name)
    install = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    done = subprocess.run(install, cwd=folder, timeout=150, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode:
        pytest.skip(f"npm could not install {source}: {done.stderr.decode()[-300:]}")
