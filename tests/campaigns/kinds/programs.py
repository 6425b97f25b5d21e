"""A program of a model that loops over calls of tools with effects: no call runs twice, and none is left out."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.campaigns.answers import Answer, Misfit, Verdict, check_text
from tests.campaigns.connection import Connection
from tests.campaigns.sessions import Sessions
from tests.support.fake_upstream import calls

_KIND = "program"
_TOOLS = [
    {"type": "programmatic_tool_calling"},
    {"type": "function", "name": "once"},
    {"type": "mcp", "server_label": "calc", "require_approval": "never", "allowed_tools": ["note"]},
]
_LOOP = """
for i in range({count}):
    print(i, once(text=f"{tag} {{i}}"))
    try:
        print(i, note(text=f"{tag} {{i}}"))
    except RuntimeError as error:
        print(i, "unknown")
"""
_SIDE_BY_SIDE = """
import asyncio

async def one(i):
    written = await once(text=f"{tag} {{i}}")
    try:
        return [written, await note(text=f"{tag} {{i}}")]
    except RuntimeError as error:
        return [written, "unknown"]

for i, results in enumerate(await asyncio.gather(*[one(i) for i in range({count})])):
    for result in results:
        print(i, result)
"""


async def program(sessions: Sessions, connection: Connection) -> None:
    """`once` has an idempotency key: its lines with one key are one effect. `note` of the MCP server has none: it is
    called once at the most, and where that is not known, the program gets an error."""
    answer = sessions.ask(_KIND, background=sessions.draw.random() < 0.3, tools=_TOOLS)
    count = sessions.draw.randrange(4, 10)
    code = sessions.draw.choice((_LOOP, _SIDE_BY_SIDE)).format(tag=answer.tag, count=count)
    sessions.upstream.says(answer.prompt, calls(("p", "run_program", {"code": code}), turns=[answer.script]))
    answer.check = partial(check_program, answer, count)
    await sessions.settled(connection, [answer], connection.stream(answer))


def check_program(answer: Answer, count: int, response: dict[str, Any]) -> None:
    check_text(answer, response)
    said = [
        line for item in response["output"] if item["type"] == "program_output" for line in item["result"].splitlines()
    ]
    for number in range(count):
        lines = [line for line in said if line.startswith(f"{number} ")]
        if lines not in ([f"{number} written", f"{number} {noted}"] for noted in ("noted", "unknown")):
            raise Misfit(Verdict.WRONG, f"the program printed {said}")
    if len(said) != 2 * count:
        raise Misfit(Verdict.WRONG, f"the program printed {said}")
    kinds = [item["type"] for item in response["output"]]
    for kind in ("function_call", "function_call_output", "mcp_call"):
        if (found := kinds.count(kind)) != count:
            raise Misfit(Verdict.DOUBLED if found > count else Verdict.LOST, f"{found} of {count} items {kind}")
