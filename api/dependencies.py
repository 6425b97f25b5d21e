"""What routes ask FastAPI for: the process's state, the caller, and its tenant.

Each is found once a request, in the order of a route's parameters. A caller is counted when it is found
(`api.auth.caller_of`), so a route takes it from here and never calls that itself.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from api.app_state import AppState, state_of
from api.auth import Caller, caller_of


async def _state(request: Request) -> AppState:
    # Not a plain function: FastAPI would run that in a thread.
    return state_of(request)


async def _caller(request: Request) -> Caller:
    return caller_of(request)


State = Annotated[AppState, Depends(_state)]
AuthenticatedCaller = Annotated[Caller, Depends(_caller)]
"""Raises what `caller_of` raises."""


async def _tenant(caller: AuthenticatedCaller) -> str:
    return caller.tenant


Tenant = Annotated[str, Depends(_tenant)]
