"""The processes that check schemas (`process.py`)."""

from __future__ import annotations

import json
from pathlib import Path

from open_responses.errors import Unavailable
from open_responses.io.bounded_processes import BoundedProcesses, LimitExceeded, ProcessDied
from open_responses.json_types import JsonObject

_WALL_SECONDS = 30.0
"""The longest time of one check. The kernel counts CPU time (`CPU_SECONDS` in `process.py`)."""
_PROGRAM = Path(__file__).with_name("process.py")


class CheckExceeded(Exception):
    """A check that exceeded the limits of its process, or ended it twice."""


class SchemaProcesses(BoundedProcesses):
    """The processes. The first check starts one; `close` ends them all."""

    def __init__(self) -> None:
        super().__init__(_PROGRAM, wall_seconds=_WALL_SECONDS)

    async def check(self, request: JsonObject, tenant: str) -> list[str | None]:
        """Send a request to a process, and return the reply of `process.py`. A cancelled call ends its process.

        Raises:
            CheckExceeded: The check exceeded its limits.
            Unavailable: No process can be started.
        """
        try:
            found: list[str | None] = json.loads(await self.ask([json.dumps(request).encode()], tenant))
        except LimitExceeded as error:
            if error.limit == "wall time":
                raise CheckExceeded(f"it takes more than {self.wall_seconds:g} seconds") from None
            raise CheckExceeded(f"it takes too much {error.limit}") from None
        except ProcessDied:
            raise CheckExceeded("the process that checks it died twice") from None
        except OSError as error:
            message = f"a schema cannot be checked now: no process can be started ({error.strerror})"
            raise Unavailable(message) from error
        return found
