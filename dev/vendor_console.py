"""`make vendor-console`: renews the third-party scripts of the console from their npm packages, with their licences.

The versions are pinned here; npm checks each package against the registry's digest. The scripts are committed, so that
the console needs no build step and works offline.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

TARGET = Path("api/console/static/vendor")

PACKAGES: dict[str, tuple[str, dict[str, str]]] = {
    "preact": ("10.29.8", {"dist/preact.module.js": "preact.js", "hooks/dist/hooks.module.js": "preact-hooks.js"}),
    "htm": ("3.1.1", {"dist/htm.module.js": "htm.js"}),
}
"""Each package with its version, and its files with the names that they get."""

_BARE_IMPORT = re.compile(r'from\s*"preact"')
_SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=.*\s*$")


def main() -> int:
    """Exit code 0 if every file was written."""
    argparse.ArgumentParser(prog="make vendor-console", description=__doc__).parse_args()
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, (version, files) in PACKAGES.items():
        with tempfile.TemporaryDirectory() as folder:
            packed = subprocess.run(
                ["npm", "pack", "--json", f"{name}@{version}"], cwd=folder, check=True, capture_output=True, text=True
            )
            archive = Path(folder, json.loads(packed.stdout)[0]["filename"])
            with tarfile.open(archive) as tar:
                for source, target in files.items():
                    _write(target, _SOURCE_MAP.sub("\n", _BARE_IMPORT.sub('from"./preact.js"', _read(tar, source))))
                _write(f"{name}.LICENSE", _read(tar, "LICENSE"))
        print(f"{name} {version}: {', '.join(files.values())}")
    return 0


def _read(tar: tarfile.TarFile, path: str) -> str:
    file = tar.extractfile(f"package/{path}")
    if file is None:
        sys.exit(f"vendor-console: the package has no {path}")
    return file.read().decode()


def _write(name: str, text: str) -> None:
    (TARGET / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
