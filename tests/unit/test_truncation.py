"""What of a conversation is dropped when it is too long, and what never is (REQ-3)."""

from __future__ import annotations

import itertools

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_responses.context.excerpt import MAX_RESULT_CHARACTERS, fitting_parts, readable
from open_responses.context.tokens import at_most, count_tokens, item_tokens
from open_responses.context.truncation import fit
from open_responses.errors import ContextLengthExceeded
from open_responses.json_types import JsonObject
from open_responses.schema.items import INPUT_ITEMS, InputItem
from tests.support.fake_upstream import Script, Upstream


def message(role: str, text: str) -> JsonObject:
    return {"type": "message", "role": role, "content": text}


def call(name: str) -> list[JsonObject]:
    return [
        {"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": name, "output": name * 10},
    ]


def items(*given: JsonObject | list[JsonObject]) -> list[InputItem]:
    flat = [item for entry in given for item in (entry if isinstance(entry, list) else [entry])]
    return INPUT_ITEMS.validate_python(flat)


def ten(_: InputItem) -> int:
    return 10


def names(kept: list[InputItem]) -> list[str]:
    return [getattr(item, "call_id", None) or str(getattr(item, "content", "")) for item in kept]


def test_what_fits_is_left_alone() -> None:
    whole = items(message("user", "a"), message("assistant", "b"), message("user", "c"))
    assert fit(whole, 30, ten) == whole


def test_the_oldest_turns_go_first_and_instructions_stay() -> None:
    whole = items(
        message("system", "sys"),
        *[message(role, f"{role}{i}") for i in range(4) for role in ("user", "assistant")],
        message("developer", "dev"),
        message("user", "now"),
    )
    kept = fit(whole, 70, ten)
    assert names(kept) == ["sys", "user2", "assistant2", "user3", "assistant3", "dev", "now"]


def test_a_call_goes_with_its_output_and_the_newest_round_stays() -> None:
    whole = items(message("user", "ask"), *[call(f"c{i}") for i in range(6)])
    assert names(fit(whole, 55, ten)) == ["ask", "c4", "c4", "c5", "c5"]
    parallel = items(message("user", "ask"), call("old"), call("a")[0], call("b")[0], call("a")[1], call("b")[1])
    assert names(fit(parallel, 55, ten)) == ["ask", "a", "b", "a", "b"]


def test_the_newest_result_is_cut_before_the_answer_is_refused() -> None:
    whole = items(message("user", "ask"), call("c"))
    long = INPUT_ITEMS.validate_python(
        [*[item.model_dump(exclude_unset=True) for item in whole[:2]], {**call("c")[1], "output": "word " * 20_000}]
    )
    kept = fit(long, 2000, item_tokens)
    assert sum(map(item_tokens, kept)) <= 2000
    assert "characters were left out" in str(kept[-1])
    with pytest.raises(ContextLengthExceeded):
        fit(items(message("user", "word " * 5000)), 2000, item_tokens)


def text(words: str) -> JsonObject:
    return {"type": "input_text", "text": words}


def image(url: str = "data:image/png;base64,AAAA") -> JsonObject:
    return {"type": "input_image", "image_url": url}


def result(*parts: JsonObject) -> JsonObject:
    return {"type": "function_call_output", "call_id": "c", "output": list(parts)}


def test_an_image_in_a_result_is_left_whole_until_it_is_larger_than_any_input_may_be() -> None:
    ten_megabytes = result(image("data:image/png;base64," + "A" * 14_000_000), text("seen"))
    assert readable(ten_megabytes) == ten_megabytes
    (note, seen) = readable(result(image("A" * 21_000_000), text("seen")))["output"]
    assert note["type"] == "input_text"
    assert "image, 15,750,000 bytes, was left out" in note["text"]
    assert seen == text("seen")


def test_a_file_that_no_window_takes_is_told_of_in_a_note() -> None:
    small = {"type": "input_file", "filename": "a.pdf", "file_data": "A" * 1_000_000}
    large = {"type": "input_file", "filename": "b.pdf", "file_data": "A" * 20_000_000}
    kept = readable(result(small, large, text("two files")))["output"]
    assert kept[0] == small
    assert "'b.pdf'" in kept[1]["text"]
    assert kept[2] == text("two files")


