"""Health probes for load balancers: `/healthz` and `/readyz`."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.dependencies import State
from api.readiness import NEEDED
from open_responses.schema.http_bodies import Health

router = APIRouter()

_REFUSED = "the file as it is now is refused, and the one before it is in force: the log and /v1/admin/health say why"


@router.get("/healthz")
@router.head("/healthz")
async def healthz() -> JSONResponse:
    """This process is alive."""
    health: Health = {"status": "ok"}
    return JSONResponse(health)


@router.get("/readyz")
@router.head("/readyz")
async def readyz(state: State) -> JSONResponse:
    """503 if Temporal or Redis does not answer. Missing workers are named, and the process is ready: work waits."""
    problems = await state.readiness.problems()
    health = Health(status="ready")
    if problems:
        health = Health(status="degraded" if NEEDED.isdisjoint(problems) else "not ready", missing=problems)
    if state.configuration.error is not None:
        # Not why: the reason names tenants and providers, and anybody may ask here.
        health["configuration"] = _REFUSED
    return JSONResponse(health, status_code=503 if health["status"] == "not ready" else 200)
