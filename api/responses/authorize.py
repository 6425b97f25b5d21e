"""Authorize: the first of three passes over a request. Its API key allows the model and the tools that it names."""

from __future__ import annotations

from dataclasses import dataclass

from api.admission.scopes import check_scopes
from api.auth import Caller
from api.responses.parse import ParsedRequest
from open_responses.config import Config


@dataclass(frozen=True, slots=True)
class AuthorizedRequest:
    """A request that its caller may send."""

    parsed: ParsedRequest
    caller: Caller


def authorize(config: Config, caller: Caller, parsed: ParsedRequest) -> AuthorizedRequest:
    """Raises PermissionDenied."""
    check_scopes(config, caller.key, parsed.asked)
    return AuthorizedRequest(parsed, caller)
