"""`/openapi.json` and `/docs`: the OpenAPI document of this server, and a page that shows it.

The page loads nothing from elsewhere, so it works on a machine without a network.
"""

from __future__ import annotations

import asyncio
import json
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from api.openapi.paths import paths
from api.openapi.schemas import component_schemas
from open_responses import __version__
from open_responses.json_types import JsonObject

SPECIFICATION = "2026-04-24"
_PAGE = Path(__file__).with_name("docs.html")

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi() -> Response:
    """The document, in OpenAPI 3.1. It is made at the first request, in a thread: that takes about 0.2 s."""
    return Response(await asyncio.to_thread(_encoded), media_type="application/json")


@router.get("/docs")
async def docs() -> HTMLResponse:
    """The page that shows the document."""
    # The page runs its own script, and loads nothing but the document.
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
    return HTMLResponse(_PAGE.read_text(encoding="utf-8"), headers={"content-security-policy": policy})


@cache
def document() -> JsonObject:
    """The OpenAPI document. It is made once, so callers must not change it."""
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "open_responses",
            "version": __version__,
            "summary": f"The Open Responses API, {SPECIFICATION}, on durable workflows",
            "description": "Extensions carry the slug `open_responses:`. Errors: docs/errors.md.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {}],
        "paths": paths(),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": component_schemas(),
        },
    }


@cache
def _encoded() -> bytes:
    return json.dumps(document(), ensure_ascii=False, separators=(",", ":")).encode()
