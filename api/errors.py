"""Turns every exception into an HTTP error with the specification's body (ERR-1)."""

from __future__ import annotations

import math
import sqlite3

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError, RPCStatusCode

from api.admission.reads import begins_response
from api.app_state import AppState
from api.auth import count_as_read, show_limits, tenant_of
from open_responses.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    OpenResponsesError,
    ProviderError,
    ServerError,
    Unavailable,
)
from open_responses.io.files.storage import FolderDiffers
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.client import RedisError
from open_responses.io.redis.refusals import Kind, Refusals
from open_responses.io.telemetry.request_context import current_request_id
from open_responses.io.temporal.client import TemporalDown

log = structlog.get_logger(__name__)

_SOON_SECONDS = 1.0
AGAIN_SECONDS = 5.0
"""When to send a request again that Temporal did not take."""


def install(app: FastAPI) -> None:
    """Handlers for our own errors, the framework's, and the unexpected."""
    app.add_exception_handler(OpenResponsesError, _ours)
    app.add_exception_handler(HTTPException, _framework)
    for kind in (TemporalError, RedisError, OSError, Exception):
        app.add_exception_handler(kind, _other)
    app.add_exception_handler(ClientDisconnect, _left)


def log_refusal(error: OpenResponsesError, path: str, tenant: str | None, refusals: Refusals | None) -> None:
    """The one log line of a refused request, and its count for operators (`api/operations/refusals.py`).

    Its message and `param` are left out: they may quote the request.
    """
    write = log.warning if error.status >= 500 else log.info
    write("refused", code=error.error_code, status=error.status, path=path, tenant=tenant)
    if refusals is not None:
        refusals.note(Kind(tenant, error.error_code, error.status, path), current_request_id())


def as_told(error: Exception, path: str) -> OpenResponsesError:
    """The error that a client receives, over HTTP and WebSockets. An exception of another library is logged."""
    if isinstance(error, OpenResponsesError):
        return error
    if isinstance(error, FolderDiffers):
        log.warning("files_folder_differs", path=path, problem=str(error))
        return Unavailable(
            "This process of the server has another folder or database of files, and would not find yours. Send "
            "your request again: another process may answer it. As an operator, see 'files' in `open_responses check`.",
            code="files_folder_differs",
            retry_after=AGAIN_SECONDS,
        )
    if _says_who_is_away(error):
        log.warning("dependency_away", path=path, reason=str(error))
        return Unavailable(
            "A part of the server cannot be reached. Send your request again after the time in Retry-After.",
            retry_after=_SOON_SECONDS,
        )
    log.exception("unexpected_error", path=path, exc_info=error)
    return ServerError(
        "The server failed because of a defect, which it has logged. Report it with the X-Request-Id of this answer."
    )


def not_started() -> Unavailable:
    """Temporal stayed away before the request's response was started."""
    return Unavailable(
        "Temporal cannot be reached. Nothing was started. Send your request again.", retry_after=AGAIN_SECONDS
    )


def _says_who_is_away(error: Exception) -> bool:
    """What Temporal finds wrong with a call of ours is no better the next time; all else that it refuses may be (no
    worker for a query)."""
    if isinstance(error, RPCError):
        return error.status != RPCStatusCode.INVALID_ARGUMENT
    return isinstance(error, (*TemporalDown, RedisError, OSError, sqlite3.Error))


def refusal(error: OpenResponsesError, path: str, tenant: str | None, refusals: Refusals | None = None) -> JSONResponse:
    """The answer to a request that is refused, which is logged and counted."""
    log_refusal(error, path, tenant, refusals)
    return error_response(error)


def error_response(error: OpenResponsesError) -> JSONResponse:
    """The answer to a request that is refused, which is counted. The caller has logged it."""
    metrics.refused(error.error_code)
    return error_answer(error)


def error_answer(error: OpenResponsesError) -> JSONResponse:
    """The body, the status, and what to know before another try."""
    body = {"message": error.message, "type": error.type, "param": error.param, "code": error.error_code}
    return JSONResponse({"error": body}, status_code=error.status, headers=retry_headers(error))


def retry_headers(error: OpenResponsesError) -> dict[str, str]:
    """`retry-after`, in whole seconds, if waiting helps. If another attempt does not help, `x-should-retry: false`: the
    openai SDK repeats a request after each 409, 429 and 5xx."""
    seconds = error.retry_after
    if seconds is None and error.status == 503:
        seconds = _SOON_SECONDS
    if seconds is not None:
        return {"retry-after": str(max(1, math.ceil(seconds)))}
    is_final = error.status in (409, 429) or isinstance(error, ProviderError)
    return {"x-should-retry": "false"} if is_final and not error.retryable else {}


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OpenResponsesError)
    response = refusal(error, _route_of(request), tenant_of(request), _refusals_of(request))
    if begins_response(request) and error.status < 500:
        count_as_read(request)
    if request.method == "POST" and request.url.path == "/v1/responses":
        await show_limits(request)
    return response


def _refusals_of(request: Request) -> Refusals | None:
    """The count of refusals; None while the application starts."""
    state: AppState | None = getattr(request.app.state, "open_responses", None)
    return None if state is None else state.refusals


def _route_of(request: Request) -> str:
    """The path's template: an id in the path may be anything."""
    path: str = getattr(request.scope.get("route"), "path", "")
    return path


async def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return refusal(NotFound(f"There is nothing at {request.method} {request.url.path}."), "", None)
    if error.status_code == 405:
        refused = Conflict(f"{request.method} is not allowed at {request.url.path}.", code="method_not_allowed")
        response = refusal(refused, "", None)
        response.status_code = 405
        response.headers.update(error.headers or {})
        return response
    response = refusal(InvalidRequest(str(error.detail)), _route_of(request), None)
    response.status_code = error.status_code
    return response


async def _left(request: Request, error: Exception) -> Response:
    """The client went away in the middle of its request. No client reads this answer."""
    if begins_response(request):
        count_as_read(request)
    return Response(status_code=499)


async def _other(request: Request, error: Exception) -> JSONResponse:
    return error_response(as_told(error, request.url.path))
