"""Parse: the body of a request, checked by itself alone. What it names is not looked up yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from api.body import read_object
from api.dependencies import AuthenticatedCaller, State
from api.idempotency import IdempotencyKey, idempotency_key
from api.responses.held import HeldResponse
from api.responses.routing import take_provider_key
from open_responses.schema.off_loop import off_loop
from open_responses.schema.requests import CreateResponse, validate_create_response


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request whose body is valid by itself.

    `size` is that of the request, in bytes as it came. `provider_key` is its own key for the provider, `key` its
    `Idempotency-Key`. `held` is the response that it continues, where a connection's memory alone has it.
    """

    asked: CreateResponse
    size: int
    provider_key: str | None = None
    key: IdempotencyKey | None = None
    held: HeldResponse | None = None
    is_compaction: bool = False


async def parse(request: Request, state: State, caller: AuthenticatedCaller) -> ParsedRequest:
    """The body of `POST /v1/responses`. Raises as `read_object`, and InvalidRequest."""
    body, size = await read_object(request, state.settings.max_body_bytes)
    provider_key = take_provider_key(body, request.headers)
    key = await off_loop(size, idempotency_key, caller.tenant, request.headers, body)
    asked = await off_loop(size, validate_create_response, body)
    return ParsedRequest(asked, size, provider_key, key)


Parsed = Annotated[ParsedRequest, Depends(parse)]
