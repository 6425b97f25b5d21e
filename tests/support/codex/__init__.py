"""Requests of Codex 0.171, as it sends them after a call of its tools: long texts are cut, and ids are replaced."""

from __future__ import annotations

import json
from pathlib import Path

from open_responses.json_types import JsonObject

MODELS = ("gpt-5.4", "gpt-5.5", "gpt-5.6-sol")
"""Codex chooses its tools by the model: functions and namespaces, custom tools and a search, or tools in an item."""


def codex_request(model: str) -> JsonObject:
    """The body of the request."""
    body: JsonObject = json.loads((Path(__file__).parent / f"{model}.json").read_text())
    return body
