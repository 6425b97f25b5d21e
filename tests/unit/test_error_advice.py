"""A failed response's message ends with what its reader can do, as a sentence of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from open_responses.loop.error_advice import with_advice

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("said", ["groq cannot be reached", "groq cannot be reached."])
def test_the_advice_is_a_sentence_behind_the_message(said: str) -> None:
    assert with_advice("provider_unavailable", said) == "groq cannot be reached. Send your request again later."


def test_a_code_whose_messages_say_what_to_do_gets_no_advice() -> None:
    assert with_advice("run_reset", "Send your request again.") == "Send your request again."


def test_each_code_of_a_failed_response_has_advice_or_says_it_itself() -> None:
    """The codes of the section of docs/errors.md on failed responses."""
    page = (ROOT / "docs" / "errors.md").read_text()
    section = page.partition("## In a failed response")[2].partition("\n## ")[0]
    codes = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    silent = [code for code in codes if with_advice(code, "…") == "…"]
    assert len(codes) > 10
    # `provider_error` is an adapter's own message; the others are written in full where they are raised.
    runs = ["run_terminated", "run_timed_out", "run_failed", "run_deleted", "run_reset"]
    assert silent == ["provider_authentication", "provider_error", *runs, "stream_diverged"]
