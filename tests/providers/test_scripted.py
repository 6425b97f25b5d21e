"""The adapter that answers from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from activities.providers.registry import build_providers
from activities.providers.scripted import Scripted
from open_responses.config import Config, ProviderConfig
from open_responses.contracts import SampleCall
from open_responses.deltas import Delta, Finish, ReasoningDelta, TextDelta, ToolCallDelta
from open_responses.errors import ProviderRateLimited, ProviderRejected, ProviderUnavailable
from open_responses.schema.items import INPUT_ITEM
from open_responses.schema.requests import CreateResponse
from open_responses.testing.delta_checks import check_stream, text_of

SCRIPT = """
[[answers]]
when = "weather"
turns = [
  { reasoning = "I look.", calls = [
    { name = "get_weather", arguments = { city = "Oslo" } },
    { name = "broken", arguments = "{" },
  ] },
  { text = "It is cold in Oslo." },
]
[[answers]]
when = "flaky"
text = "one two three"
fault = { error = "provider_unavailable", after_words = 2, times = 2 }
[[answers]]
when = "limited"
fault = { error = "rate_limit_exceeded", retry_after_seconds = 7 }
[[answers]]
model = "echo"
text = "You said: {input}. "
repeat = 2
"""


def adapter(folder: Path, script: str = SCRIPT, name: str = "script.toml") -> Scripted:
    path = folder / name
    path.write_text(script)
    config = ProviderConfig(name="rehearsal", adapter="scripted", script=str(path))
    # Never sent anything.
    return Scripted(config, httpx.AsyncClient(verify=False), None)


def call(*items: dict[str, Any], model: str = "m", **fields: Any) -> SampleCall:
    given = [INPUT_ITEM.validate_python(item) for item in items]
    return SampleCall(model=model, items=given, request=CreateResponse(model=model, input="x"), **fields)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


async def deltas_of(scripted: Scripted, of: SampleCall) -> list[Delta]:
    return [delta async for delta in scripted.sample(of)]


async def test_the_turns_of_a_conversation_follow_the_calls_in_it(tmp_path: Path) -> None:
    scripted = adapter(tmp_path)
    asked = user("How is the WEATHER?")
    first = await deltas_of(scripted, call(asked))
    assert check_stream(first).reason == "tool_calls"
    assert first[0] == ReasoningDelta("I look.")
    written = [(one.name, one.arguments) for one in first if isinstance(one, ToolCallDelta)]
    assert written == [("get_weather", '{"city": "Oslo"}'), ("broken", "{")]
    done = [
        {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": "{}"},
        {"type": "function_call", "call_id": "b", "name": "broken", "arguments": "{"},
        {"type": "function_call_output", "call_id": "a", "output": "cold"},
        {"type": "function_call_output", "call_id": "b", "output": "no"},
    ]
    second = await deltas_of(scripted, call(asked, *done))
    assert check_stream(second).reason == "stop"
    assert text_of(second) == "It is cold in Oslo."
    # A new question begins the turns anew.
    assert (await deltas_of(scripted, call(asked, *done, asked)))[:-1] == first[:-1]


async def test_an_answer_that_was_interrupted_goes_on_where_it_was(tmp_path: Path) -> None:
    scripted = adapter(tmp_path)
    whole = call(user("hi"), model="echo")
    assert scripted.resume_of(whole) == "prefill"
    assert text_of(await deltas_of(scripted, whole)) == "You said: hi. You said: hi. "
    rest = call(user("hi"), model="echo", prefix="You said: hi. You ")
    assert text_of(await deltas_of(scripted, rest)) == "said: hi. "


async def test_a_fault_comes_behind_its_words_and_as_often_as_the_script_says(tmp_path: Path) -> None:
    scripted = adapter(tmp_path)
    for _ in range(2):
        answer = scripted.sample(call(user("flaky")))
        assert [await anext(answer), await anext(answer)] == [TextDelta("one "), TextDelta("two ")]
        with pytest.raises(ProviderUnavailable):
            await anext(answer)
    assert text_of(await deltas_of(scripted, call(user("flaky")))) == "one two three"
    # Another conversation has faults of its own.
    with pytest.raises(ProviderUnavailable):
        await deltas_of(scripted, call(user("flaky again")))
    for _ in range(3):
        with pytest.raises(ProviderRateLimited) as caught:
            await deltas_of(scripted, call(user("limited")))
        assert caught.value.retry_after == 7


async def test_an_answer_that_goes_on_counts_the_part_before_as_read(tmp_path: Path) -> None:
    """As real models do: the tokens of the part before are then taken from the input (`activities/sampling`)."""
    whole = (await deltas_of(adapter(tmp_path), call(user("hi"), model="echo")))[-1]
    rest = (await deltas_of(adapter(tmp_path), call(user("hi"), model="echo", prefix="You said: ")))[-1]
    assert isinstance(whole, Finish)
    assert isinstance(rest, Finish)
    assert rest.usage.input_tokens == whole.usage.input_tokens + 2
    assert rest.usage.output_tokens == whole.usage.output_tokens - 2


async def test_a_budget_of_tokens_cuts_the_answer_at_a_word(tmp_path: Path) -> None:
    cut = await deltas_of(adapter(tmp_path), call(user("hi"), model="echo", max_output_tokens=3))
    assert text_of(cut) == "You said: hi. "
    end = cut[-1]
    assert isinstance(end, Finish)
    assert (end.reason, end.usage.output_tokens) == ("length", 3)


async def test_what_the_script_does_not_answer_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ProviderRejected, match="without 'when'"):
        await deltas_of(adapter(tmp_path), call(user("something else")))


async def test_it_lists_the_models_that_it_names(tmp_path: Path) -> None:
    scripted = adapter(tmp_path, '{"answers": [{"model": "a-*", "text": "x"}, {"model": "b", "text": "y"}]}', "s.json")
    assert [model.id for model in await scripted.list_models()] == ["b"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "answers: Field required"),
        ("[[answers]]\ntxt = 1", "answers.0.txt: Extra inputs"),
        ('[[answers]]\nfault = { error = "nothing" }', "answers.0.fault: error must be one of"),
        ('[[answers]]\ntext = "a"\nturns = [{}]', "answers.0: has turns, so text must be in one of them"),
        ("[[answers]]\ndelay_seconds = -1", "answers.0.delay_seconds"),
        ("[[answers", "script.toml"),
    ],
)
def test_a_script_that_cannot_be_used_is_named_with_its_place(tmp_path: Path, script: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        adapter(tmp_path, script)
    assert "script.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_configuration_names_the_script_and_needs_no_address(tmp_path: Path) -> None:
    config = Config(providers=(ProviderConfig(name="p", adapter="scripted", script=str(tmp_path / "none.toml")),))
    with pytest.raises(ValueError, match=r"provider 'p'.*No such file"):
        build_providers(config, httpx.AsyncClient(verify=False), {})
    with pytest.raises(ValidationError, match="script is missing"):
        ProviderConfig(name="p", adapter="scripted")
    with pytest.raises(ValidationError, match="base_url is missing"):
        ProviderConfig(name="p", adapter="openai")
