"""One operation of the OpenAPI document: its parameters, its body, and its answers by status."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from api.openapi.schemas import ref
from open_responses.json_types import JsonObject


def operation(
    name: str,
    summary: str,
    answers: Mapping[int, tuple[str, JsonObject, JsonObject]],
    *,
    parameters: list[JsonObject] | None = None,
    request: type[BaseModel] | str | None = None,
    may_be_empty: bool = False,
    errors: tuple[int, ...] = (),
    is_open: bool = False,
) -> JsonObject:
    """One operation.

    Args:
        name: Its `operationId`.
        summary: What it does, in one line.
        answers: By status: the description, the schema of the JSON, and the other media types.
        parameters: As `parameter` makes them.
        request: The model of the body, or the name of its schema.
        may_be_empty: The body may be left out.
        errors: The statuses of errors that are particular to it.
        is_open: No key is needed.
    """
    responses: JsonObject = {
        str(status): {
            "description": description or "OK",
            "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
            "content": {"application/json": {"schema": schema}, **more},
        }
        for status, (description, schema, more) in answers.items()
    }
    # 401, 403 and 503 are possible wherever a key is needed: a wrong key, one without the scope, a dependency away.
    of_bodies = () if request is None else (400, 408, 413, 415)
    for status in sorted({*errors, *of_bodies, *(() if is_open else (401, 403, 503))}):
        responses[str(status)] = _error(status)
    described: JsonObject = {"operationId": name, "summary": summary, "responses": responses}
    if parameters:
        described["parameters"] = parameters
    if request is not None:
        name_of_body = request if isinstance(request, str) else request.__name__
        content = {"application/json": {"schema": ref(name_of_body)}}
        described["requestBody"] = {"required": not may_be_empty, "content": content}
    if is_open:
        described["security"] = []
    return described


def probe(name: str, summary: str, answers: Mapping[int, tuple[str, JsonObject, JsonObject]]) -> JsonObject:
    """GET and HEAD: load balancers use either."""
    return {
        method: operation(name if method == "get" else f"{name}Head", summary, answers, is_open=True)
        for method in ("get", "head")
    }


def parameter(name: str, where: str, schema: JsonObject | None = None) -> JsonObject:
    return {"name": name, "in": where, "required": where == "path", "schema": schema or {"type": "string"}}


INCLUDE = parameter("include", "query", {"type": "array", "items": {"type": "string"}})
"""Members of items that are shown on request alone."""


def newest_first() -> list[JsonObject]:
    """The parameters of a list whose order is fixed."""
    return [one for one in page() if one["name"] != "order"]


def page() -> list[JsonObject]:
    """The parameters of a list that is read in pages."""
    return [
        parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}),
        parameter("order", "query", {"enum": ["asc", "desc"], "default": "desc"}),
        parameter("after", "query"),
    ]


_STATUSES = {
    400: "The request is invalid: `param` is the member, `code` the reason.",
    401: "No valid API key.",
    403: "The key lacks the permission, or a server without keys got a request from another machine.",
    404: "The id is unknown, of another tenant, or not stored.",
    409: "The request conflicts with the current state.",
    408: "The body arrived too slowly.",
    413: "The body is too large.",
    415: "The body has a content encoding, which is not supported.",
    429: "A limit of the key is exceeded.",
    500: "The server or the provider failed.",
    503: "A dependency cannot be reached, or the server is overloaded.",
}


def _error(status: int) -> JsonObject:
    answer: JsonObject = {
        "description": _STATUSES[status],
        "content": {"application/json": {"schema": ref("Error")}},
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return answer
