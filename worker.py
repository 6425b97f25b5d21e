"""The worker's process: runs the workflows and the activities. A composition root; no module imports it.

TEMPORAL_ADDRESS=… REDIS_URL=… python worker.py
"""

from __future__ import annotations

import argparse
import sys

from open_responses.io.lean_imports import lean_imports


def run() -> None:
    """The process, to its end."""
    argparse.ArgumentParser(
        prog="python worker.py",
        description="The worker of open_responses: runs the workflows and the activities until SIGTERM or SIGINT.",
        epilog="It has no options. Its settings are TEMPORAL_ADDRESS, REDIS_URL and the others of the environment, and "
        "the file that OPEN_RESPONSES_CONFIG names: docs/configuration.md.",
    ).parse_args()
    with lean_imports():
        from processes import worker_alone
    sys.exit(worker_alone.run())


if __name__ == "__main__":
    run()
