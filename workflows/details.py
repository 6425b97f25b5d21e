"""The details of a run that Temporal's UI shows to an operator, in Markdown: the present step, and the reason for a
wait."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from open_responses.json_types import JsonObject
    from open_responses.loop.markdown import plain
    from open_responses.loop.payloads.sample import ProviderTrouble
    from open_responses.loop.payloads.usage import TurnUsage, usage_with

if TYPE_CHECKING:
    from workflows.state import ResponseState

# The page is a summary; the history has the whole of each text.
_LONGEST_TEXT = 300
_MOST_APPROVALS = 20


def details(state: ResponseState) -> str:
    """The state of the response. Texts of clients, models and providers are escaped, and shortened."""
    usage = usage_with(state.usage, state.paid) or TurnUsage()
    lines = [
        f"- model {plain(state.start.request.model)} on {plain(state.target.provider)}",
        f"- tokens: {usage.input_tokens} in, {usage.output_tokens} out",
        f"- cost: {_cost(usage)}",
        f"- tool calls: {state.tool_calls}",
        f"- items: {len(state.output_ledger.output)}",
        *(_approval(item) for item in list(state.awaited.values())[:_MOST_APPROVALS]),
    ]
    lines += [f"- waits {plain(text)}" for text in state.waits.values()]
    if state.steers:
        lines.append(f"- messages that wait for the next model turn: {len(state.steers)}")
    if state.trouble is not None:
        lines.append(_trouble(state.trouble))
    return f"**{plain(state.doing)}** · turn {state.turn} · attempt {state.epoch}\n\n" + "\n".join(lines)


def _cost(usage: TurnUsage) -> str:
    if usage.cost_usd is None:
        return "not known" if usage.total else "none yet"
    return f"{usage.cost_usd:.6f} USD" + (", and tokens without a known price" if usage.unpriced else "")


def _approval(item: JsonObject) -> str:
    called = f"{_short(item['name'])} {_short(item['arguments'])}"
    return f"- approval pending: {called} of {_short(item['server_label'])} · id {plain(item['id'])}"


def _trouble(trouble: ProviderTrouble) -> str:
    text = f"- last error of {plain(trouble.provider)}: {plain(trouble.code)}: {_short(trouble.message)}"
    if trouble.next_at is None:
        return text
    at = datetime.datetime.fromtimestamp(trouble.next_at, datetime.UTC)
    return f"{text} · next attempt at {at:%Y-%m-%d %H:%M:%S} UTC"


def _short(text: str) -> str:
    return plain(text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…")
