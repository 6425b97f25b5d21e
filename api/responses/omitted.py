"""The header and the log line with the parts of a request that its provider lacks."""

from __future__ import annotations

import structlog
from fastapi import Request

from api.http_headers import http_headers
from open_responses.loop.payloads.start import StartResponse
from open_responses.models.omissions import Omitted
from open_responses.schema.requests import CreateResponse

log = structlog.get_logger(__name__)

OMITTED_HEADER = "x-open-responses-omitted"


def log_omitted(start: StartResponse) -> None:
    """Write a log line if the route's own provider lacks a part of the request."""
    omitted = start.omitted_for(0)
    if omitted:
        names = omitted.names(start.request)
        log.info("request_narrowed", response_id=start.response_id, provider=start.provider, omitted=names)


def show_omitted(request: Request, omitted: Omitted, asked: CreateResponse) -> None:
    """Add the types of the tools and the names of the settings that are left out to the headers of the answer."""
    if omitted:
        http_headers(request)[OMITTED_HEADER] = ", ".join(omitted.names(asked))
