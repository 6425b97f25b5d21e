"""The API's process: `uvicorn api.main:app`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI

import workflows
from api import approvals, create, errors, retrieve, service
from api.app_state import AppState
from open_responses.io.log_reader import LogHub
from open_responses.io.records import Records
from open_responses.io.redis import connect as connect_redis
from open_responses.io.sealing import load_sealer
from open_responses.io.settings import ConfigError, Settings, load_settings
from open_responses.io.store import ResponseStore
from open_responses.io.temporal import connect as connect_temporal


def create_app(settings: Settings) -> FastAPI:
    """The application, for these settings. Connects at start-up, lazily: Temporal and Redis may come up later."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        redis = connect_redis(settings.redis_url)
        temporal = await connect_temporal(settings.blobs, lazy=True)
        store = ResponseStore(
            redis, ttl_seconds=settings.response_ttl_seconds, log_ttl_seconds=settings.log_ttl_seconds
        )
        hub = LogHub(redis)
        sealer = load_sealer(settings.encryption_keys, Path(settings.data_dir))
        app.state.open_responses = AppState(settings, redis, temporal, store, Records(store, temporal), hub, sealer)
        listening = asyncio.create_task(hub.run())
        yield
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await redis.aclose()

    app = FastAPI(title="open_responses", version="0.1.0", lifespan=lifespan, openapi_url=None)
    errors.install(app)
    for router in (create.router, retrieve.router, approvals.router, service.router):
        app.include_router(router)
    return app


if not hasattr(workflows, "OURS"):
    sys.exit(f"the package 'workflows' at {workflows.__file__} is not ours: run from the project's root")
try:
    app = create_app(load_settings())
except ConfigError as error:
    sys.exit(f"api: {error}")
