"""`python -m api`: the application under uvicorn, with the bounds and times that it was tested with."""

from __future__ import annotations

import argparse

from open_responses.io.lean_imports import lean_imports
from open_responses.io.listening import add_options


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with an error where the port is taken or the configuration is wrong."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    add_options(parser)
    given = parser.parse_args()
    with lean_imports():
        import uvicorn

        import api.application  # noqa: F401  (nearly all that api.main imports)
        from api.server import uvicorn_options
    # By its name: what is configured is loaded behind the block above, and may need what that leaves out.
    uvicorn.run("api.main:app", **uvicorn_options(given))


if __name__ == "__main__":
    main()
