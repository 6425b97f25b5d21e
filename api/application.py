"""The API's application: its routes, what all requests share, and its start and end."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp
from temporalio.client import Client

from api import codec, errors, metrics, models, service, usage
from api.admin import keys as admin_keys
from api.admission.history_reads import HistoryReads
from api.admission.limits import Admission
from api.admission.open_streams import OpenStreams
from api.admission.overload import Backlog
from api.admission.reads import Reads
from api.admission.received_bytes import ReceivedBytes, ReleasedWhenAnswered
from api.app_state import AppState, ConfigurationStatus
from api.body_sends import BodySends
from api.codec import CodecBorder
from api.connections.shutdown import ShutdownAnswers
from api.connections.slow_readers import SlowReaders
from api.console import conformance
from api.console import routes as console
from api.containers import files as container_files
from api.containers import routes as containers
from api.conversation_entries import KnownEntries
from api.conversations import routes as conversations
from api.files import routes as files
from api.http_headers import HttpHeaders
from api.key_ring import KeyRing
from api.live_state import LiveState
from api.openai_forms import OpenAIPrefix
from api.openapi import document as openapi
from api.operations import approvals as pending_approvals
from api.operations import health, refusals, timeline
from api.operations import responses as listed_responses
from api.readiness import Readiness
from api.recent_answers import RecentAnswers
from api.request_ends import RequestEnds
from api.request_spans import RequestSpans
from api.responses import approvals, compact, create, input_tokens, retrieve, steer
from api.runtime_keys import RENEWALS_PER_TTL, RuntimeKeys
from api.schedules import routes as schedules
from api.schedules.starts import serve_starts
from api.vector_stores import batches as vector_store_batches
from api.vector_stores import files as vector_store_files
from api.vector_stores import stores as vector_stores
from api.webhooks import deliveries as webhook_deliveries
from api.webhooks import endpoints as webhook_endpoints
from api.websocket import connection as websocket
from open_responses import __version__
from open_responses.io.background import end_tasks, in_background, kept_running
from open_responses.io.config_watch import ConfigWatch
from open_responses.io.files.folder import configured_folder
from open_responses.io.files.folder_agreement import keep_comparing
from open_responses.io.garbage_collection import spare_what_is_loaded
from open_responses.io.log.reader import LogHub
from open_responses.io.log.reader_copies import ReaderCopies
from open_responses.io.logs import configure_logs
from open_responses.io.metrics import recording
from open_responses.io.metrics.exposition import SdkMetrics
from open_responses.io.prices.price_table import PriceTable
from open_responses.io.redis.client import connect as connect_redis
from open_responses.io.redis.rate_limits import Quotas
from open_responses.io.redis.refusals import Refusals
from open_responses.io.schema_checks.checks import SchemaChecks
from open_responses.io.sealing import configured_keys, load_sealer
from open_responses.io.server_readings import ServerReadings
from open_responses.io.settings import Settings
from open_responses.io.store.conversation_pieces import ConversationPieces
from open_responses.io.store.erasure import Eraser
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import Records
from open_responses.io.telemetry.export import export_spans
from open_responses.io.temporal.client import connect as connect_temporal
from open_responses.io.temporal.encryption_check import check_keys, keep_checking
from open_responses.io.temporal.large_payloads import response_keys
from open_responses.io.temporal.search_attributes import NamespaceAttributes
from open_responses.schema.deferred import build_models

log = structlog.get_logger(__name__)

# Somebody waits for each answer, and without Redis there is one as well.
_REDIS_PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Host:
    """The process in which the application runs, where a worker runs in it as well. It exports the spans of both.

    `temporal` is the connection of the API. `sdk_metrics` fetches the metrics of Temporal's SDK, and may raise OSError.
    """

    temporal: Client
    sdk_metrics: SdkMetrics


def create_app(settings: Settings, host: Host | None = None) -> FastAPI:
    """The application, for these settings. Connects at start-up, lazily: Temporal and Redis may come up later."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Not earlier: uvicorn configures its own logs first, and a program that only imports this module keeps its own.
        configure_logs(messages=settings.log_messages)
        traces = export_spans(os.environ, service="open-responses-api") if host is None else None
        state = await _connected(settings, host)
        live, watch = (
            LiveState(state, publish=functools.partial(setattr, app.state, "open_responses")),
            _watch(settings),
        )
        state.runtime_keys.pass_to(live.take_keys)
        if live.has_keys.is_set():
            await state.runtime_keys.read_first()
        _say_who_is_answered(settings)
        keys = configured_keys(settings.encryption_keys)
        check = functools.partial(
            check_keys, state.redis, state.temporal, keys, ttl_seconds=settings.response_ttl_seconds
        )
        tasks: list[asyncio.Task[None]] = [
            in_background("event hub", kept_running("event hub", state.hub.run)),
            in_background("configuration", kept_running("configuration", lambda: live.reload_on(watch))),
            in_background("runtime keys", _follow_keys(live, state.runtime_keys)),
        ]
        if not await check():
            tasks.append(in_background("encryption check", keep_checking(check, _leave)))
        starts = functools.partial(serve_starts, settings, lambda: app.state.open_responses)
        tasks.append(in_background("scheduled starts", kept_running("scheduled starts", starts)))
        tasks.append(in_background("server readings", kept_running("server readings", state.readings.run)))
        tasks.append(in_background("refusals", kept_running("refusals", lambda: refusals.keep_writing(state.refusals))))
        compare = functools.partial(keep_comparing, state.redis, state.folder.mark)
        tasks.append(in_background("files folder", kept_running("files folder", compare)))
        apart = metrics.serve_apart(state)
        await asyncio.to_thread(build_models)
        spare_what_is_loaded()
        yield
        if apart is not None:
            await asyncio.to_thread(apart.shutdown)
        await end_tasks(tasks)
        await state.schema_checks.close()
        await state.folder.close()
        await state.redis.aclose()
        if traces is not None:
            await asyncio.to_thread(traces.close)

    app = FastAPI(title="open_responses", version=__version__, lifespan=lifespan, openapi_url=None)
    # A redirect to the same path without its last slash goes wherever the Host header says.
    app.router.redirect_slashes = False
    app.add_middleware(RequestEnds)
    app.add_middleware(ReleasedWhenAnswered)
    errors.install(app)
    for router in (
        create.router,
        retrieve.router,
        approvals.router,
        steer.router,
        service.router,
        websocket.router,
        compact.router,
        conversations.router,
        files.router,
        containers.router,
        container_files.router,
        vector_stores.router,
        vector_store_files.router,
        vector_store_batches.router,
        input_tokens.router,
        models.router,
        metrics.router,
        usage.router,
        openapi.router,
        codec.router,
        listed_responses.router,
        timeline.router,
        pending_approvals.router,
        health.router,
        refusals.router,
        admin_keys.router,
        webhook_endpoints.router,
        webhook_deliveries.router,
        schedules.router,
        conformance.router,
        console.router,
    ):
        app.include_router(router)
    return app


