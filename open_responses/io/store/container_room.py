"""Bounds the bytes that all containers of a tenant have on disk together.

What this prevents: a disk that one tenant fills, with containers that each keep their own bounds. The sizes are those
of the sealed files, so nothing is opened to count them.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from open_responses.ids import position_of
from open_responses.io.store.container_index import ContainerIndex
from open_responses.tool_use.container_files import FilesRefused

# A tenant may have thousands of containers. Other processes write meanwhile, so the bound is kept but for what they do
# in so many seconds.
_REMEMBERED_SECONDS = 10.0
_MOST_REMEMBERED = 10_000
_KINDS = ("content-", "container-")


class ContainerRoom:
    """The bytes of each tenant's containers. All methods block."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._index = ContainerIndex(directory)
        self._counted: dict[str, tuple[float, int]] = {}

    def take(self, tenant: str, more: int, *, most: int) -> None:
        """Raises FilesRefused if the tenant's containers would have more than `most` bytes with `more` of them."""
        now = time.monotonic()
        counted_at, used = self._counted.get(tenant) or (now, self._bytes_of(tenant))
        # Before a refusal it is counted anew: the tenant may have deleted some.
        if now - counted_at > _REMEMBERED_SECONDS or used + more > most:
            counted_at, used = now, self._bytes_of(tenant)
        if used + more > most:
            raise FilesRefused(
                f"All containers together would take {used + more} bytes, and at most {most} are kept for a user. "
                "Containers have to be deleted first, or to expire."
            )
        if len(self._counted) >= _MOST_REMEMBERED:
            self._counted.clear()
        self._counted[tenant] = (counted_at, used + more)

    def _bytes_of(self, tenant: str) -> int:
        size = 0
        for container_id in {container_id for _, container_id in self._index.entries(tenant)}:
            found = position_of(container_id)
            assert found is not None
            with contextlib.suppress(FileNotFoundError), os.scandir(self._directory / found[0]) as files:
                for file in files:
                    if file.name.startswith(_KINDS):
                        with contextlib.suppress(FileNotFoundError):
                            size += file.stat().st_size
        return size