def test_parts_share_what_a_result_may_have_and_short_ones_stay_whole() -> None:
    kept = readable(result(text("head"), *[text("x" * 300_000) for _ in range(4)], text("tail")))["output"]
    assert (kept[0], kept[-1]) == (text("head"), text("tail"))
    assert all("characters were left out" in part["text"] for part in kept[1:-1])
    assert sum(len(part["text"]) for part in kept) < MAX_RESULT_CHARACTERS * 1.01
    many = fitting_parts([text("y" * 1000)] * 10_000, 20_000)
    assert "9,900 more parts were left out" in many[-1]["text"]
    assert sum(len(part["text"]) for part in many) < 40_000


def test_a_newest_result_of_images_gives_way_before_the_answer_is_refused() -> None:
    whole = items(message("user", "ask"), call("c")[0], result(*[image()] * 5, text("five of them")))
    kept = fit(whole, 1500, item_tokens)
    assert sum(map(item_tokens, kept)) <= 1500
    assert "image" in str(kept[-1])
    assert "five of them" in str(kept[-1])


_turns = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=8)


@given(_turns, st.integers(1, 40))
def test_no_output_is_ever_without_its_call(turns: list[tuple[int, bool]], room: int) -> None:
    whole: list[JsonObject | list[JsonObject]] = []
    for number, (rounds, answered) in enumerate(turns):
        whole.append(message("user", f"u{number}"))
        whole += [call(f"c{number}-{i}") for i in range(rounds)]
        if answered:
            whole.append(message("assistant", f"a{number}"))
    try:
        kept = fit(items(*whole), room * 10, ten)
    except ContextLengthExceeded:
        # The newest prompt is of all user messages that nothing stands between; its last round has three items at most.
        unanswered = itertools.takewhile(lambda turn: turn == (0, False), reversed(turns[:-1]))
        assert room < 1 + len(list(unanswered)) + 3
        return
    assert len(kept) <= room
    assert f"u{len(turns) - 1}" in names(kept)
    called = [item.call_id for item in kept if item.type == "function_call"]
    answered_calls = [item.call_id for item in kept if item.type == "function_call_output"]
    assert called == answered_calls


@given(st.text(max_size=300))
def test_the_bound_that_costs_nothing_is_a_bound(said: str) -> None:
    item = INPUT_ITEMS.validate_python([message("user", said)])
    assert item_tokens(item[0]) <= at_most(item)


def test_tokens_are_counted_and_not_guessed() -> None:
    assert count_tokens("Hello, world! This is a test.") == 9
    assert count_tokens("<|endoftext|>") > 1
    assert 200_000 < count_tokens("ab1" * 200_000) < 600_000


@pytest.mark.campaign
async def test_auto_drops_the_oldest_turns_and_disabled_refuses(client: httpx.AsyncClient, upstream: Upstream) -> None:
    previous = None
    for number in range(5):
        prompt = f"turn {number} " + "filler " * 60
        upstream.says(prompt, Script(words=20))
        body = {"model": "fake-small", "input": prompt, "previous_response_id": previous, "truncation": "auto"}
        response = (await client.post("/v1/responses", json=body)).json()
        assert response["status"] == "completed", response["error"]
        previous = response["id"]
    sent = [m["content"].split(" filler")[0] for m in upstream.requests[-1]["messages"] if m["role"] == "user"]
    assert sent[-1] == "turn 4"
    assert 1 < len(sent) < 5
    body |= {"input": "one more", "previous_response_id": previous, "truncation": "disabled"}
    failed = (await client.post("/v1/responses", json=body)).json()
    assert (failed["status"], failed["error"]["code"]) == ("failed", "context_length_exceeded")
    refused = await client.post("/v1/responses", json={"model": "fake-small", "input": "filler " * 1000})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert "1,0" in refused.json()["error"]["message"]
