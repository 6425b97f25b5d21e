"""The features of each Gemini model, by its name."""

from __future__ import annotations

import re


def is_gemini_3(model: str) -> bool:
    """Whether the model is of the third generation or a later one; `gemini-flash-latest` and its like are."""
    name = model.rsplit("/", 1)[-1].lower()
    if not name.startswith("gemini-"):
        return False
    generation = re.search(r"-(\d{1,2})(?:[.-]|$)", name)
    return int(generation[1]) >= 3 if generation else name.endswith("-latest")
