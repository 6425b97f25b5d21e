"""The worker from its start to its end: it takes work, and hands it over when it leaves or fails.

`worker_alone.py` runs it in a process of its own, `serve.py` beside the API.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import structlog
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker, WorkerDeploymentConfig

import open_responses
import workflows
from activities.assembly import Parts, activities_of, chores_of, configured_by_file
from activities.middleware_loader import load_middleware
from activities.providers.registry import build_providers
from activities.providers.shared.http import load_transport, open_http_client
from activities.tool_calls.built_in_engines import check_engines, close_engines
from activities.tools.registry import load_tools
from activities.worker.cancellation_registry import RunningWork
from activities.worker.dead_worker_detector import DeadWorkerDetector
from activities.worker.dead_worker_takeover import WorkerTakeover
from activities.worker.temporal_outage import TemporalWatch
from open_responses.io.background import end_tasks, in_background
from open_responses.io.config_watch import ConfigWatch
from open_responses.io.files.folder import configured_folder
from open_responses.io.garbage_collection import spare_what_is_loaded
from open_responses.io.log.appender import Appender
from open_responses.io.metrics import recording as metrics
from open_responses.io.metrics.exposition import SdkMetrics, serve_metrics
from open_responses.io.ports import free_port
from open_responses.io.ready_file import ReadyFile
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.redis.client import connect as connect_redis
from open_responses.io.redis.leases import Lease
from open_responses.io.redis.serving_places import Places
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.sealing import configured_keys, load_sealer
from open_responses.io.settings import Settings
from open_responses.io.store.conversation_pieces import ConversationPieces
from open_responses.io.store.erasure import Eraser
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import Records
from open_responses.io.telemetry.activities import trace_headers
from open_responses.io.temporal.cached_runs import CachedRuns, WeighingRunner
from open_responses.io.temporal.client import connect as connect_temporal
from open_responses.io.temporal.encryption_check import check_keys, keep_checking
from open_responses.io.temporal.large_payloads import response_keys
from open_responses.io.temporal.sdk_worker import evict_from
from open_responses.io.temporal.short_tasks import ShortTasksInline
from open_responses.io.temporal.worker_versions import become_current_if_none_is, code_build_id, deployment_config
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.schema.deferred import build_models
from workflows.api_keys import ApiKeysWorkflow
from workflows.approval import ApprovalWorkflow
from workflows.by_hand import ArgumentCheck
from workflows.conversation import ConversationWorkflow
from workflows.ingestion import IngestionWorkflow
from workflows.response import ResponseWorkflow
from workflows.scheduled_response import ScheduledResponseWorkflow
from workflows.webhook import WebhookWorkflow

log = structlog.get_logger("worker")

# Twice the SDK's graceful shutdown, with what precedes and follows it.
_LONGEST_DEPARTURE_SECONDS = 12.0
# Where nothing has failed. Most supervisors kill a process 30 seconds after SIGTERM; the log says by then what it
# waits for.
_LONGEST_GOOD_DEPARTURE_SECONDS = 25.0
# At a time, in one worker.
_WORKFLOW_TASKS = 100
# Sooner than the API: a request for a new provider comes to a worker that has it.
_CONFIG_LOOK_SECONDS = 0.25


def _pass(temporal: Client) -> None:
    """For a process that has no other use for the connection."""


@dataclass(frozen=True, slots=True)
class Host:
    """The process in which the worker runs.

    `stopping` is set by the process: the worker hands over and returns. `failing` is set by the worker when it has
    failed, before it leaves; then it calls `give_up`, which ends the process: after an error, a task may ignore its
    cancellation. `serve_metrics` is called when the worker has its place. `connected` gets the worker's client.
    """

    stopping: asyncio.Event
    failing: asyncio.Event
    give_up: Callable[[], Awaitable[NoReturn]]
    serve_metrics: Callable[[], SdkMetrics | None]
    connected: Callable[[Client], None] = _pass


def serve_worker_metrics(settings: Settings) -> SdkMetrics | None:
    """The process that takes a dead one's place takes its port as well, if it is one of several that are alike."""
    first = settings.worker_metrics_port
    if not first:
        return None
    sdk = SdkMetrics()
    serve_metrics(settings.metrics_host, range(first, first + (settings.active_workers or 1)), more=sdk.fetch)
    return sdk


