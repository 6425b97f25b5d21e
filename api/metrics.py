"""`GET /metrics`: the metrics of this API process, and what it reads of the whole server."""

from __future__ import annotations

import asyncio
from http.server import ThreadingHTTPServer

from fastapi import APIRouter, Depends
from starlette.responses import Response

from api.app_state import AppState
from api.dependencies import State, require_admin
from open_responses.io.metrics.exposition import CONTENT_TYPE_PLAIN_0_0_4, exposed, serve_metrics

router = APIRouter(include_in_schema=False)


@router.get("/metrics", dependencies=[Depends(require_admin)])
async def get_metrics(state: State) -> Response:
    """For a Prometheus, which sends a key with the scope `admin` as its bearer token."""
    state.readings.want()
    # In a thread: thousands of series take some milliseconds, which streams should not wait for.
    return Response(await asyncio.to_thread(exposed), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def serve_apart(state: AppState) -> ThreadingHTTPServer | None:
    """Serve the same at an address of its own, without keys, if the settings name a port."""
    settings = state.settings
    if not settings.api_metrics_port:
        return None
    return serve_metrics(settings.metrics_host, [settings.api_metrics_port], before=state.readings.want)
