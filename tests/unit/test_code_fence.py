"""A Markdown code fence around an answer in JSON, taken away as the text arrives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from activities.sampling.code_fence import CodeFence
from open_responses.deltas import Delta, ItemEnd, ReasoningDelta, TextAnnotation, TextDelta, ToolCallDelta

ANSWER = '{"a": "b ``` c", "d": [1, 2]}'
FENCED = [
    f"```json\n{ANSWER}\n```",
    f"```\n{ANSWER}\n```",
    f"\n\n```JSON\r\n{ANSWER}\r\n```\n\n",
    f"```json{ANSWER}```",
    f"``` {ANSWER} ```",
    f"```json\n{ANSWER}",
]
PLAIN = [
    ANSWER,
    f" \n{ANSWER}\n",
    "`a`",
    "``",
    "```",
    "```json",
    "````json\n{}\n````",
    f"Here it is:\n```json\n{ANSWER}\n```",
    "x" + " " * 5000 + "y",
    " " * 5000,
    "",
]


def cuts(text: str) -> Iterator[list[str]]:
    """The text as one piece, in two at each place, and in single characters."""
    yield [text]
    yield from ([text[:at], text[at:]] for at in range(1, min(len(text), 80)))
    yield list(text)


def read(pieces: list[str], *, is_continued: bool = False) -> str:
    fence = CodeFence(is_continued=is_continued)
    deltas = [delta for piece in pieces for delta in fence.read(TextDelta(piece))]
    return "".join(delta.text for delta in [*deltas, *fence.end()] if isinstance(delta, TextDelta))


@pytest.mark.parametrize("text", FENCED)
def test_a_fence_is_taken_away(text: str) -> None:
    assert {read(pieces) for pieces in cuts(text)} == {ANSWER}


@pytest.mark.parametrize("text", PLAIN)
def test_nothing_is_taken_from_other_text(text: str) -> None:
    assert {read(pieces) for pieces in cuts(text)} == {text}


def test_what_follows_a_fence_stays_with_its_end() -> None:
    assert {read(pieces) for pieces in cuts(f"```json\n{ANSWER}\n```\nDone.")} == {f"{ANSWER}\n```\nDone."}


def test_a_continued_answer_has_only_the_end_of_its_fence() -> None:
    assert {read(pieces, is_continued=True) for pieces in cuts('"d": [1, 2]}\n```\n')} == {'"d": [1, 2]}'}


def test_a_text_that_is_no_fence_does_not_wait() -> None:
    fence = CodeFence()
    assert fence.read(TextDelta('{"a"')) == [TextDelta('{"a"')]
    assert fence.read(TextDelta("  ")) == [TextDelta("  ")]


def test_blanks_without_end_do_not_wait() -> None:
    for fence in (CodeFence(), CodeFence(is_continued=True)):
        passed = [delta for _ in range(1000) for delta in fence.read(TextDelta(" "))]
        assert sum(len(delta.text) for delta in passed if isinstance(delta, TextDelta)) > 500


@pytest.mark.parametrize("end", [ToolCallDelta(0, "{}", "c", "f"), ReasoningDelta("hm"), ItemEnd()])
def test_what_was_held_precedes_the_end_of_the_text(end: Delta) -> None:
    fence = CodeFence()
    assert fence.read(TextDelta("``")) == []
    assert fence.read(end) == [TextDelta("``"), end]
    assert fence.read(TextDelta("```json\n{")) == [TextDelta("{")]
    assert fence.read(TextDelta("}\n```")) == [TextDelta("}")]
    assert fence.read(end) == [end]


def test_a_citation_does_not_end_the_text() -> None:
    fence, cited = CodeFence(), TextAnnotation({"type": "url_citation"})
    assert fence.read(TextDelta("```json\n{}\n``")) == [TextDelta("{}")]
    assert fence.read(cited) == [cited]
    assert [*fence.read(TextDelta("`")), *fence.end()] == []


def test_log_probabilities_and_the_phase_stay_with_the_text() -> None:
    fence = CodeFence()
    tokens = [{"token": token} for token in ("```", "json\n", "{}", "\n```")]
    deltas = [TextDelta(str(token["token"]), [token], "final_answer") for token in tokens]
    passed = [passed for delta in deltas for passed in fence.read(delta)] + fence.end()
    assert passed == [TextDelta("{}", [tokens[2]], "final_answer")]
