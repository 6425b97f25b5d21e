"""The judges of a campaign's sessions with tools: what is lost, repeated or wrong gets its verdict."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest

from tests.campaigns.answers import Answer, Misfit, Verdict
from tests.campaigns.effects import check_effects
from tests.campaigns.kinds.agents import check_agents
from tests.campaigns.kinds.code import check_code
from tests.campaigns.kinds.file_search import PARTS, check_search
from tests.campaigns.kinds.programs import check_program
from tests.campaigns.kinds.schedules import check_time
from tests.campaigns.kinds.steering import WORDS as STEERED_WORDS
from tests.campaigns.kinds.steering import check_steered
from tests.campaigns.kinds.tools import check_wait
from tests.campaigns.kinds.webhooks import KIND as WEBHOOK
from tests.campaigns.kinds.webhooks import check_webhooks
from tests.campaigns.sessions import Kind, Sessions
from tests.support.fake_upstream import Script
from tests.support.webhook_receiver import Received, WebhookReceiver

Json = dict[str, Any]
WORDS = 3
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


def answer_of(kind: str = "stream", tag: str = "t") -> Answer:
    return Answer(kind, f"{tag}?", tag, Script(tag=tag, words=WORDS), {"webhook": {"secret": SECRET}}, id="resp_1")


def said(tag: str = "t", count: int = WORDS, role: str = "assistant") -> Json:
    return message("".join(f"{tag}.1.{number} " for number in range(count)), role=role)


def message(text: str, role: str = "assistant", **fields: Any) -> Json:
    content = [{"type": "output_text" if role == "assistant" else "input_text", "text": text}]
    return {"type": "message", "role": role, "status": "completed", "content": content, **fields}


def response_of(*items: Json, **fields: Any) -> Json:
    return {"id": "resp_1", "status": "completed", "output": list(items), **fields}


def verdict_of(check: Any, *given: Any) -> Verdict | None:
    try:
        check(*given)
    except Misfit as misfit:
        return misfit.verdict
    return None


def ran(*logs: str, container: str = "cntr_1") -> list[Json]:
    shown = [[{"type": "logs", "logs": text}] for text in logs]
    return [{"type": "code_interpreter_call", "container_id": container, "outputs": outputs} for outputs in shown]


@pytest.mark.parametrize(
    ("items", "verdict"),
    [
        (ran("[0, 1, 2]\n", "[0, 1, 2, 3]\n"), None),
        (ran("[0, 1, 2]\n", "[0, 1, 2, 2, 3]\n"), Verdict.DOUBLED),
        (ran("[2]\n", "[2, 3]\n"), Verdict.LOST),
        (ran("[0, 1, 2]\n"), Verdict.LOST),
        (ran("[0, 1, 2]\n", "[0, 1, 2, 3]\n", container="cntr_2"), Verdict.WRONG),
    ],
)
def test_code_has_each_effect_once(items: list[Json], verdict: Verdict | None) -> None:
    assert verdict_of(check_code, answer_of(), range(2, 4), {"cntr_1"}, response_of(*items, said())) == verdict


def program_of(*lines: str, calls: int = 2) -> Json:
    kinds = ["function_call", "function_call_output", "mcp_call"] * calls
    printed = {"type": "program_output", "result": "".join(f"{line}\n" for line in lines)}
    return response_of(*({"type": kind} for kind in kinds), printed, said())


def test_a_program_prints_one_result_for_each_call() -> None:
    lines = ("0 written", "0 noted", "1 written", "1 unknown")
    assert verdict_of(check_program, answer_of(), 2, program_of(*lines)) is None
    assert verdict_of(check_program, answer_of(), 2, program_of(*lines[:3])) == Verdict.WRONG
    assert verdict_of(check_program, answer_of(), 2, program_of(*lines, lines[0])) == Verdict.WRONG
    assert verdict_of(check_program, answer_of(), 2, program_of(*lines, calls=3)) == Verdict.DOUBLED
    assert verdict_of(check_program, answer_of(), 2, program_of(*lines, calls=1)) == Verdict.LOST


def test_each_call_of_a_program_has_one_effect(tmp_path: Path) -> None:
    def settled(written: str, noted: str) -> Verdict | None:
        (tmp_path / "lines").write_text(written)
        (tmp_path / "notes").write_text(noted)
        answer = answer_of("program")
        answer.response = program_of("0 written", "0 noted", "1 written", "1 unknown")
        answer.settle(Verdict.WHOLE)
        check_effects([answer], tmp_path)
        return answer.verdict

    whole = "key1 t 0\nkey1 t 0\nkey2 t 1\nkey3 t1 0\n"
    assert settled(whole, "t 0\n") == Verdict.WHOLE
    assert settled(whole, "t 0\nt 1\n") == Verdict.WHOLE
    assert settled(whole, "t 0\nt 0\n") == Verdict.DOUBLED
    assert settled(whole, "") == Verdict.LOST
    assert settled("key1 t 0\n", "t 0\n") == Verdict.LOST
    assert settled(whole + "key4 t 1\n", "t 0\n") == Verdict.DOUBLED


def steered(text: str, steer_id: str) -> Json:
    return message(text, role="user", steer_id=steer_id)


def test_each_accepted_message_is_in_the_output_once_and_is_answered() -> None:
    texts, accepted = ["a!", "b!"], {"steer_1": "a!"}
    first, asked, second = said(), steered("a!", "steer_1"), said("t-0", STEERED_WORDS)

    def verdict(*items: Json) -> Verdict | None:
        answer = answer_of()
        answer.more_tags = ["t-0", "t-1"]
        return verdict_of(check_steered, answer, texts, accepted, response_of(*items))

    assert verdict(first, asked, second) is None
    assert verdict(first) == Verdict.LOST
    assert verdict(first, asked) == Verdict.LOST
    assert verdict(first, asked, asked, second) == Verdict.DOUBLED
    assert verdict(first, asked, first) == Verdict.WRONG
    assert verdict(first, asked, second, second) == Verdict.DOUBLED
    assert verdict(first, steered("b!", "steer_2"), said("t-1", STEERED_WORDS)) == Verdict.WRONG


def test_a_search_of_a_file_finds_each_part_once() -> None:
    parts = [f"Part {number} of t is here." for number in range(PARTS)]

    def verdict(texts: list[str], file_id: str = "file-1", status: str = "completed") -> Verdict | None:
        results = [{"file_id": file_id, "text": text} for text in texts]
        search = {"type": "file_search_call", "status": status, "results": results}
        return verdict_of(check_search, answer_of(), "file-1", response_of(search, said()))

    assert verdict(parts) is None
    assert verdict(parts[1:]) == Verdict.LOST
    assert verdict([*parts, parts[0]]) == Verdict.DOUBLED
    assert verdict(parts, file_id="file-2") == Verdict.WRONG
    assert verdict(parts, status="failed") == Verdict.LOST


def test_an_agents_end_is_its_calls_output() -> None:
    child = answer_of()

    def verdict(text: str, status: str) -> Verdict | None:
        child.response = response_of(message("found"), status=status)
        output = {"type": "function_call_output", "output": text}
        return verdict_of(check_agents, answer_of(), [child], response_of(output, said()))

    assert verdict("found", "completed") is None
    assert verdict("The agent's response was cancelled.", "cancelled") is None
    assert verdict("", "completed") == Verdict.WRONG
    assert verdict("found", "failed") == Verdict.WRONG
    assert verdict_of(check_agents, answer_of(), [child], response_of(said())) == Verdict.LOST


def test_a_wait_is_not_over_early_and_a_scheduled_run_is_not_early() -> None:
    output = {"type": "function_call_output", "output": "The wait is over: it was for 4 s."}
    assert verdict_of(check_wait, answer_of(), 4, response_of(output, said(), created_at=10, completed_at=14)) is None
    early = response_of(output, said(), created_at=10, completed_at=12)
    assert verdict_of(check_wait, answer_of(), 4, early) == Verdict.WRONG
    assert verdict_of(check_time, answer_of(), 10, response_of(said(), created_at=10)) is None
    assert verdict_of(check_time, answer_of(), 10, response_of(said(), created_at=9)) == Verdict.WRONG


def received(event_id: str = "evt_1", kind: str = "response.completed", secret: str = SECRET) -> Received:
    body = json.dumps({"type": kind, "data": {"id": "resp_1"}}).encode()
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.1.".encode() + body, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    headers = {"webhook-id": event_id, "webhook-timestamp": "1", "webhook-signature": signature}
    return Received(headers, body)


@pytest.mark.parametrize(
    ("requests", "verdict"),
    [
        ([received()], Verdict.WHOLE),
        ([received(), received()], Verdict.WHOLE),
        ([], Verdict.LOST),
        ([received(), received("evt_2")], Verdict.DOUBLED),
        ([received(kind="response.failed")], Verdict.WRONG),
        ([received(), received(kind="response.failed")], Verdict.WRONG),
        ([received(secret="whsec_" + base64.b64encode(b"t" * 32).decode())], Verdict.WRONG),
    ],
)
def test_an_end_is_one_event_however_often_it_is_sent(requests: list[Received], verdict: Verdict) -> None:
    receiver, answer = WebhookReceiver(), answer_of(WEBHOOK)
    receiver.paths["/t"].requests = requests
    answer.response = response_of(said())
    answer.settle(Verdict.WHOLE)
    check_webhooks([answer], receiver)
    assert answer.verdict == verdict


async def test_the_first_round_has_each_kind_once_and_later_ones_have_them_by_their_weights() -> None:
    begun: Counter[str] = Counter()

    def kind(name: str, weight: int) -> Kind:
        async def run(*_: object) -> None:
            begun[name] += 1

        return Kind(weight, run)

    unused = cast(Any, None)
    kinds = {"often": kind("often", 3), "rarely": kind("rarely", 1)}
    sessions = Sessions(kinds, lambda: unused, unused, unused, random.Random(1), "seed", 1.0)
    await sessions.run_one()
    assert not sessions.has_begun_each_kind
    await sessions.run_one()
    assert (begun, sessions.has_begun_each_kind) == ({"often": 1, "rarely": 1}, True)
    for _ in range(4):
        await sessions.run_one()
    assert begun == {"often": 4, "rarely": 2}
