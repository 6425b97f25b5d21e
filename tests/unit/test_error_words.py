"""Each code with which a response can fail has a sentence of this server's own, which operators read in Temporal."""

from __future__ import annotations

import re
from pathlib import Path

from open_responses.loop.error_words import own_words

ROWS = re.findall(
    r"^\| `([a-z_]+)` \| ([0-9, ]+) \|", (Path(__file__).parents[2] / "docs" / "errors.md").read_text(), re.M
)


def test_each_code_of_a_failed_response_has_its_words() -> None:
    codes = [code for code, status in ROWS if status.strip() == "500"]
    assert len(codes) > 10
    assert [code for code in codes if own_words(code) == code] == []


def test_a_code_of_a_middleware_stands_for_itself() -> None:
    assert own_words("too_rude") == "too_rude"
    assert own_words("provider_timeout") == "provider_timeout: the provider did not answer in time"
