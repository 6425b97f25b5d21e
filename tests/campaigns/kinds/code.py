"""Code of a model, over the turns of a chain: each call has its effect on the container's variables once."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.campaigns.answers import Answer, Misfit, Verdict, check_text
from tests.campaigns.connection import Connection
from tests.campaigns.sessions import Sessions
from tests.support.fake_upstream import Script, calls

_TOOL = {"type": "code_interpreter", "container": {"type": "auto"}}
_OUTPUTS = ["code_interpreter_call.outputs"]
_TURNS, _CALLS_IN_A_TURN = 2, 2
# Long enough that a worker dies in the middle of it now and then.
_SLEEP_SECONDS = 0.4


async def code_interpreter(sessions: Sessions, connection: Connection) -> None:
    """Each call appends its number to a list and prints it: a lost or repeated effect is in all later outputs."""
    done: list[Answer] = []
    containers: set[str] = set()
    for turn in range(_TURNS):
        before = {"previous_response_id": done[-1].id} if done else {}
        answer = sessions.ask("code interpreter", tools=[_TOOL], include=_OUTPUTS, **before)
        numbers = range(turn * _CALLS_IN_A_TURN, (turn + 1) * _CALLS_IN_A_TURN)
        first, *others = (_appends(number) for number in numbers)
        first.turns = [*others, answer.script]
        sessions.upstream.says(answer.prompt, first)
        answer.check = partial(check_code, answer, numbers, containers)
        if not await sessions.settled(connection, [answer], connection.stream(answer)):
            return
        sessions.check_context(answer, done)
        done.append(answer)


def _appends(number: int) -> Script:
    begin = "" if number else "log = []\n"
    code = f"import time\n{begin}time.sleep({_SLEEP_SECONDS})\nlog.append({number})\nprint(log)"
    return calls((f"call_{number}", "code_interpreter", {"code": code}))


def check_code(answer: Answer, numbers: range, containers: set[str], response: dict[str, Any]) -> None:
    check_text(answer, response)
    ran = [item for item in response["output"] if item["type"] == "code_interpreter_call"]
    said = ["".join(output["logs"] for output in item["outputs"] or []) for item in ran]
    expected = [f"{list(range(number + 1))}\n" for number in numbers]
    if said != expected:
        is_repeated = any(text.count(f"{number}") > 1 for text in said for number in range(numbers.stop))
        raise Misfit(Verdict.DOUBLED if is_repeated else Verdict.LOST, f"the code printed {said} and not {expected}")
    containers |= {item["container_id"] for item in ran}
    if len(containers) != 1:
        raise Misfit(Verdict.WRONG, f"one chain has the containers {sorted(containers)}")