async def run_worker(settings: Settings, host: Host) -> None:
    """Take work until the host is stopping; then hand everything over and leave.

    Does not return after a failure. Raises ConfigError and ValueError for settings with which it cannot start.
    """
    stopping = host.stopping
    # Before the standby: a change of the file while this process waits for a place is put into force with its start.
    config_watch = ConfigWatch(settings.config_path, look_seconds=_CONFIG_LOOK_SECONDS)
    config_watch.on_hangup()
    metrics.configure(settings.config, "worker")
    deployment = _deployment(settings)
    sealer = load_sealer(settings.encryption_keys, Path(settings.data_dir))
    redis = connect_redis(settings.redis_url)
    appender = Appender(redis, ttl_seconds=settings.response_ttl_seconds)
    lease = Lease(settings.redis_url, appender, settings.worker_id, settings.lease_seconds)
    tools, middleware = load_tools(settings.config), load_middleware(settings.config)
    check_engines(settings.config)
    ready = ReadyFile(settings.ready_file)
    ready.remove()
    places = _places(settings, redis, lease, deployment)
    spare_what_is_loaded()
    # Before this process may be needed at once: a place is taken in a moment.
    checking = await _check_encryption(settings, redis, stopping)
    warming_up = list[asyncio.Task[None]]()

    def standing_by() -> None:
        ready.write("standby")
        warming_up.append(in_background("warm-up", asyncio.to_thread(_warm_up)))

    answered_since = await places.wait(stopping, standing_by=standing_by)
    sdk_metrics = host.serve_metrics()
    temporal = await _connect(settings, stopping, sdk_metrics)
    if temporal is None:
        await redis.aclose()
        return
    host.connected(temporal)
    store = ResponseStore(redis, ttl_seconds=settings.response_ttl_seconds, log_ttl_seconds=settings.log_ttl_seconds)
    eraser = _eraser(settings, store, temporal)
    pieces = ConversationPieces(settings.blobs, configured_keys(settings.encryption_keys))
    async with open_http_client(trace_headers) as http:
        parts = Parts(
            settings=settings,
            redis=redis,
            temporal=temporal,
            sealer=sealer,
            appender=appender,
            lease=lease,
            tools=tools,
            middleware=middleware,
            store=store,
            folder=configured_folder(settings, os.environ),
            eraser=eraser,
            records=Records(store, temporal, pieces, eraser.marks),
            running=RunningWork(),
            schema_checks=SchemaChecks(),
            providers=build_providers(settings.config, http, os.environ),
            http=http,
            config_watch=config_watch,
        )
        await _serve(parts, places, answered_since, deployment, host, ready)
    if checking is not None:
        checking.cancel()
    await redis.aclose()


async def _serve(
    parts: Parts,
    places: Places,
    answered_since: float | None,
    deployment: WorkerDeploymentConfig,
    host: Host,
    ready: ReadyFile,
) -> None:
    """Take work until the host is stopping or the worker has failed, and leave. Does not return after a failure."""
    stopping, failing = host.stopping, host.failing
    lease, running = parts.lease, parts.running
    takeover = WorkerTakeover(parts.temporal, parts.redis)
    detector = DeadWorkerDetector(parts.redis, lease, takeover.take_over, takeover.find_orphans)
    watch = TemporalWatch(parts.temporal)
    configured = configured_by_file(parts)
    activities = activities_of(parts, configured)
    place = key_names.places(places.version) if places.wanted is not None else None
    await lease.start(place=place, answered_since=answered_since)
    detector.look_now()
    chores = chores_of(parts, configured, watch, detector)

    async def fail(error: BaseException) -> None:
        """The SDK waits for the activities then, and may not cancel them."""
        log.error("worker_failed", exc_info=error)
        failing.set()
        running.hand_over()

    cached_runs = CachedRuns(parts.settings.max_cached_state_bytes)
    worker = _worker(parts, cached_runs, deployment, activities, watch, fail)
    cached_runs.evict_by(evict_from(worker))
    serving = asyncio.create_task(worker.run())
    version_check = in_background("version check", _check_version(parts.temporal, deployment))
    log.info("worker_ready", worker=lease.worker_id)
    warming_up = in_background("warm-up", asyncio.to_thread(_warm_up))
    ready.write("serving")
    ends = {asyncio.create_task(stopping.wait()), asyncio.create_task(failing.wait())}
    ended, _ = await asyncio.wait({serving, *ends, *chores}, return_when=asyncio.FIRST_COMPLETED)
    for chore in ended & set(chores):
        # A worker that takes work and cannot write would hang every response that it gets.
        log.error("chore_died", chore=str(chore.get_coro()), exc_info=chore.exception())
    has_failed = failing.is_set() or not stopping.is_set()
    if has_failed:
        failing.set()

    async def leave() -> None:
        log.info("worker_stopping", responses=len(running.response_ids))
        ready.remove()
        lease.leave_place()
        await places.leave()
        try:
            await takeover.forget_stickiness(running.response_ids)
        finally:
            running.hand_over()
        await worker.shutdown()
        await serving
        await lease.stop()
        await parts.schema_checks.close()
        await parts.folder.close()
        await configured.ingestion.close()
        await close_engines(configured.built_in.engines)

    # After an error nothing is certain to end: the lease runs out then, and other workers take its work over.
    has_failed |= not await _ends_well(
        leave(), failing, _LONGEST_DEPARTURE_SECONDS if has_failed else _LONGEST_GOOD_DEPARTURE_SECONDS
    )
    if has_failed:
        failing.set()
        await host.give_up()
    await end_tasks([*chores, *ends, version_check, warming_up])


