"""`POST /v1/responses/input_tokens`: how long a request's context would be, without asking a model."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.admission.scopes import check_built_ins, check_model, check_tools
from api.body import read_object
from api.conversations.lock import read_conversation
from api.dependencies import AuthenticatedCaller, State
from api.lookup import OwnedRecords
from api.responses.omitted import show_omitted
from api.responses.resolve import resolve_context
from api.responses.routing import route_of, run_here_for, take_provider_key
from api.responses.validate import check_context, check_continues
from open_responses.config import Config
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.context.tokens import count_tokens, counted, item_tokens, json_tokens
from open_responses.io.store.chains import Chains, remembered_items
from open_responses.models.omissions import Omitted, omitted_of
from open_responses.schema.items import InputItem
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import CreateResponse, validate_create_response
from open_responses.schema.text_settings import JsonSchemaFormat
from open_responses.tool_use.built_in import offered_built_ins

router = APIRouter()

_ANY_MODEL = "any"


@router.post("/v1/responses/input_tokens")
async def count_input_tokens(request: Request, state: State, caller: AuthenticatedCaller) -> JSONResponse:
    """Tokens by this server's tokenizer, which is not every model's (docs/decisions/0006).

    All is optional, as OpenAI has it: without a model none is looked up, and without input the rest is counted.
    """
    body, size = await read_object(request, state.settings.max_body_bytes)
    take_provider_key(body, request.headers)
    given = {name: value for name, value in body.items() if value is not None}
    asked = await off_loop(size, validate_create_response, {"model": _ANY_MODEL, "input": "", **given})
    check_tools(state.settings.config, caller.key, asked)
    omitted = Omitted()
    if "model" in given:
        check_model(caller.key, asked.model)
        omitted = _omitted(state.settings.config, caller.key, asked)
        show_omitted(request, omitted, asked)
    conversation = await read_conversation(state, caller.tenant, asked)
    records = OwnedRecords(state, caller.tenant)
    context = await resolve_context(state, records, asked, size, conversation)
    check_continues(context)
    check_context(context, state.settings.max_context_bytes)
    asked, before = context.asked, context.earlier
    earlier = await Chains(state.records).items(before.ancestors, records.loaded)
    earlier += await remembered_items(before.remembered)
    items = earlier + (asked.input_items() if "input" in given else [])
    tokens = await counted(_count, items, asked, omitted)
    return JSONResponse({"object": "response.input_tokens", "input_tokens": tokens})


def _omitted(config: Config, key: ApiKeyConfig | None, asked: CreateResponse) -> Omitted:
    """What the route's provider lacks, as for a response: it is not sent, so it is not counted."""
    provider = config.provider(route_of(config, asked.model).provider)
    run_here = run_here_for(config, provider, asked)
    check_built_ins(key, [one.row.name for one in offered_built_ins(asked, run_here)])
    return omitted_of(provider, asked, strict_tools=config.strict_tools, run_here=run_here)


def _count(items: Sequence[InputItem], asked: CreateResponse, omitted: Omitted) -> int:
    tokens = sum(map(item_tokens, items)) + count_tokens(asked.instructions or "")
    offered = [tool for index, tool in enumerate(asked.tools or []) if index not in omitted.tools]
    tokens += json_tokens(tool.model_dump(mode="json", exclude_unset=True) for tool in offered)
    if asked.text is not None and isinstance(asked.text.format, JsonSchemaFormat):
        tokens += json_tokens([asked.text.format.schema_])
    return tokens
