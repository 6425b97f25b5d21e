"""Worker Deployment Versions: after a deploy, Temporal runs a response on workers of the version that began it.

Without them, changed workflow code replays responses that older code began. A response whose history the new code does
not fit makes no progress until the deploy is rolled back (docs/upgrades.md).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import structlog
from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest, SetWorkerDeploymentCurrentVersionRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkerDeploymentConfig,
    WorkflowInstance,
    WorkflowInstanceDetails,
)
from typing_extensions import override

from open_responses.api_keys.state import API_KEYS_WORKFLOW
from open_responses.conversations.payloads import CONVERSATION_WORKFLOW
from open_responses.loop.payloads.names import APPROVAL_WORKFLOW
from open_responses.schedules.payloads import SCHEDULED_RESPONSE_WORKFLOW
from open_responses.webhooks.deliveries import WEBHOOK_WORKFLOW

log = structlog.get_logger(__name__)

_HASH_CHARACTERS = 12
# Parts of the package that no workflow imports.
_NOT_IN_WORKFLOWS = frozenset({"io", "testing", "middleware"})
_ASK_AGAIN_SECONDS = 0.5
# These workflows have no end that an old version could wait for: a conversation lives until it is deleted, the API keys
# for as long as the server, the record of a used approval is started and never run, and a webhook's delivery and a
# schedule's run wait for others, for days.
_FOLLOW_THE_CURRENT_VERSION = frozenset(
    {
        API_KEYS_WORKFLOW,
        APPROVAL_WORKFLOW,
        CONVERSATION_WORKFLOW,
        SCHEDULED_RESPONSE_WORKFLOW,
        WEBHOOK_WORKFLOW,
    }
)


def code_build_id(workflows: Path, vocabulary: Path) -> str:
    """A hash of the code that replays a history: the workflows, and the pure package that they import.

    A deploy that changes only adapters, tools or the API has the same hash, and is the same version for Temporal.
    """
    digest = hashlib.sha256()
    for folder, file in sorted(
        _sources(workflows, vocabulary), key=lambda found: found[1].relative_to(found[0].parent)
    ):
        digest.update(f"{file.relative_to(folder.parent).as_posix()}\0".encode())
        digest.update(file.read_bytes() + b"\0")
    return digest.hexdigest()[:_HASH_CHARACTERS]


def _sources(workflows: Path, vocabulary: Path) -> Iterable[tuple[Path, Path]]:
    yield from ((workflows, file) for file in workflows.rglob("*.py"))
    for file in vocabulary.rglob("*.py"):
        inside = file.relative_to(vocabulary).parts
        if inside[0] not in _NOT_IN_WORKFLOWS and inside != ("__main__.py",):
            yield vocabulary, file


def deployment_config(deployment_name: str | None, build_id: str) -> WorkerDeploymentConfig:
    """The versioning options of a worker. Without a deployment name, only histories have the build id."""
    is_versioned = deployment_name is not None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(deployment_name or "unversioned", build_id),
        use_worker_versioning=is_versioned,
        default_versioning_behavior=VersioningBehavior.PINNED if is_versioned else VersioningBehavior.UNSPECIFIED,
    )


class Runner(UnsandboxedWorkflowRunner):
    """Runs workflows without a sandbox, with a versioning behavior if the worker is versioned.

    A behavior in a workflow's definition would be sent by unversioned workers too, and Temporal rejects their tasks
    then. The sandbox would import the workflow's module again for every run; replay tests check determinism instead.
    """

    def __init__(self, deployment: WorkerDeploymentConfig) -> None:
        self._is_versioned = deployment.use_worker_versioning

    @override
    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        if self._is_versioned and det.defn.name in _FOLLOW_THE_CURRENT_VERSION:
            det = replace(det, defn=replace(det.defn, versioning_behavior=VersioningBehavior.AUTO_UPGRADE))
        return super().create_instance(det)


async def become_current_if_none_is(client: Client, version: WorkerDeploymentVersion) -> None:
    """Make this version the deployment's current one, unless there is one. Returns when a version is current.

    Without a current version, new responses would wait for ever. An operator makes later versions current.
    """
    describe = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=version.deployment_name)
    while True:
        try:
            answer = await client.workflow_service.describe_worker_deployment(describe)
            current = answer.worker_deployment_info.routing_config.current_deployment_version.build_id
            if current:
                log.info("deployment_version", mine=version.build_id, current=current)
                return
            await client.workflow_service.set_worker_deployment_current_version(
                SetWorkerDeploymentCurrentVersionRequest(
                    namespace=client.namespace,
                    deployment_name=version.deployment_name,
                    build_id=version.build_id,
                    # Temporal rejects the call if another version has become current meanwhile.
                    conflict_token=answer.conflict_token,
                    identity=client.identity,
                )
            )
        except RPCError as error:
            # Temporal creates the deployment some moments after the first poll of its first worker.
            log.debug("no_current_version_yet", reason=error.message)
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
