"""The border at which everything becomes the specification's error body (ERR-1)."""

from __future__ import annotations

import math

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from temporalio.service import RPCError

from api.auth import show_limits
from open_responses.errors import Conflict, InvalidRequest, NotFound, OpenResponsesError, ServerError, Unavailable
from open_responses.io.redis import RedisError

log = structlog.get_logger(__name__)


def install(app: FastAPI) -> None:
    """Handlers for our own errors, the framework's, and the unexpected."""
    app.add_exception_handler(OpenResponsesError, _ours)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(RPCError, _away)
    app.add_exception_handler(RedisError, _away)
    app.add_exception_handler(OSError, _away)
    app.add_exception_handler(RuntimeError, _perhaps_away)
    app.add_exception_handler(ClientDisconnect, _left)
    app.add_exception_handler(Exception, _unexpected)


def error_response(error: OpenResponsesError) -> JSONResponse:
    """The body, the status, and `Retry-After` in whole seconds where waiting helps."""
    body = {"message": error.message, "type": error.type, "param": error.param, "code": error.error_code}
    headers = {} if error.retry_after is None else {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    return JSONResponse({"error": body}, status_code=error.status, headers=headers)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OpenResponsesError)
    if request.method == "POST" and request.url.path == "/v1/responses":
        await show_limits(request)
    return error_response(error)


async def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return error_response(NotFound(f"There is nothing at {request.method} {request.url.path}."))
    if error.status_code == 405:
        refused = Conflict(f"{request.method} is not allowed at {request.url.path}.", code="method_not_allowed")
        response = error_response(refused)
        response.status_code = 405
        return response
    response = error_response(InvalidRequest(str(error.detail)))
    response.status_code = error.status_code
    return response


async def _away(request: Request, error: Exception) -> JSONResponse:
    log.warning("dependency_away", path=request.url.path, reason=str(error))
    return error_response(Unavailable("A part of the server cannot be reached. Try again shortly.", retry_after=1))


async def _perhaps_away(request: Request, error: Exception) -> JSONResponse:
    """Temporal's SDK has no exception of its own for a first connection that fails: Temporal may still be starting."""
    return await (_away if str(error).startswith("Failed client connect") else _unexpected)(request, error)


async def _left(_: Request, error: Exception) -> Response:
    """The client went away in the middle of its request: nobody reads this."""
    return Response(status_code=499)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.exception("unexpected_error", path=request.url.path, exc_info=error)
    return error_response(ServerError("The server failed in a way that it should not have. It has been logged."))
