"""The fake upstream as a process of its own: the last user message says how many words, and how fast."""

from __future__ import annotations

import asyncio
import json
import sys

from tests.upstream import Script, Upstream


class TimedUpstream(Upstream):
    """Reads the timing from the prompt."""

    def script_of(self, prompt: str) -> Script:
        return Script(**json.loads(prompt))


async def main(port: int) -> None:
    upstream = TimedUpstream()
    upstream.port = port
    async with upstream:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
