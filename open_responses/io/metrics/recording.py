"""Records metrics, with one function for each event. No function waits, and none raises for an unknown value.

Label values that are not in the configuration are bounded here (`label_values.py`), so callers can pass any value.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable

from open_responses import __version__
from open_responses.config import Config
from open_responses.io.metrics import definitions as d
from open_responses.io.metrics.families import OTHER
from open_responses.io.metrics.label_values import LabelValues
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage

CHAT = "chat"

_values = LabelValues(Config())


def configure(config: Config, component: str) -> None:
    """Take the names that labels may have from this configuration: at the start, and when it was reloaded."""
    global _values
    _values = LabelValues(config)
    d.INFO.of(__version__, component).set(1)
    d.CONFIGURATION_IN_FORCE.of().set(1)
    d.CONFIGURATION_LOADED.of().set(time.time())


def configuration_rejected() -> None:
    """A changed configuration file is not valid; the one before stays in force."""
    d.CONFIGURATION_ERRORS.of().inc()
    d.CONFIGURATION_IN_FORCE.of().set(0)


# --- the API


def request_started(model: str) -> None:
    """A request started a response."""
    d.REQUESTS.of(_values.model(model)).inc()


def refused(code: str) -> None:
    """A request, or a message of a WebSocket, got an error."""
    d.REFUSALS.of(_values.code(code)).inc()


def streams_open(count: int) -> None:
    """The number of streams that this process has open."""
    d.OPEN_STREAMS.of().set(count)


def stream_resumed(*, is_running: bool) -> None:
    """A client reconnected to a stream."""
    d.STREAM_RESUMES.of("running" if is_running else "ended").inc()


def stream_lost() -> None:
    """A stream ended with `stream_lost`."""
    d.STREAMS_LOST.of().inc()


def limit_used(tenant: str, limit: str, used: float, most: float) -> None:
    """How much of a key's limit is used. `limit` is the limit's name in the configuration."""
    d.LIMIT_USED.of(_values.tenant(tenant), limit).set(used / most)


# --- model turns


def model_call_ended(
    provider: str,
    model: str,
    tenant: str,
    *,
    seconds: float,
    to_first: float | None,
    to_last: float | None,
    output_tokens: int,
    error: str | None,
) -> None:
    """One call of a model ended.

    Args:
        provider: The provider's name in the configuration.
        model: The provider's name of the model.
        tenant: The response's.
        seconds: The time of the call.
        to_first: The time until the first delta; None without any.
        to_last: The time until the last delta.
        output_tokens: The tokens of the answer; 0 where the call failed.
        error: The code of the error that ended it.
    """
    labels = (CHAT, _values.provider(provider), _values.model(model), _values.tenant(tenant))
    d.OPERATION_DURATION.of(*labels, "" if error is None else _values.code(error)).observe(seconds)
    if to_first is None:
        return
    d.TIME_TO_FIRST_TOKEN.of(*labels).observe(to_first)
    if to_last is not None and error is None and output_tokens > 1:
        d.TIME_PER_OUTPUT_TOKEN.of(*labels).observe((to_last - to_first) / (output_tokens - 1))


def model_turn_ended(provider: str, model: str, upstream_model: str, tenant: str, usage: TurnUsage) -> None:
    """A model turn is complete, with the tokens of all its attempts."""
    d.LOOP_ITERATIONS.of(_values.model(model)).inc()
    labels = (CHAT, _values.provider(provider), _values.model(upstream_model), _values.tenant(tenant))
    for kind, count in _by_type(usage).items():
        if count:
            d.TOKEN_USAGE.of(*labels, kind).observe(count)


def attempt_ended(provider: str, outcome: str, reason: str = "") -> None:
    """An attempt at a model turn ended. `reason` is an error code."""
    d.ATTEMPTS.of(_values.provider(provider), outcome, _values.code(reason) if reason else "").inc()


def fell_back(provider: str, model: str) -> None:
    """A model turn goes on with another provider of its route: this one."""
    d.FALLBACKS.of(_values.provider(provider), _values.model(model)).inc()


def stream_events(events: Iterable[JsonObject]) -> None:
    """Events that were appended to a stream, a batch at a time."""
    counts = d.STREAM_EVENTS.counts
    for event in events:
        kind = event["type"]
        counts[kind if kind in counts else OTHER] += 1


# --- tools


def tool_dispatched(tool: str) -> None:
    """An attempt at a tool call begins. An MCP tool's name is `label.tool`."""
    d.TOOL_DISPATCHES.of(_values.tool(tool)).inc()


