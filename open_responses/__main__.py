"""`python -m open_responses`, and the command `open_responses`: the command line for operators (docs/cli.md)."""

from __future__ import annotations

import sys

from open_responses.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
