"""Counts the Python functions that run, by their file.

A coroutine or a generator counts each time it is resumed: that costs as much as a call.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

_ROOT = str(Path(__file__).parents[2]) + "/"
_HERE = str(Path(__file__).parent)


@dataclass
class Counted:
    """Calls by (file, function). `c_calls`: calls of functions that are not written in Python."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    c_calls: int = 0

    def by_file(self) -> Counter[str]:
        files: Counter[str] = Counter()
        for (file, _), calls in self.calls.items():
            files[file] += calls
        return files


@contextmanager
def counting() -> Iterator[Counted]:
    """Count what this thread calls, without the files of this folder."""
    counted, names = Counted(), dict[str, str]()

    def note(frame: FrameType, event: str, _: Any) -> None:
        file = frame.f_code.co_filename
        if file.startswith(_HERE):
            return
        if event == "call":
            name = names.get(file) or names.setdefault(file, _short(file))
            counted.calls[name, frame.f_code.co_qualname] += 1
        elif event == "c_call":
            counted.c_calls += 1

    sys.setprofile(note)
    try:
        yield counted
    finally:
        sys.setprofile(None)


def _short(file: str) -> str:
    """The path in the project; of a library, its package."""
    if file.startswith(_ROOT) and "/site-packages/" not in file:
        return file.removeprefix(_ROOT)
    for place in ("/site-packages/", f"/python{sys.version_info[0]}.{sys.version_info[1]}/"):
        _, found, name = file.rpartition(place)
        if found:
            return name.split("/")[0].removesuffix(".py")
    return file
