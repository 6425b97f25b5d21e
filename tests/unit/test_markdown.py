"""What others wrote is shown to an operator as it stands."""

from __future__ import annotations

import pytest

from open_responses.loop.markdown import plain


@pytest.mark.parametrize(
    "text",
    [
        "gpt-5.2",
        "claude-sonnet-4-5",
        "get_weather",
        'get_weather({"city":"Paris","days":[]})'.replace("[]", "1"),
        "a/b:c",
    ],
)
def test_names_and_json_stay_as_they_are(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x` **y**", r"x\` \*\*y\*\*"),
        ("![p](https://evil.example/p.png)", r"\!\[p\](https:\/\/evil.example/p.png)"),
        ("see www.evil.example", r"see www\.evil.example"),
        ("a@evil.example", r"a\@evil.example"),
        ("<img src=x onerror=y>", r"\<img src=x onerror=y\>"),
        ("one\n\n# two\r- three", r"one \# two - three"),
        ("a\u2028b\u202ec\x00d", "a b c d"),
        ("_x_", r"\_x\_"),
        ("a\\", r"a\\"),
        ("| a | b |", r"\| a \| b \|"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("&lt;", r"\&lt;"),
    ],
)
def test_nothing_in_it_acts(text: str, shown: str) -> None:
    assert plain(text) == shown
