"""A small file system for large payloads and files, that can be filled up.

A tmpfs of a few MB where the machine lets this process mount one: writes fail with ENOSPC, as on a full disk. Elsewhere
its folders are made unwritable, which stops any user but root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_SIZE_MB = 48


class SmallDisk:
    """`mount`, then `fill` and `free` as often as needed, then `unmount`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_mounted = False

    def mount(self) -> None:
        self.folder.mkdir(parents=True)
        if sys.platform == "linux" and os.geteuid() == 0:
            command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MB}m,mode=700", "tmpfs", str(self.folder)]
            self._is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0

    @property
    def can_be_filled(self) -> bool:
        return self._is_mounted or os.geteuid() != 0

    def fill(self) -> None:
        """From now on no process can write there."""
        if not self._is_mounted:
            self._set_modes(0o500)
            return
        with (self.folder / ".filler").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        if self._is_mounted:
            (self.folder / ".filler").unlink(missing_ok=True)
        else:
            self._set_modes(0o700)

    def _set_modes(self, mode: int) -> None:
        for folder in (self.folder, *self.folder.rglob("*/")):
            folder.chmod(mode)

    def unmount(self) -> None:
        self.free()
        if self._is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)
            self._is_mounted = False
