"""`python -m api`: the application under uvicorn, with the bounds and times that it was tested with."""

from __future__ import annotations

import argparse

import uvicorn

from api.server import uvicorn_options
from open_responses.io.listening import add_options


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with an error where the port is taken or the configuration is wrong."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    add_options(parser)
    uvicorn.run("api.main:app", **uvicorn_options(parser.parse_args()))


if __name__ == "__main__":
    main()
