"""The fake upstream as a process of its own: the last user message says how many words, how fast, after which calls."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from tests.support.fake_upstream import Script, Upstream, calls


class TimedUpstream(Upstream):
    """Reads from the prompt: the fields of a Script; and `turns`, with so many calls `width` of the tool `wait`."""

    def script_of(self, prompt: str) -> Script:
        asked: dict[str, Any] = json.loads(prompt)
        turns, width, seconds = asked.pop("turns", 0), asked.pop("width", 1), asked.pop("seconds", 0)
        answer = Script(**asked)
        if not turns:
            return answer
        wanted = [[(f"c{turn}-{n}", "wait", {"seconds": seconds}) for n in range(width)] for turn in range(turns)]
        first, *rest = [calls(*turn) for turn in wanted]
        first.turns = [*rest, answer]
        return first


async def main(port: int) -> None:
    upstream = TimedUpstream()
    upstream.port = port
    async with upstream:
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
