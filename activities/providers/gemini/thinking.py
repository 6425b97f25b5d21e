"""`reasoning` as Gemini's `thinkingConfig`: a level from Gemini 3 on, a budget of tokens before.

Sources: ai.google.dev/gemini-api/docs/thinking, /openai (what an effort is in tokens).
"""

from __future__ import annotations

import re

from activities.providers.gemini.models import is_gemini_3
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject

# Google's own table for OpenAI's `reasoning_effort`. The two highest values are the limits of the models.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
_PRO_LEAST, _PRO_MOST = 128, 32_768
_LEVELS = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}


def thinking_config(call: SampleCall) -> JsonObject:
    """Return the setting: a level from Gemini 3 on, and a budget before. Thoughts are included if the request wants a
    summary."""
    asked = call.request.reasoning
    if asked is None:
        return {}
    settings: JsonObject = {}
    if asked.effort is not None:
        settings = _level(call.model, asked.effort) if is_gemini_3(call.model) else _budget(call.model, asked.effort)
    if asked.summary is not None and settings.get("thinkingBudget") != 0:
        settings["includeThoughts"] = True
    return settings


def _level(model: str, effort: str) -> JsonObject:
    """Return the level. Thinking cannot be turned off, so `none` is the lowest level of the model."""
    name = model.rsplit("/", 1)[-1]
    if effort in ("none", "minimal"):
        return {"thinkingLevel": _least_level(name)}
    if effort == "medium" and re.match(r"gemini-3-pro", name):
        return {"thinkingLevel": "high"}
    return {"thinkingLevel": _LEVELS[effort]}


def _least_level(name: str) -> str:
    """Return the lowest level. The Pro models, and Flash from 3.7 on, reject `minimal`."""
    if "pro" in name.split("-") or name == "gemini-flash-latest":
        return "low"
    flash = re.match(r"gemini-(\d+)\.(\d+)-flash(?!-lite)", name)
    return "low" if flash and (int(flash[1]), int(flash[2])) >= (3, 7) else "minimal"


def _budget(model: str, effort: str) -> JsonObject:
    """Return the budget of tokens. Thinking cannot be turned off in Gemini 2.5 Pro."""
    is_pro = "pro" in model.split("-")
    if effort == "none":
        return {"thinkingBudget": _PRO_LEAST if is_pro else 0}
    return {"thinkingBudget": _PRO_MOST if is_pro and effort in ("xhigh", "max") else _BUDGETS[effort]}
