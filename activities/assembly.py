"""What a worker is made of: the activities and the chores of its process, from its clients and settings."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
from temporalio.client import Client

from activities.ingestion.ingest import IngestionActivities
from activities.lifecycle.claim_approvals import ClaimActivity
from activities.lifecycle.finish import FinishActivity
from activities.lifecycle.publish import PublishActivity
from activities.lifecycle.run_ends import keep_end, request_cancellation
from activities.reload import Configured, Loaded, WorkerReload
from activities.sampling.answer_meter import AnswerBounds
from activities.sampling.attempt_state import SampleParts
from activities.sampling.context import Contexts
from activities.sampling.sample import SampleActivity
from activities.tool_calls.built_in import BuiltInToolActivity
from activities.tool_calls.built_in_engines import EngineParts, load_engines
from activities.tool_calls.container_sweep import sweep_containers
from activities.tool_calls.mcp import McpActivities
from activities.tool_calls.programs import ProgramActivity
from activities.tool_calls.runner import HostedToolActivity, ToolRunner
from activities.tools.registry import definitions
from activities.webhooks.announce import AnnounceActivity
from activities.webhooks.send import SendActivity
from activities.worker.cancellation_registry import RunningWork
from activities.worker.dead_worker_detector import DeadWorkerDetector
from activities.worker.dead_worker_takeover import listen
from activities.worker.ended_runs import EndedRuns
from activities.worker.model_list_refresher import ModelListRefresher
from activities.worker.temporal_outage import TemporalWatch
from open_responses.config import Config
from open_responses.contracts import Middleware, Provider, Tool
from open_responses.io.background import kept_running
from open_responses.io.config_watch import ConfigWatch
from open_responses.io.files.folder import FilesFolder
from open_responses.io.files.folder_agreement import keep_comparing
from open_responses.io.files.sweeping import sweep_files, tend_indexes
from open_responses.io.log.appender import Appender
from open_responses.io.prices.price_table import PriceTable
from open_responses.io.redis.breaker import Breaker
from open_responses.io.redis.client import Redis
from open_responses.io.redis.counters import RedisCounters
from open_responses.io.redis.leases import Lease
from open_responses.io.redis.model_lists import ModelLists
from open_responses.io.redis.rate_limits import Quotas
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.sealing import Sealer
from open_responses.io.settings import Settings
from open_responses.io.store.erasure import Eraser
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import Records
from open_responses.io.store.usage_rebuild import UsageRebuild
from open_responses.io.temporal.large_payloads import sweep_daily
from open_responses.tool_use.built_in_engine import BuiltInEngine


@dataclass(frozen=True, slots=True)
class Parts:
    """The clients and settings that the activities and the chores of this process share."""

    settings: Settings
    redis: Redis
    temporal: Client
    sealer: Sealer
    appender: Appender
    lease: Lease
    tools: Mapping[str, Tool]
    middleware: Sequence[Middleware]
    store: ResponseStore
    folder: FilesFolder
    eraser: Eraser
    records: Records
    running: RunningWork
    schema_checks: SchemaChecks
    providers: Mapping[str, Provider]
    http: httpx.AsyncClient
    config_watch: ConfigWatch


def configured_by_file(parts: Parts) -> Configured:
    """What works by the configuration file."""
    redis, config = parts.redis, parts.settings.config
    runner = ToolRunner(parts.lease, parts.running, parts.temporal, parts.middleware)
    return Configured(
        sample=SampleActivity(_sample_parts(parts), parts.lease, parts.running),
        runner=runner,
        hosted=HostedToolActivity(runner, parts.tools),
        mcp=McpActivities(runner, parts.records, redis, parts.sealer, parts.schema_checks, config, os.environ),
        built_in=BuiltInToolActivity(runner, load_engines(config, _engine_parts(parts))),
        model_lists=ModelListRefresher(ModelLists(redis), config, parts.providers, os.environ),
        ingestion=IngestionActivities(parts.folder, config, os.environ),
        webhooks=SendActivity(redis, parts.temporal, parts.sealer, parts.eraser.marks, config, os.environ),
    )


def _engine_parts(parts: Parts) -> EngineParts:
    return EngineParts(
        parts.settings,
        parts.redis,
        parts.temporal,
        parts.http,
        os.environ,
        parts.sealer,
        parts.eraser.keys,
        parts.folder,
    )


def activities_of(parts: Parts, configured: Configured) -> list[Callable[..., Any]]:
    redis, records = parts.redis, parts.records
    finishing = FinishActivity(
        redis,
        parts.store,
        parts.appender,
        parts.eraser.marks,
        records.outside_ends,
        parts.settings.response_ttl_seconds,
    )
    return [
        configured.sample.sample,
        finishing.close_cut_off_sample,
        finishing.finish,
        keep_end,
        request_cancellation,
        PublishActivity(redis, parts.appender, records).publish,
        ClaimActivity(parts.temporal, parts.store).claim,
        configured.hosted.call_tool,
        configured.mcp.list_tools,
        configured.mcp.call_tool,
        configured.ingestion.read,
        configured.ingestion.embed,
        configured.ingestion.end,
        configured.built_in.call_built_in_tool,
        ProgramActivity(
            ToolRunner(parts.lease, parts.running, parts.temporal, ()), parts.sealer, configured.built_in
        ).run_program_step,
        AnnounceActivity(parts.temporal).announce,
        configured.webhooks.send,
    ]


def _sample_parts(parts: Parts) -> SampleParts:
    redis, settings = parts.redis, parts.settings
    return SampleParts(
        redis=redis,
        contexts=Contexts(redis, parts.records, parts.folder.files, settings.config.files.max_inline_bytes),
        appender=parts.appender,
        breaker=Breaker(redis),
        quotas=Quotas(redis),
        prices=PriceTable(settings.config.providers),
        providers=parts.providers,
        adapters={provider.name: provider.adapter for provider in settings.config.providers},
        definitions=definitions(settings.config, parts.tools),
        middleware=parts.middleware,
        counters=RedisCounters(redis),
        sealer=parts.sealer,
        schema_checks=parts.schema_checks,
        log_ttl_seconds=settings.response_ttl_seconds,
        bounds=AnswerBounds(
            turn_bytes=settings.max_turn_bytes,
            response_bytes=settings.max_response_bytes,
            turn_deltas=settings.max_turn_deltas,
            turn_calls=settings.max_turn_calls,
            empty_deltas=settings.max_empty_deltas,
        ),
    )


def chores_of(
    parts: Parts, configured: Configured, watch: TemporalWatch, detector: DeadWorkerDetector
) -> list[asyncio.Task[None]]:
    """Tasks that run for as long as the process. If one ends, the process does."""
    settings, redis = parts.settings, parts.redis
    ended_runs = EndedRuns(parts.records, parts.temporal, redis)
    loaded = Loaded(settings.config, parts.tools, parts.middleware, parts.providers, configured.built_in.engines)

    def engines(config: Config, old: Loaded) -> Mapping[str, BuiltInEngine]:
        return load_engines(config, _engine_parts(parts), old=old.config, kept=old.engines)

    reload = WorkerReload(settings, loaded, parts.http, os.environ, configured.put, engines)
    configured.sample.reload = reload.reload
    return [
        asyncio.create_task(watch.run()),
        asyncio.create_task(parts.appender.run()),
        asyncio.create_task(detector.run()),
        asyncio.create_task(kept_running("control channel", lambda: listen(redis, parts.running, detector))),
        asyncio.create_task(sweep_daily(settings.blobs, settings.blob_ttl_seconds)),
        asyncio.create_task(kept_running("files folder", lambda: keep_comparing(redis, parts.folder.mark))),
        asyncio.create_task(kept_running("files sweep", lambda: sweep_files(parts.folder, parts.temporal))),
        asyncio.create_task(kept_running("indexes", lambda: tend_indexes(parts.folder))),
        asyncio.create_task(kept_running("containers sweep", lambda: sweep_containers(configured.built_in))),
        asyncio.create_task(parts.eraser.run()),
        asyncio.create_task(kept_running("ended runs", ended_runs.run)),
        asyncio.create_task(kept_running("usage rebuild", UsageRebuild(redis, parts.temporal).run)),
        asyncio.create_task(configured.model_lists.run()),
        asyncio.create_task(kept_running("configuration", lambda: reload.run(parts.config_watch))),
    ]
