"""`/v1/models`: the models that a request can name. Workers write the providers' own lists to Redis."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from api.auth import Caller
from api.dependencies import AuthenticatedCaller, State
from open_responses.errors import ModelNotFound
from open_responses.io.redis.model_lists import ModelLists
from open_responses.models.catalog import OfferedModel, offered_model, offered_models, reached_providers
from open_responses.schema.http_bodies import Model, ModelList

router = APIRouter(prefix="/v1/models")


@router.get("")
async def list_models(state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """The names in the routes, and the models that a provider lists and a route matches. Patterns are left out."""
    config = state.settings.config
    lists = await ModelLists(state.redis).read(reached_providers(config))
    offered = [_resource(model) for model in offered_models(config, lists) if _may_use(caller, model.id)]
    listed: ModelList = {"object": "list", "data": offered}
    return JSONResponse(listed)


@router.get("/{model:path}")
async def get_model(model: str, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """A model that a route matches by name or pattern, as in the list if it is listed."""
    config = state.settings.config
    route = config.route(model)
    if route is None or not _may_use(caller, model):
        raise ModelNotFound(
            f"This server has no model {model[:80]!r} for you. GET /v1/models lists those that you may use.",
            param="model",
        )
    lists = await ModelLists(state.redis).read([config.provider(route.provider)])
    return JSONResponse(_resource(offered_model(route, model, lists)))


def _may_use(caller: Caller, model: str) -> bool:
    return caller.key is None or caller.key.allows_model(model)


def _resource(model: OfferedModel) -> Model:
    return {"object": "model", "id": model.id, "created": model.created, "owned_by": model.owned_by}
