"""The Temporal client: address and TLS from the SDK's environment variables, and the data converter.

Every call during an outage raises one error, `TemporalAway`.

What this prevents: a 500 during an outage of Temporal. The SDK raises a `RuntimeError` until it has been connected
once, gRPC statuses afterwards, and an exception of its own during an update. A caller would have to handle all three.
"""

from __future__ import annotations

import asyncio
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
from open_responses.io.temporal.sdk_client import NOT_CONNECTED, DelegatingServiceClient
from open_responses.loop import search_attributes

__all__ = [
    "LONGEST_CALL",
    "TemporalAway",
    "TemporalDown",
    "WorkflowAlreadyStartedError",
    "connect",
    "share_connection",
    "temporal_address",
    "unstick",
]

MODEL = SearchAttributeKey.for_keyword(search_attributes.MODEL)
PROVIDER = SearchAttributeKey.for_keyword(search_attributes.PROVIDER)
TENANT = SearchAttributeKey.for_keyword(search_attributes.TENANT)
STATUS = SearchAttributeKey.for_keyword(search_attributes.STATUS)
PREVIOUS = SearchAttributeKey.for_keyword(search_attributes.PREVIOUS)
CONVERSATION = SearchAttributeKey.for_keyword(search_attributes.CONVERSATION)

# The time after which Temporal gives up a workflow task of a dead worker. No task here takes a tenth of it.
WORKFLOW_TASK_TIMEOUT = timedelta(seconds=3)

# The retries of a worker's pollers after an outage; the SDK's default pause grows to ten seconds. Reports of results
# have their own (`activities/worker/temporal_outage.py`).
_SOON = RetryConfig(max_elapsed_time_millis=300_000, max_retries=1000, max_interval_millis=2_000)
# The retries of a request's calls: for the SDK's ten seconds, with pauses of at most one second, where the SDK's grow
# to five. After an outage, a client would wait for the rest of a pause.
_PATIENT = RetryConfig(max_elapsed_time_millis=10_000, max_retries=30, max_interval_millis=1_000)
# The time that one call of a request waits for its reply. A Temporal that is frozen accepts calls and does not reply.
LONGEST_CALL = timedelta(seconds=10)
# The SDK's own timeout ends a call a little earlier, with the status of the call.
_SLACK_SECONDS = 0.2

_DEFAULT_ADDRESS = "127.0.0.1:7233"

# Statuses of a call that did not reach Temporal, or whose reply was lost. Any other is a rejection.
_AWAY = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
    RPCStatusCode.UNKNOWN,
)
_PAUSED = ExecutionStatus.WORKFLOW_EXECUTION_STATUS_PAUSED


class TemporalAway(RPCError):
    """Temporal cannot be reached. Any call raises this.

    `was_sent`: the call may have taken effect, and its reply was lost.
    """

    def __init__(self, message: str, status: RPCStatusCode, raw_grpc_status: bytes, *, was_sent: bool) -> None:
        super().__init__(message, status, raw_grpc_status)
        self.was_sent = was_sent


TemporalDown = (TemporalAway, WorkflowUpdateRPCTimeoutOrCancelledError)
"""The errors of an outage of Temporal, as `RedisDown` are those of Redis."""


def temporal_address() -> str:
    """The host and port that `connect` connects to."""
    address: str = ClientConfig.load_client_connect_config().get("target_host", _DEFAULT_ADDRESS)
    return address


async def connect(
    blob_dir: Path | None,
    *,
    encryption_keys: Sequence[bytes] = (),
    metrics_port: int = 0,
    lazy: bool = False,
    for_worker: bool = False,
) -> Client:
    """Connect to `TEMPORAL_ADDRESS` (127.0.0.1:7233 by default), with the rest of Temporal's variables.

    Args:
        blob_dir: The folder with large payloads and the keys of responses with `store: false`. Every process needs the
            same one.
        encryption_keys: The keys of all other payloads. The first encrypts new ones.
        metrics_port: The port on which the SDK serves its metrics; 0 for none.
        lazy: Connect at the first call.
        for_worker: The client of a worker, which retries its calls for minutes. A request cannot wait for that.

    Raises:
        TemporalAway: Temporal cannot be reached, now or, with `lazy`, at the first call. Later calls raise it as well.
    """
    profile = ClientConfig.load_client_connect_config()
    profile.setdefault("target_host", _DEFAULT_ADDRESS)
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
        plugins=[_Border(None if for_worker else LONGEST_CALL)],
    )


def share_connection(client: Client, of: Client) -> None:
    """Send the calls of `client` over the connection of a worker's client from now on, with their own limits.

    Temporal's SDK starts a workflow eagerly only over the connection of a worker, which cannot be a lazy one.
    """
    ours, others = client.service_client, of.service_client
    assert isinstance(ours, DelegatingServiceClient), "made by `connect`"
    assert isinstance(others, DelegatingServiceClient), "made by `connect`"
    ours.send_through(others)


class _Border(Plugin):
    """Puts a client that raises TemporalAway in front of the SDK's."""

    def __init__(self, longest_call: timedelta | None) -> None:
        self._longest_call = longest_call

    def configure_client(self, config: ClientOptions) -> ClientOptions:
        return config

    async def connect_service_client(
        self, config: ConnectConfig, next: Callable[[ConnectConfig], Awaitable[ServiceClient]]
    ) -> ServiceClient:
        try:
            return _ServiceClient(await next(config), self._longest_call)
        except RuntimeError as error:
            raise _never_sent(error) from error


class _ServiceClient(DelegatingServiceClient):
    """The SDK's service client. Its calls raise TemporalAway during an outage.

    `longest_call` is the timeout of a call for which the caller has given none, except of long polls.
    """

    def __init__(self, inner: ServiceClient, longest_call: timedelta | None) -> None:
        super().__init__(inner)
        self._longest_call = longest_call

    async def call(
        self, send: Callable[[timedelta | None], Awaitable[Any]], *, given: timedelta | None, is_long_poll: bool
    ) -> Any:
        limit = given or (None if is_long_poll else self._longest_call)
        try:
            # The SDK's timeout does not cover the time for which a call waits for the first connection.
            async with asyncio.timeout(None if limit is None else limit.total_seconds() + _SLACK_SECONDS):
                return _without_paused(await send(limit))
        except TimeoutError as error:
            raise TemporalAway(
                "no reply in time", RPCStatusCode.DEADLINE_EXCEEDED, b"", was_sent=self.is_connected
            ) from error
        except RPCError as error:
            if error.status in _AWAY:
                raise TemporalAway(error.message, error.status, error.raw_grpc_status, was_sent=True) from error
            raise
        except RuntimeError as error:
            raise _never_sent(error) from error


def _without_paused(answer: Any) -> Any:
    """The reply, in which runs that an operator has paused have the status `running`.

    A paused run waits for an Unpause, so nothing of it may be settled or erased. The SDK does not have the status, and
    would raise ValueError.

    Raises:
        RPCError: The reply is that of a query to a paused run, which Temporal rejects.
    """
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
    """Let any worker take the workflow's next task, and not only the one that had the last. Ignores errors."""
    request = ResetStickyTaskQueueRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    with contextlib.suppress(RPCError):
        await client.workflow_service.reset_sticky_task_queue(request)