def tool_ended(tool: str, outcome: str, seconds: float) -> None:
    """An attempt at a tool call ended."""
    d.TOOL_DURATION.of(_values.tool(tool), outcome).observe(seconds)


def mcp_request_ended(label: str, operation: str, outcome: str) -> None:
    """`operation` is `list_tools` or `call_tool`."""
    d.MCP_REQUESTS.of(_values.server(label), operation, outcome).inc()


def activity_began() -> None:
    """This worker began a sample or a tool call."""
    d.RUNNING_ACTIVITIES.of().inc()


def activity_ended() -> None:
    """This worker ended a sample or a tool call."""
    d.RUNNING_ACTIVITIES.of().dec()


# --- responses


# `finish` may be repeated by the same process, and then counts once.
_MOST_ENDED = 10_000
_ended: OrderedDict[str, None] = OrderedDict()


def response_ended(start: StartResponse, status: str, error: JsonObject | None, usage: TurnUsage | None) -> None:
    """A response ended: once for each. `usage` is that of all its attempts, with its cost."""
    if start.response_id in _ended:
        return
    _ended[start.response_id] = None
    if len(_ended) > _MOST_ENDED:
        _ended.popitem(last=False)
    model, provider = _values.model(start.request.model), _values.provider(start.provider)
    tenant, code = _values.tenant(start.tenant), _values.code(error["code"]) if error else ""
    d.RESPONSES.of(model, provider, tenant, status, code).inc()
    d.RESPONSE_DURATION.of(model, provider, status).observe(max(0.0, time.time() - start.created_at))
    if usage is None:
        return
    for kind, count in _by_type(usage).items():
        if count:
            d.TOKENS.of(model, provider, tenant, kind).inc(count)
    if usage.cost_usd:
        d.COST.of(model, provider, tenant).inc(usage.cost_usd)
    if usage.unpriced:
        d.UNPRICED.of(model, provider).inc()


def _by_type(usage: TurnUsage) -> dict[str, int]:
    return {
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached_input": usage.cached_tokens,
        "reasoning": usage.reasoning_tokens,
    }


def webhook_attempted(outcome: str) -> None:
    """An attempt to send a webhook was made. The delivery is `delivered`, `pending` or `failed` after it."""
    d.WEBHOOK_ATTEMPTS.of(outcome).inc()


# --- durability


def worker_taken_over(activities: int, silence_seconds: float | None) -> None:
    """A dead worker was taken over. `silence_seconds` is None for one whose death was announced."""
    d.TAKEOVERS.of().inc()
    d.TAKEN_OVER_ACTIVITIES.of().inc(activities)
    if silence_seconds is not None:
        d.TAKEOVER_SILENCE.of().observe(silence_seconds)


def log_restored(outcome: str) -> None:
    """An event log that Redis had lost was `restored`, or is `lost`, or could not be written again (`failed`)."""
    d.LOGS_RESTORED.of(outcome).inc()


_up: dict[str, bool] = {}


def dependency_is_up(dependency: str, is_up: bool) -> None:
    """Whether this process reaches Redis or Temporal. An outage is counted when it begins."""
    was_up = _up.get(dependency, True)
    _up[dependency] = is_up
    d.DEPENDENCY_UP.of(dependency).set(is_up)
    if was_up and not is_up:
        d.OUTAGES.of(dependency).inc()


# --- the whole server


def backlog_read(kind: str, tasks: int, age_seconds: float) -> None:
    """The tasks of a kind that wait for a worker, and the age of the oldest in seconds."""
    d.BACKLOG_TASKS.of(kind).set(tasks)
    d.BACKLOG_AGE.of(kind).set(age_seconds)


def running_read(count: int) -> None:
    """The number of responses that have started and not ended."""
    d.RUNNING_RESPONSES.of().set(count)


def waiting_read(reason: str, count: int) -> None:
    """Responses that wait for an `approval`, or for a `retry`."""
    d.WAITING_RESPONSES.of(reason).set(count)


def workers_read(living: int) -> None:
    """The number of workers with a valid lease."""
    d.LIVE_WORKERS.of().set(living)


def breaker_read(provider: str, *, is_open: bool) -> None:
    """The state of a provider's breaker."""
    d.BREAKER_OPEN.of(_values.provider(provider)).set(is_open)
