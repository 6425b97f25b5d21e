"""`GET /v1/admin/health`: what runs and what does not, in one answer for an operator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TypeVar, cast

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.client import Client
from temporalio.service import RPCError

from api.app_state import AppState
from api.dependencies import AdminCaller, State
from api.operations.restart import restart_advice
from open_responses.config import ProviderConfig
from open_responses.io.redis.breaker import BreakerState, states_of
from open_responses.io.redis.client import Redis, RedisDown
from open_responses.io.redis.leases import living_workers
from open_responses.io.redis.takeovers import Takeover, newest_takeovers
from open_responses.io.temporal.task_queues import ACTIVITY_TASKS, WORKFLOW_TASKS, describe_queue
from open_responses.json_types import JsonObject
from open_responses.schema.operation_bodies import (
    LoadedConfiguration,
    ProviderHealth,
    ServerHealth,
    ServerPart,
    TakeoverSeen,
)

router = APIRouter(prefix="/v1/admin")

# An operator looks here because something hangs.
_PATIENCE_SECONDS = 1.0
_MILLISECONDS = 1000.0
_TAKEOVERS = 20

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Queues:
    """What Temporal says of the task queues: tasks that wait, the oldest's age, and the version of each poller."""

    workflow_tasks: int = 0
    activity_tasks: int = 0
    oldest_seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What Redis has: worker id -> (age of its lease, activities), the breakers of providers, and takeovers."""

    workers: dict[str, tuple[float, int]] = field(default_factory=dict)
    breakers: dict[str, BreakerState] = field(default_factory=dict)
    takeovers: Sequence[Takeover] = ()


@router.get("/health")
async def admin_health(state: State, caller: AdminCaller) -> JSONResponse:
    """Temporal, Redis, workers, providers, waiting tasks and the configuration. Answers within two seconds."""

    async def look() -> JsonObject:
        return await _health(state)

    return JSONResponse(await state.recent.get("health", look))


async def _health(state: AppState) -> JsonObject:
    names = [provider.name for provider in state.settings.config.providers]
    (temporal, queues), (redis, shared) = await asyncio.gather(
        _looked_at(_queues(state.temporal), _Queues()), _looked_at(_shared(state.redis, names), _Shared())
    )
    health: ServerHealth = {
        "object": "health",
        "temporal": temporal,
        "redis": redis,
        "workers": [
            {"id": worker, "lease_age_seconds": age, "running": running, "version": queues.versions.get(worker)}
            for worker, (age, running) in sorted(shared.workers.items())
        ],
        "providers": [
            _provider(provider, shared.breakers.get(provider.name)) for provider in state.settings.config.providers
        ],
        "backlog": {
            "workflow_tasks": queues.workflow_tasks,
            "activity_tasks": queues.activity_tasks,
            "oldest_seconds": queues.oldest_seconds,
        },
        "configuration": _configuration(state),
        "takeovers": [cast(TakeoverSeen, asdict(takeover)) for takeover in shared.takeovers],
        "restart": {"is_safe": False, "reasons": [], "notes": []},
    }
    health["restart"] = restart_advice(health)
    return cast(JsonObject, health)


async def _looked_at(look: Awaitable[Found], otherwise: Found) -> tuple[ServerPart, Found]:
    """Whether a part answers, how fast, and what it says."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            found = await look
    except TimeoutError:
        return _part(f"no answer within {_PATIENCE_SECONDS:g} s", began), otherwise
    except (RPCError, *RedisDown) as error:
        return _part(str(error) or type(error).__name__, began), otherwise
    return _part(None, began), found


def _part(problem: str | None, began: float) -> ServerPart:
    latency = round((time.monotonic() - began) * _MILLISECONDS, 1)
    return {"ok": problem is None, "detail": problem, "latency_ms": latency}


async def _queues(temporal: Client) -> _Queues:
    patience = timedelta(seconds=_PATIENCE_SECONDS)
    workflows, activities = await asyncio.gather(
        *(describe_queue(temporal, kind, within=patience) for kind in (WORKFLOW_TASKS, ACTIVITY_TASKS))
    )
    return _Queues(
        workflow_tasks=workflows.tasks,
        activity_tasks=activities.tasks,
        oldest_seconds=max(workflows.oldest_seconds, activities.oldest_seconds),
        versions=_versions([*workflows.pollers, *activities.pollers]),
    )


def _versions(pollers: Sequence[PollerInfo]) -> dict[str, str]:
    """The version of each worker that polls, by the identity that is its id."""
    return {
        poller.identity: poller.deployment_options.build_id for poller in pollers if poller.deployment_options.build_id
    }


async def _shared(redis: Redis, providers: Sequence[str]) -> _Shared:
    workers, breakers, takeovers = await asyncio.gather(
        living_workers(redis), states_of(redis, providers), newest_takeovers(redis, _TAKEOVERS)
    )
    return _Shared(workers, breakers, takeovers)


def _provider(provider: ProviderConfig, breaker: BreakerState | None) -> ProviderHealth:
    return {
        "name": provider.name,
        "adapter": provider.adapter,
        "breaker": "closed" if breaker is None else breaker.state,
        "open_until": None if breaker is None else breaker.open_until,
        "last_error": None if breaker is None else breaker.last_error,
    }


def _configuration(state: AppState) -> LoadedConfiguration:
    return {"loaded_at": state.configuration.loaded_at, "error": state.configuration.error}
