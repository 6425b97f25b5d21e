"""One way to reach Temporal: address and TLS from the SDK's own environment variables, one data converter."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetStickyTaskQueueRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import GrpcCompression, RetryConfig, RPCError, RPCStatusCode

from open_responses.io.large_payloads import data_converter

__all__ = ["WorkflowAlreadyStartedError", "connect", "is_away", "unstick"]

MODEL = SearchAttributeKey.for_keyword("OpenResponsesModel")
PROVIDER = SearchAttributeKey.for_keyword("OpenResponsesProvider")
TENANT = SearchAttributeKey.for_keyword("OpenResponsesTenant")
STATUS = SearchAttributeKey.for_keyword("OpenResponsesStatus")
PREVIOUS = SearchAttributeKey.for_keyword("OpenResponsesPrevious")

# How long a workflow task of a dead worker is waited for; no task of ours takes a tenth of it.
WORKFLOW_TASK_TIMEOUT = timedelta(seconds=3)

# An activity that ends while Temporal is away: its result must outlast the outage, or the work is done twice, a
# minute later. The SDK's own limit is ten seconds.
_PATIENT = RetryConfig(max_elapsed_time_millis=300_000, max_retries=1000, max_interval_millis=2_000)


async def connect(
    blob_dir: Path | None,
    *,
    encryption_keys: Sequence[bytes] = (),
    metrics_port: int = 0,
    lazy: bool = False,
    patient: bool = False,
) -> Client:
    """A client for `TEMPORAL_ADDRESS` (127.0.0.1:7233 by default) and the rest of Temporal's variables.

    `blob_dir` holds large payloads and the keys of responses that are not to be stored; every process must see the same
    one. `encryption_keys` are for all other payloads, the first for new ones.
    `patient`: for a worker, whose results may wait for minutes; a request's caller may not.
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
        retry_config=_PATIENT if patient else None,
    )


def is_away(error: RPCError) -> bool:
    """Whether Temporal could not be reached, as opposed to having refused."""
    return error.status in (
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.UNKNOWN,
    )


async def unstick(client: Client, workflow_id: str) -> None:
    """The workflow's next task goes to any worker, and not to the one that had its last. Best effort."""
    request = ResetStickyTaskQueueRequest(
        namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
    )
    with contextlib.suppress(RPCError):
        await client.workflow_service.reset_sticky_task_queue(request)
