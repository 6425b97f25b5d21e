"""The containers of each tenant, in the order in which they began: one small file for each.

What this prevents: a list that has to open every container of the installation. A file's name has the time and the id,
so a page is read without opening more than its own entries. An entry may outlive its container: readers look whether
the container is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from open_responses.ids import position_of
from open_responses.io.temporal.large_payloads import write_file

_SECONDS_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry, with the time after which the container expires if it has one of its own."""

    tenant: str
    container_id: str
    created_at: int
    idle_minutes: int | None


class ContainerIndex:
    """The entries, in `container-index/` beside the large payloads. All methods block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "container-index"

    def add(self, tenant: str, container_id: str, created_at: int, idle_minutes: int | None) -> None:
        """Add an entry. One that is there stays."""
        path = self._folder(tenant) / _name(container_id, created_at)
        if not path.exists():
            write_file(path, orjson.dumps({"tenant": tenant, "idle_minutes": idle_minutes}))

    def remove(self, tenant: str, container_id: str, created_at: int) -> None:
        """Remove an entry, if it is there."""
        (self._folder(tenant) / _name(container_id, created_at)).unlink(missing_ok=True)

    def entries(self, tenant: str) -> list[tuple[int, str]]:
        """(created_at, id) of the tenant's entries, oldest first."""
        return sorted(_entries(self._folder(tenant)))

    def everything(self) -> Iterator[Entry]:
        """All entries, of all tenants."""
        folders = list(self._directory.iterdir()) if self._directory.is_dir() else []
        for folder in folders:
            for created_at, container_id in _entries(folder):
                with contextlib.suppress(FileNotFoundError):
                    told = orjson.loads((folder / _name(container_id, created_at)).read_bytes())
                    yield Entry(told["tenant"], container_id, created_at, told["idle_minutes"])

    def _folder(self, tenant: str) -> Path:
        return self._directory / hashlib.sha256(tenant.encode()).hexdigest()[:40]


def _name(container_id: str, created_at: int) -> str:
    return f"{created_at:0{_SECONDS_DIGITS}}-{container_id}"


def _entries(folder: Path) -> Iterator[tuple[int, str]]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return
    for name in names:
        seconds, _, container_id = name.partition("-")
        if seconds.isdigit() and container_id.startswith("cntr_") and position_of(container_id) is not None:
            yield int(seconds), container_id
