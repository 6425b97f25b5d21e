"""`open_responses serve`: the server itself, its API and a worker in one process."""

from __future__ import annotations

import argparse

from open_responses.cli.http import CommandFailed
from open_responses.io.lean_imports import lean_imports


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT. Returns 0 after a signal, 1 after an error."""
    try:
        with lean_imports():
            import processes.serve
    except ModuleNotFoundError as error:
        if error.name != "processes":
            raise
        raise CommandFailed("the server is not here: start this command from the root of its source") from error
    return processes.serve.run(args)