async def _connected(settings: Settings, host: Host | None) -> AppState:
    """What all requests share. Nothing waits for Redis or Temporal here."""
    redis = connect_redis(settings.redis_url, patience_seconds=_REDIS_PATIENCE_SECONDS)
    keys = configured_keys(settings.encryption_keys)
    if host is None:
        temporal = await connect_temporal(settings.blobs, encryption_keys=keys, lazy=True)
    else:
        temporal = host.temporal
    store = ResponseStore(redis, ttl_seconds=settings.response_ttl_seconds, log_ttl_seconds=settings.log_ttl_seconds)
    eraser = Eraser(
        store,
        temporal,
        settings.blobs,
        response_keys(settings.blobs, keys),
        patience_seconds=settings.erase_after_seconds,
    )
    records = Records(store, temporal, ConversationPieces(settings.blobs, keys), eraser.marks)
    folder = configured_folder(settings, os.environ)
    recording.configure(settings.config, "api")
    return AppState(
        settings=settings,
        redis=redis,
        temporal=temporal,
        store=store,
        records=records,
        hub=LogHub(redis, ReaderCopies(redis, limit_bytes=settings.reader_copies_bytes)),
        sealer=load_sealer(settings.encryption_keys, Path(settings.data_dir)),
        admission=Admission(Quotas(redis), records, PriceTable(settings.config.providers)),
        backlog=Backlog(temporal, max_tasks=settings.max_backlog, max_age_seconds=settings.max_backlog_age_seconds),
        eraser=eraser,
        open_streams=OpenStreams(settings.max_open_streams),
        reads=Reads(),
        history_reads=HistoryReads(),
        schema_checks=SchemaChecks(),
        known_entries=KnownEntries(),
        received=ReceivedBytes(settings.max_received_bytes),
        readings=ServerReadings(redis, temporal, (provider.name for provider in settings.config.providers)),
        search_attributes=NamespaceAttributes(temporal),
        readiness=Readiness(temporal, redis, keys, folder),
        recent=RecentAnswers(),
        refusals=Refusals(redis),
        keys=KeyRing(),
        runtime_keys=RuntimeKeys(redis, temporal, renew_seconds=settings.blob_ttl_seconds / RENEWALS_PER_TTL),
        configuration=ConfigurationStatus(loaded_at=time.time()),
        folder=folder,
        sdk_metrics=None if host is None else host.sdk_metrics,
    )


def create_asgi(settings: Settings, host: Host | None = None) -> ASGIApp:
    """The application in the layers that see every answer, unexpected errors' as well. CORS is closed by default."""
    app: ASGIApp = create_app(settings, host)
    for_clients = app
    if settings.origins:
        for_clients = CORSMiddleware(
            app, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"], expose_headers=["*"]
        )
    answering = CodecBorder(app, otherwise=for_clients, settings=settings)
    in_time = SlowReaders(answering, seconds=settings.slow_client_seconds, socket_seconds=settings.socket_send_seconds)
    return BodySends(OpenAIPrefix(HttpHeaders(RequestSpans(ShutdownAnswers(in_time)))))


def _watch(settings: Settings) -> ConfigWatch:
    watch = ConfigWatch(settings.config_path)
    watch.on_hangup()
    return watch


async def _follow_keys(live: LiveState, keys: RuntimeKeys) -> None:
    await live.has_keys.wait()
    await kept_running("runtime keys", keys.run)


def _leave() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _say_who_is_answered(settings: Settings) -> None:
    if settings.config.api_keys:
        log.info("api_keys", tenants=len({key.tenant for key in settings.config.api_keys}))
    elif settings.allow_open:
        log.warning(
            "open", answered="every client that reaches the port: no API keys, and OPEN_RESPONSES_ALLOW_OPEN is set"
        )
    else:
        log.warning("open_on_loopback", answered="this machine only: no API keys are configured")
