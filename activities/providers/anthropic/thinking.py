"""`reasoning.effort` in Anthropic's words: adaptive thinking with an effort, or a budget of tokens.

Sources: platform.claude.com/docs (thinking, effort, preserved thinking).
"""

from __future__ import annotations

from activities.providers.anthropic.models import Model, refused
from activities.providers.shared.tool_choices import is_forced
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject

_MIN_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 48_000}


def thinking_of(
    call: SampleCall, model: Model, max_tokens: int, messages: list[JsonObject]
) -> tuple[JsonObject, str | None]:
    """Return (`thinking`, `output_config.effort`); empty and None for the model's own default."""
    asked = call.request.reasoning
    effort = asked.effort if asked is not None else None
    if model.is_adaptive:
        return _adaptive(call, model, effort, shows=asked is not None and asked.summary is not None)
    if effort == "none":
        return ({} if model.is_claude else {"type": "disabled"}), None
    if effort is None or not model.has_budget:
        return {}, None
    if model.is_claude and (is_forced(call) or _lacks_thought(messages)):
        return {}, None
    budget = min(_BUDGETS[effort], max_tokens * 3 // 4)
    return ({"type": "enabled", "budget_tokens": budget} if budget >= _MIN_BUDGET else {}), None


def _adaptive(call: SampleCall, model: Model, effort: str | None, *, shows: bool) -> tuple[JsonObject, str | None]:
    level = model.effort(effort) if effort not in (None, "none") else None
    if effort == "none" and model.always_thinks:
        raise refused(f"{call.model} always reasons. Send an effort of 'low' or more.", "reasoning.effort")
    if effort == "none" or (is_forced(call) and not model.always_thinks):
        # Without thinking, there is no effort above `high`.
        level = "high" if level in ("xhigh", "max") else level
        return ({"type": model.off_switch} if model.thinks_unasked else {}), level
    if level is None and not (model.thinks_unasked and (shows or model.binds_thoughts)):
        return {}, None
    thinking: JsonObject = {"type": "adaptive"}
    if shows:
        thinking["display"] = "summarized"
    if model.binds_thoughts:
        thinking["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    return thinking, level


def _lacks_thought(messages: list[JsonObject]) -> bool:
    """Whether the conversation is in a loop of tool calls that began without thinking of this provider.

    With a budget, the API requires that a turn with a call begins with thinking. A loop that another provider began
    therefore continues without thinking.
    """
    asked = [index for index, message in enumerate(messages) if _is_asking(message)]
    turn = [message for message in messages[asked[-1] + 1 if asked else 0 :] if message["role"] == "assistant"]
    return bool(turn) and turn[0]["content"][0]["type"] not in ("thinking", "redacted_thinking")


def _is_asking(message: JsonObject) -> bool:
    return message["role"] == "user" and any(block["type"] != "tool_result" for block in message["content"])
