"""What routes ask FastAPI for: the process's state, the caller, and its tenant.

Each is found once a request, in the order of a route's parameters. A caller is counted when it is found
(`api.auth.caller_of`), so a route takes it from here and never calls that itself.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api.app_state import AppState, state_of
from api.auth import Caller, caller_of
from open_responses.errors import PermissionDenied


async def _state(request: Request) -> AppState:
    # Not a plain function: FastAPI would run that in a thread.
    return state_of(request)


async def _caller(request: Request) -> Caller:
    return caller_of(request)


State = Annotated[AppState, Depends(_state)]
AuthenticatedCaller = Annotated[Caller, Depends(_caller)]
"""Raises what `caller_of` raises."""


async def require_admin(caller: AuthenticatedCaller) -> Caller:
    """The caller, who may see and change what belongs to all tenants. Raises PermissionDenied for any other."""
    if not caller.is_admin:
        raise PermissionDenied(
            'This endpoint is for operators. Send a key whose [[api_keys]] table has scopes = ["admin"].'
        )
    return caller


AdminCaller = Annotated[Caller, Depends(require_admin)]
"""Raises what `caller_of` raises, and PermissionDenied for the key of a tenant."""


async def _tenant(caller: AuthenticatedCaller) -> str:
    return caller.tenant


Tenant = Annotated[str, Depends(_tenant)]


async def _reads_of(caller: AuthenticatedCaller) -> str | None:
    return caller.reads_of


ReadsOf = Annotated[str | None, Depends(_reads_of)]
"""The tenant whose stored responses the caller may read; None for an operator, who may read every tenant's."""
