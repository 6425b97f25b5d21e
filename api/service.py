"""Health probes for load balancers: `/healthz` and `/readyz`."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.dependencies import State
from api.readiness import NEEDED
from open_responses.schema.http_bodies import Health

router = APIRouter()


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
    if not problems:
        return JSONResponse(Health(status="ready"))
    if NEEDED.isdisjoint(problems):
        return JSONResponse(Health(status="degraded", missing=problems))
    return JSONResponse(Health(status="not ready", missing=problems), status_code=503)
