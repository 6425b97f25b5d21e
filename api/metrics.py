"""`GET /metrics`: the metrics of this API process, and what it reads of the whole server."""

from __future__ import annotations

import asyncio
import contextlib
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
    return Response(await asyncio.to_thread(_of_process, state), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _of_process(state: AppState) -> bytes:
    text = exposed()
    if state.sdk_metrics is not None:
        with contextlib.suppress(OSError):
            text += state.sdk_metrics.fetch()
    return text


def serve_apart(state: AppState) -> ThreadingHTTPServer | None:
    """Serve the same at an address of its own, without keys, if the settings name a port."""
    settings, sdk = state.settings, state.sdk_metrics
    # One address for one process.
    port = settings.api_metrics_port or (settings.worker_metrics_port if sdk is not None else 0)
    if not port:
        return None
    more = bytes if sdk is None else sdk.fetch
    return serve_metrics(settings.metrics_host, [port], before=state.readings.want, more=more)
