"""The JSON bodies of the endpoints for operators, as types. Times are in Unix seconds, with fractions.

They are not validated at run time: see `output_items.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NotRequired

from typing_extensions import TypedDict


class ResponseSummary(TypedDict):
    """A response in a list, without its content. What is not known is null: of an older version's, or while it runs."""

    id: str
    object: Literal["response.summary"]
    status: Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]
    model: str | None
    provider: str | None
    tenant: str | None
    created_at: float
    ended_at: float | None
    error_code: str | None
    conversation: str | None
    previous_response_id: str | None
    tools: Sequence[str]
    input_tokens: int | None
    output_tokens: int | None
    total_tokens: int | None
    cost_usd: float | None
    waiting_for: Literal["approval", "retry"] | None
    temporal_url: str


class ResponseSummaryPage(TypedDict):
    """A page of responses. `last_id`, sent as `after`, gets the next page."""

    object: Literal["list"]
    data: Sequence[ResponseSummary]
    first_id: str | None
    last_id: str | None
    has_more: bool


class TimelineEntry(TypedDict):
    """One step of a response. `ended_at` is null while it goes on.

    `due_at` is when a wait ends by itself. `response_id` is the response of an agent that was called.
    """

    kind: Literal["model_turn", "tool", "mcp", "approval", "wait", "agent", "finish"]
    name: str
    turn: int
    attempt: int
    started_at: float
    ended_at: float | None
    status: Literal["completed", "failed", "running", "retrying", "cancelled"]
    detail: str
    tokens: NotRequired[int | None]
    cost_usd: NotRequired[float | None]
    due_at: NotRequired[float]
    response_id: NotRequired[str]


class ResponseTimeline(TypedDict):
    """The steps of a response, in the order in which they began.

    `agent_of` is the response that called this one as its agent; null for a client's.
    """

    object: Literal["response.timeline"]
    response_id: str
    agent_of: str | None
    entries: Sequence[TimelineEntry]
    temporal_url: str


class ApprovalPending(TypedDict):
    """A call that waits for a person. `server_label` is null for a hosted tool."""

    id: str
    object: Literal["approval.pending"]
    response_id: str
    tenant: str | None
    tool: str
    arguments: str
    server_label: str | None
    requested_at: float


class ApprovalPendingPage(TypedDict):
    """A page of calls that wait. `last_id`, sent as `after`, gets the next page."""

    object: Literal["list"]
    data: Sequence[ApprovalPending]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ServerPart(TypedDict):
    """Whether a part answers, and how fast. `detail` says why it does not."""

    ok: bool
    detail: str | None
    latency_ms: float


class WorkerHealth(TypedDict):
    """A worker, the age of its lease, and the number of activities that it runs."""

    id: str
    lease_age_seconds: float
    running: int
    version: str | None


class ProviderHealth(TypedDict):
    """A provider and its circuit breaker. `last_error` is the code of a failure in the last minute."""

    name: str
    adapter: str
    breaker: Literal["closed", "open", "half_open"]
    open_until: float | None
    last_error: str | None


class WaitingTasks(TypedDict):
    """The tasks that wait for a worker, and the age of the oldest."""

    workflow_tasks: int
    activity_tasks: int
    oldest_seconds: float


class LoadedConfiguration(TypedDict):
    """When the configuration in force was loaded, and why the file as it is now is not in force."""

    loaded_at: float
    error: str | None


class TakeoverSeen(TypedDict):
    """A dead worker that another took over. `silence_seconds` is null where a supervisor announced the death."""

    at: float
    worker: str
    by: str
    activities: int
    responses: Sequence[str]
    silence_seconds: float | None


class RestartAdvice(TypedDict):
    """Whether one process may be restarted now, why not, and what is to be known before."""

    is_safe: bool
    reasons: Sequence[str]
    notes: Sequence[str]


class ServerHealth(TypedDict):
    """What runs and what does not. `takeovers` are the newest, of the last seven days."""

    object: Literal["health"]
    temporal: ServerPart
    redis: ServerPart
    workers: Sequence[WorkerHealth]
    providers: Sequence[ProviderHealth]
    backlog: WaitingTasks
    configuration: LoadedConfiguration
    takeovers: Sequence[TakeoverSeen]
    restart: RestartAdvice


class RefusalsOfAKind(TypedDict):
    """The refused requests of one tenant (null: without a valid key) with one code at one endpoint."""

    object: Literal["refusals"]
    tenant: str | None
    code: str
    status: int
    path: str
    count: int
    last_at: float
    last_request_id: str | None


class RefusalList(TypedDict):
    """The refusals of the last hours."""

    object: Literal["list"]
    hours: int
    data: Sequence[RefusalsOfAKind]
