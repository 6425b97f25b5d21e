"""Makes text of the pages that web search reads, in processes of their own with bounds on time and memory.

`activities/tools/web_search/extractor.py` is their program.
"""

from __future__ import annotations

import json
from pathlib import Path

from activities.tools.web_search import extractor
from activities.tools.web_search.extraction import PageText
from activities.tools.web_search.pages import Fetched, PageError
from open_responses.io.bounded_processes import SIZE, BoundedProcesses, LimitExceeded, ProcessDied

_WALL_SECONDS = 25.0
"""The longest time of one page, on a machine that is busy. The kernel counts CPU time (`CPU_SECONDS`)."""


class PageExtraction:
    """The extraction. The first page starts a process, and each ends by itself when it has nothing to do.

    Args:
        program: The program of the processes.
        wall_seconds: The longest time of one page.
    """

    def __init__(self, program: Path | None = None, *, wall_seconds: float = _WALL_SECONDS) -> None:
        # All that wait may end by themselves just before they get the page; the next one is new.
        self._processes = BoundedProcesses(
            program or Path(extractor.__file__), wall_seconds=wall_seconds, attempts=SIZE + 1
        )

    async def text_of(self, page: Fetched, tenant: str) -> PageText:
        """The page as text. A cancelled call ends its process. Raises PageError if the limits do not suffice."""
        asked = json.dumps({"url": page.url, "charset": page.charset, "kind": page.kind}).encode()
        named = repr(page.url[:200])
        try:
            found = json.loads(await self._processes.ask([asked, page.body], tenant))
        except LimitExceeded as error:
            exceeded = "memory" if error.limit == "memory" else "time"
            raise PageError(f"The text of {named} takes too much {exceeded} to extract.") from None
        except ProcessDied:
            raise PageError(f"The text of {named} cannot be extracted.") from None
        except OSError as error:
            raise PageError(f"No page can be read now: no process can be started ({error.strerror}).") from error
        if found.get("problem"):
            raise PageError(f"The text of {named} cannot be extracted: {found['problem']}.")
        return PageText(url=page.url, **found)

    async def close(self) -> None:
        """End the processes."""
        await self._processes.close()
