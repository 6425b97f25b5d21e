"""`/v1/models`: what can be asked for."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.app_state import state_of
from api.auth import Caller, caller_of
from open_responses.config import RouteConfig
from open_responses.errors import ModelNotFound
from open_responses.json_types import JsonObject

router = APIRouter(prefix="/v1/models")

_PATTERN = frozenset("*?[")


@router.get("")
async def list_models(request: Request) -> JSONResponse:
    """The routes' models. Patterns are left out: they are not names that one could ask for."""
    caller = caller_of(request)
    routes = [
        route
        for route in state_of(request).settings.config.routes
        if not set(route.model) & _PATTERN and _may_use(caller, route.model)
    ]
    named = {route.model: _model(route.model, route) for route in reversed(routes)}
    return JSONResponse({"object": "list", "data": [named[model] for model in dict.fromkeys(r.model for r in routes)]})


@router.get("/{model:path}")
async def get_model(request: Request, model: str) -> JSONResponse:
    """A model that some route takes, by its name or by a pattern."""
    caller = caller_of(request)
    route = state_of(request).settings.config.route(model)
    if route is None or not _may_use(caller, model):
        raise ModelNotFound(f"The model {model[:80]!r} does not exist here.", param="model")
    return JSONResponse(_model(model, route))


def _may_use(caller: Caller, model: str) -> bool:
    return caller.key is None or caller.key.allows_model(model)


def _model(name: str, route: RouteConfig) -> JsonObject:
    return {"id": name, "object": "model", "created": 0, "owned_by": route.provider}
