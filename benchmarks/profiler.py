"""Samples one process with py-spy while a benchmark runs: `PROFILE=worker-0 PROFILE_FILE=out.txt python -m benchmarks`.

The file has one line for each stack, with the number of its samples: the form that flame graphs are made of. py-spy is
no dependency: it must be on the PATH.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def profiled(processes: Mapping[str, subprocess.Popen[bytes]], suffix: str = "") -> Iterator[None]:
    """Sample the process of the name in PROFILE, if there is one. The file's name ends in `suffix`."""
    name = os.environ.get("PROFILE")
    if name is None or name not in processes:
        yield
        return
    sampler = shutil.which("py-spy")
    if sampler is None:
        sys.exit("PROFILE needs py-spy on the PATH: `pip install py-spy`")
    file = os.environ.get("PROFILE_FILE", f"{name}.profile") + suffix
    # Without --gil, py-spy takes much of the time in which an event loop waits for time in which it works.
    command = (sampler, "record", "--format", "raw", "--output", file, "--nonblocking", "--gil", "--rate", "400")
    sampling = subprocess.Popen([*command, "--pid", str(processes[name].pid)], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        # py-spy writes its file at the interrupt.
        sampling.send_signal(signal.SIGINT)
        sampling.wait(60)
        print(f"  samples of {name}: {file}")
