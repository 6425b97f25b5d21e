"""`/codec/encode` and `/codec/decode`: a remote codec for Temporal's UI and CLI.

Without it, operators see compressed and encrypted bytes in histories. It decrypts every payload that it is given, so it
accepts operators only.
"""

from __future__ import annotations

import asyncio
import hmac
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from google.protobuf import json_format
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.converter import DataConverter

from api.app_state import state_of
from api.auth import caller_of, check_is_near, is_loopback
from api.body import read_body
from open_responses.errors import InvalidRequest, NotFound, PermissionDenied, Unauthorized
from open_responses.io.settings import Settings
from open_responses.io.temporal.large_payloads import ClaimBroken, opened
from open_responses.io.temporal.payload_keys import PayloadUnreadable

PATH = "/codec/"
_MAX_BODY_BYTES = 16 * 1024 * 1024
_MAX_PAYLOADS = 10_000

router = APIRouter(prefix="/codec", include_in_schema=False)


@router.post("/decode")
@router.post("/{token:path}/decode")
async def decode(request: Request, token: str | None = None) -> Response:
    """Decode `{"payloads": [...]}`, in proto-JSON as in a history.

    A payload that cannot be read becomes a text with the reason, so that the rest of the history is shown.
    """
    payloads = await _payloads(request, token)
    converter = state_of(request).temporal.data_converter
    return await _answer([await _shown(converter, payload) for payload in payloads])


@router.post("/encode")
@router.post("/{token:path}/encode")
async def encode(request: Request, token: str | None = None) -> Response:
    """Encode payloads that an operator types into a signal: compress them, and encrypt with the installation's key."""
    payloads = await _payloads(request, token)
    codec = state_of(request).temporal.data_converter.payload_codec
    assert codec is not None
    return await _answer(await codec.encode(payloads))


class CodecBorder:
    """The codec's own CORS policy: pages of Temporal's UI may call it, pages that may call the API may not."""

    def __init__(self, app: ASGIApp, *, otherwise: ASGIApp, settings: Settings) -> None:
        self._otherwise = otherwise
        self._codec = CORSMiddleware(
            app,
            allow_origins=_ui_origins(settings),
            allow_methods=["POST"],
            allow_headers=["content-type", "x-namespace", "authorization"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_codec = scope["type"] == "http" and scope["path"].startswith(PATH)
        await (self._codec if is_codec else self._otherwise)(scope, receive, send)


async def _payloads(request: Request, token: str | None) -> list[Payload]:
    _check_operator(request, token, state_of(request).settings)
    body = await read_body(request, _MAX_BODY_BYTES)
    try:
        payloads = (await asyncio.to_thread(json_format.Parse, body, Payloads())).payloads
    except (json_format.ParseError, UnicodeDecodeError):
        raise InvalidRequest(
            'The body must be {"payloads": [...]}, with each payload in the JSON form of Temporal\'s payloads.'
        ) from None
    if len(payloads) > _MAX_PAYLOADS:
        raise InvalidRequest(
            f"'payloads' must have at most {_MAX_PAYLOADS} entries. Send them in several requests.", param="payloads"
        )
    return list(payloads)


async def _shown(converter: DataConverter, payload: Payload) -> Payload:
    try:
        (shown,) = await opened(converter, [payload])
    except (PayloadUnreadable, ClaimBroken) as error:
        return converter.payload_converter.to_payloads([f"[not readable: {error}]"])[0]
    return shown


async def _answer(payloads: list[Payload]) -> Response:
    text = await asyncio.to_thread(json_format.MessageToJson, Payloads(payloads=payloads), indent=None)
    return Response(text, media_type="application/json", headers={"cache-control": "no-store"})


def _check_operator(request: Request, in_path: str | None, settings: Settings) -> None:
    """Accept callers that send the codec token, or an API key with the scope `admin`.

    Temporal's UI sends no header of its own, unless it has a login: it has the token in the path of its codec endpoint.

    Without a configured token, accept callers on this machine, and operators alone if API keys are configured: the
    holders of the other keys are tenants.
    """
    origin = request.headers.get("origin")
    if origin is not None and origin not in _ui_origins(settings):
        raise PermissionDenied(
            f"Pages of {origin[:80]!r} may not decode payloads. If this is your Temporal UI, set "
            "OPEN_RESPONSES_TEMPORAL_UI_URL to its address.",
            code="origin_not_allowed",
        )
    if _has_token(request, in_path, settings.codec_token) or (settings.config.api_keys and _is_admin(request)):
        return
    if settings.codec_token is not None:
        raise Unauthorized("Send `Authorization: Bearer <OPEN_RESPONSES_CODEC_TOKEN>`.")
    if settings.config.api_keys or in_path is not None:
        raise NotFound(
            "This server has no codec endpoint. If you operate it, set OPEN_RESPONSES_CODEC_TOKEN to turn it on, or "
            "send an API key with the scope 'admin'."
        )
    check_is_near(settings, request)


def _has_token(request: Request, in_path: str | None, token: str | None) -> bool:
    if token is None:
        return False
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    given = in_path if in_path is not None else sent.strip() if scheme.lower() == "bearer" else ""
    return hmac.compare_digest(given.encode(), token.encode())


def _is_admin(request: Request) -> bool:
    try:
        return caller_of(request).is_admin
    except Unauthorized:
        return False


def _ui_origins(settings: Settings) -> list[str]:
    """Origins of the Temporal UI. One on this machine has two names."""
    url = urlsplit(settings.temporal_ui_url)
    origins = [f"{url.scheme}://{url.netloc}"]
    if is_loopback(url.hostname or ""):
        port = "" if url.port is None else f":{url.port}"
        origins += [f"{url.scheme}://{host}{port}" for host in ("127.0.0.1", "localhost")]
    return origins
