"""`python dev/install.py LOCK FOLDER`: installs the packages of a lock file into a virtual environment, with progress.

pip's own output goes to `FOLDER/install.log`, and its end is printed when pip fails: warnings of a working pip hide the
lines that matter. The script runs before anything is installed, so it needs the standard library alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

_FIRST_WORDS = re.compile(r"^(Collecting|Requirement already satisfied:)", re.MULTILINE)
_LINES_OF_A_FAILURE = 30
_SIZES = {"requirements.lock": ": 400 MB to download, 1.3 GB on disk, one to five minutes"}
"""Measured on Linux (x86-64): most of it is Temporal, the local model, and what the tests compare with."""
_SECONDS_BETWEEN_LINES = 10
"""Between two lines of progress where the output is no terminal, which rewrites one line."""


def main(lock: Path, folder: Path) -> int:
    """Exit code 0 with `lock` installed in `folder`; otherwise 1, and the reason on stderr."""
    if sys.version_info < (3, 11):  # noqa: UP036 (an older Python may start this script)
        print("Python 3.11 or newer is needed; name one with PYTHON=", file=sys.stderr)
        return 1
    # Each requirement of a lock file begins a line; its hashes are indented. Some are for other platforms.
    packages = sum(1 for line in lock.read_text(encoding="utf-8").splitlines() if re.match(r"[A-Za-z0-9]", line))
    print(f"installing {packages} packages of {lock} into {folder}, once{_SIZES.get(lock.name, '')} …", flush=True)
    started = time.monotonic()
    # A run that was interrupted may have left an environment without pip.
    if not (folder / "bin" / "pip").exists():
        made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False)
        if made.returncode != 0:
            print(made.stdout + made.stderr, file=sys.stderr)
            return 1
    log = folder / "install.log"
    code = _pip(lock, folder, log)
    seconds = time.monotonic() - started
    if code != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        print("\n".join(lines[-_LINES_OF_A_FAILURE:]), file=sys.stderr)
        print(f"pip failed after {seconds:.0f} s; all of its output is in {log}", file=sys.stderr)
        return 1
    print(f"installed in {seconds:.0f} s", flush=True)
    return 0


def _pip(lock: Path, folder: Path, log: Path) -> int:
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "off", "--require-hashes", "--no-deps", "-r", str(lock)]
    progress = _Progress()
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as pip:
        while pip.poll() is None:
            time.sleep(0.2)
            progress.show(_state(folder, log))
    progress.end()
    return pip.returncode


def _state(folder: Path, log: Path) -> str:
    """How far pip is: it first collects all packages, then installs all of them."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if "Installing collected packages" in text:
        installed = sum(1 for _ in folder.glob("lib/python*/site-packages/*.dist-info"))
        return f"installed: {installed}"
    return f"downloaded or found: {len(_FIRST_WORDS.findall(text))}"


class _Progress:
    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._shown = ""
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def show(self, state: str) -> None:
        if state == self._shown:
            return
        if self._is_terminal:
            print(f"\r\x1b[K  {state}", end="", flush=True)
        elif time.monotonic() >= self._next_line:
            print(f"  {state}", flush=True)
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
        else:
            return
        self._shown = state

    def end(self) -> None:
        if self._is_terminal:
            print("\r\x1b[K", end="", flush=True)


if __name__ == "__main__":
    try:
        parser = argparse.ArgumentParser(prog="python dev/install.py", description=__doc__)
        parser.add_argument("lock", type=Path)
        parser.add_argument("folder", type=Path)
        given = parser.parse_args()
        sys.exit(main(given.lock, given.folder))
    except KeyboardInterrupt:
        sys.exit(130)
