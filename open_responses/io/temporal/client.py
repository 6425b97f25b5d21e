"""One way to reach Temporal: address and TLS from the SDK's own environment variables, one data converter, and one
definition of "Temporal is away".

What this prevents: the SDK tells of an absent server by a `RuntimeError` until it has been connected once, by gRPC
statuses afterwards, and by an exception of its own in the middle of an update. Who forgets one of them answers 500.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import WorkflowExecutionStatus as ExecutionStatus
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsResponse,
    QueryWorkflowResponse,
    ResetStickyTaskQueueRequest,
)
from temporalio.client import Client, Plugin, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.client import ClientConfig as ClientOptions
from temporalio.common import SearchAttributeKey
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import ConnectConfig, GrpcCompression, RetryConfig, RPCError, RPCStatusCode, ServiceClient

from open_responses.io.temporal.large_payloads import data_converter
from open_responses.io.temporal.sdk_internals import NOT_CONNECTED, DelegatingServiceClient
from open_responses.loop import search_attributes

__all__ = ["TemporalAway", "TemporalDown", "WorkflowAlreadyStartedError", "connect", "unstick"]

MODEL = SearchAttributeKey.for_keyword(search_attributes.MODEL)
PROVIDER = SearchAttributeKey.for_keyword(search_attributes.PROVIDER)
TENANT = SearchAttributeKey.for_keyword(search_attributes.TENANT)
STATUS = SearchAttributeKey.for_keyword(search_attributes.STATUS)
PREVIOUS = SearchAttributeKey.for_keyword(search_attributes.PREVIOUS)

# How long a workflow task of a dead worker is waited for; no task of ours takes a tenth of it.
WORKFLOW_TASK_TIMEOUT = timedelta(seconds=3)

# How a worker's pollers come back after an outage: the SDK's own pause grows to ten seconds. (It does not apply to what
# they report: `activities/worker/temporal_outage.py`.)
_SOON = RetryConfig(max_elapsed_time_millis=300_000, max_retries=1000, max_interval_millis=2_000)
# How a request's calls come back: for the SDK's ten seconds, but with pauses of at most one, where the SDK's grow to
# five. A client would wait for the rest of the pause after Temporal has come back.
_PATIENT = RetryConfig(max_elapsed_time_millis=10_000, max_retries=30, max_interval_millis=1_000)

# Temporal could not be reached, as opposed to having refused.
_AWAY = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.UNKNOWN,
)
_PAUSED = ExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED


class TemporalAway(RPCError):
    """Any call of ours, when Temporal cannot be reached.

    `was_sent`: the call may have come into effect, with the answer lost.
    """

    def __init__(self, message: str, status: RPCStatusCode, raw_grpc_status: bytes, *, was_sent: bool) -> None:
        super().__init__(message, status, raw_grpc_status)
        self.was_sent = was_sent


TemporalDown = (TemporalAway, WorkflowUpdateRPCTimeoutOrCancelledError)
"""What an outage looks like: the counterpart of `RedisDown`."""


async def connect(
    blob_dir: Path | None,
    *,
    encryption_keys: Sequence[bytes] = (),
    metrics_port: int = 0,
    lazy: bool = False,
    for_worker: bool = False,
) -> Client:
    """A client for `TEMPORAL_ADDRESS` (127.0.0.1:7233 by default) and the rest of Temporal's variables.

    `blob_dir` holds large payloads and the keys of responses that are not to be stored; every process must see the same
    one. `encryption_keys` are for all other payloads, the first for new ones.
    `for_worker`: it is polled with, and repeats its calls for minutes; a request's caller would not wait for that.
    Raises TemporalAway, now or, with `lazy`, at the first call; so does every call from then on.
    """
    profile = ClientConfig.load_client_connect_config()
    profile.setdefault("target_host", "127.0.0.1:7233")
    runtime = None
    if metrics_port:
        runtime = Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=f"127.0.0.1:{metrics_port}")))
    return await Client.connect(
        **profile,
        data_converter=data_converter(blob_dir, encryption_keys),
        lazy=lazy,
        runtime=runtime,
        grpc_compression=GrpcCompression.NONE,
        retry_config=_SOON if for_worker else _PATIENT,
        plugins=[_Border()],
    )


class _Border(Plugin):
    """Where the SDK's client is put behind one that knows what an outage is."""

    def configure_client(self, config: ClientOptions) -> ClientOptions:
        return config

    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        try:
            return _ServiceClient(await next(config))
        except RuntimeError as error:
            raise _never_sent(error) from error


class _ServiceClient(DelegatingServiceClient):
    """The SDK's, with its calls' errors sorted."""

    async def call(self, send: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return _without_paused(await send())
        except RPCError as error:
            if error.status in _AWAY:
                raise TemporalAway(error.message, error.status, error.raw_grpc_status, was_sent=True) from error
            raise
        except RuntimeError as error:
            raise _never_sent(error) from error


def _without_paused(answer: Any) -> Any:
    """The answer, with runs that an operator has paused shown as running: they wait for an Unpause, and nothing of
    theirs may be settled or erased. The SDK knows no such status, and raises ValueError. Raises RPCError for a query,
    which such a run does not answer."""
    if isinstance(answer, DescribeWorkflowExecutionResponse):
        shown = [answer.workflow_execution_info]
    elif isinstance(answer, ListWorkflowExecutionsResponse):
        shown = list(answer.executions)
    elif isinstance(answer, QueryWorkflowResponse) and answer.query_rejected.status == _PAUSED:
        raise RPCError("The workflow is paused.", RPCStatusCode.FAILED_PRECONDITION, b"")
    else:
        return answer
    for execution in shown:
        if execution.status == _PAUSED:
            execution.status = ExecutionStatus.WORKFLOW_EXECUTION_STATUS_RUNNING
    return answer


def _never_sent(error: RuntimeError) -> Exception:
    if not str(error).startswith(NOT_CONNECTED):
        return error
    return TemporalAway(str(error), RPCStatusCode.UNAVAILABLE, b"", was_sent=False)


async def unstick(client: Client, workflow_id: str) -> None:
    """The workflow's next task goes to any worker, and not to the one that had its last. Best effort."""
    request = ResetStickyTaskQueueRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    with contextlib.suppress(RPCError):
        await client.workflow_service.reset_sticky_task_queue(request)