async def _ends_well(leaving: Coroutine[Any, Any, None], failing: asyncio.Event, seconds: float) -> bool:
    task = asyncio.create_task(leaving)
    await asyncio.wait({task}, timeout=seconds)
    if not task.done():
        waiting = sorted({getattr(one.get_coro(), "__qualname__", "?") for one in asyncio.all_tasks()})
        log.error("worker_did_not_leave", seconds=seconds, waiting=waiting)
        return False
    error = task.exception()
    if error is not None and not failing.is_set():
        log.error("worker_failed", exc_info=error)
    return error is None


def _warm_up() -> None:
    """Make what the first response would wait for and the first poll need not. For a thread; does nothing again."""
    load_transport()
    build_models()
    spare_what_is_loaded()


def _worker(
    parts: Parts,
    cached_runs: CachedRuns,
    deployment: WorkerDeploymentConfig,
    activities: Sequence[Callable[..., Any]],
    watch: TemporalWatch,
    on_fatal_error: Callable[[BaseException], Awaitable[None]],
) -> Worker:
    settings = parts.settings
    return Worker(
        parts.temporal,
        task_queue=TASK_QUEUE,
        workflows=[
            ResponseWorkflow,
            ApprovalWorkflow,
            ConversationWorkflow,
            ApiKeysWorkflow,
            IngestionWorkflow,
            WebhookWorkflow,
            ScheduledResponseWorkflow,
        ],
        activities=activities,
        interceptors=[watch, ArgumentCheck()],
        workflow_runner=WeighingRunner(deployment, cached_runs),
        workflow_task_executor=ShortTasksInline(cached_runs, threads=_WORKFLOW_TASKS),
        # One poll for runs that begin and for those of a lost worker. Temporal gives a frozen worker
        # a task for each of its polls, and waits three seconds for it: with ten of them, a stream paused for a minute.
        workflow_task_poller_behavior=PollerBehaviorSimpleMaximum(5),
        nonsticky_to_sticky_poll_ratio=0.2,
        # More than one at a time costs a task of the event loop for each payload, and few payloads are files.
        max_workflow_task_external_storage_concurrency=1,
        deployment_config=deployment,
        identity=parts.lease.worker_id,
        max_concurrent_activities=settings.max_concurrent_samples,
        max_concurrent_workflow_tasks=_WORKFLOW_TASKS,
        max_cached_workflows=settings.max_cached_workflows,
        # A worker that died keeps its workflows' next task this long.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=timedelta(seconds=5),
        on_fatal_error=on_fatal_error,
    )


def _places(settings: Settings, redis: Redis, lease: Lease, deployment: WorkerDeploymentConfig) -> Places:
    version = deployment.version.build_id if deployment.use_worker_versioning else "all"
    return Places(redis, lease.worker_id, version, settings.active_workers, settings.lease_seconds)


def _deployment(settings: Settings) -> WorkerDeploymentConfig:
    roots = [Path(package.__file__ or "").parent for package in (workflows, open_responses)]
    return deployment_config(settings.deployment_name, settings.build_id or code_build_id(*roots))


async def _check_version(temporal: Client, deployment: WorkerDeploymentConfig) -> None:
    if deployment.use_worker_versioning:
        await become_current_if_none_is(temporal, deployment.version)


async def _check_encryption(settings: Settings, redis: Redis, stopping: asyncio.Event) -> asyncio.Task[None] | None:
    """Raises ConfigError for keys that are not the others'. The task goes on asking where Temporal or Redis is away."""
    keys = configured_keys(settings.encryption_keys)
    temporal = await connect_temporal(settings.blobs, encryption_keys=keys, lazy=True)
    check = functools.partial(check_keys, redis, temporal, keys, ttl_seconds=settings.response_ttl_seconds)
    return None if await check() else in_background("encryption check", keep_checking(check, stopping.set))


def _eraser(settings: Settings, store: ResponseStore, temporal: Client) -> Eraser:
    return Eraser(
        store,
        temporal,
        settings.blobs,
        response_keys(settings.blobs, configured_keys(settings.encryption_keys)),
        patience_seconds=settings.erase_after_seconds,
        rewrite_log=settings.rewrite_redis_log,
    )


async def _connect(settings: Settings, stopping: asyncio.Event, sdk_metrics: SdkMetrics | None) -> Client | None:
    """Wait for Temporal: at start it may come up after us."""
    while not stopping.is_set():
        try:
            if sdk_metrics is not None:
                sdk_metrics.port = free_port()
            return await connect_temporal(
                settings.blobs,
                encryption_keys=configured_keys(settings.encryption_keys),
                metrics_port=sdk_metrics.port if sdk_metrics is not None else 0,
                for_worker=True,
            )
        except (RPCError, OSError) as error:
            log.warning("temporal_not_reachable", reason=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await stopping.wait()
    return None
