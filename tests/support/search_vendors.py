"""The wire formats of search services: answers and refusals as each sends them, from their documentation and SDKs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from activities.tools.web_search.engine import backend_of
from activities.tools.web_search.results import SearchBackend
from open_responses.config import Config
from open_responses.testing.loopback import Canned

KEY = "key-of-the-tests"
VENDORS = ("searxng", "brave", "tavily", "exa")

ANSWERS: Mapping[str, dict[str, Any]] = {
    "searxng": {
        "query": "durable workflows",
        "number_of_results": 0,
        "results": [
            {
                "url": "https://docs.example.com/workflows",
                "title": "Workflows",
                "content": "A workflow survives its worker.",
                "publishedDate": "2026-03-01T00:00:00",
                "thumbnail": None,
                "engine": "duckduckgo",
                "template": "default.html",
                "parsed_url": ["https", "docs.example.com", "/workflows", "", "", ""],
                "img_src": "",
                "priority": "",
                "engines": ["duckduckgo", "brave"],
                "positions": [1, 2],
                "score": 3.0,
                "category": "general",
            },
            {"url": "https://blog.example.org/durable", "title": "Durable", "content": "Kill it.", "engine": "bing"},
        ],
        "answers": [],
        "corrections": [],
        "infoboxes": [],
        "suggestions": ["durable execution"],
        "unresponsive_engines": [["google", "Suspended: CAPTCHA"]],
    },
    "brave": {
        "type": "search",
        "query": {"original": "durable workflows", "more_results_available": True},
        "web": {
            "type": "search",
            "results": [
                {
                    "title": "Workflows",
                    "url": "https://docs.example.com/workflows",
                    "is_source_local": False,
                    "description": "A <strong>workflow</strong> survives its worker&#x27;s death.",
                    "page_age": "2026-03-01T00:00:00",
                    "age": "March 1, 2026",
                    "language": "en",
                    "meta_url": {"scheme": "https", "netloc": "docs.example.com", "path": "/workflows"},
                    "extra_snippets": ["It replays its history."],
                },
                {"title": "Durable", "url": "https://blog.example.org/durable", "description": "Kill it."},
            ],
            "family_friendly": True,
        },
        "mixed": {"type": "mixed", "main": [{"type": "web", "index": 0, "all": False}], "top": [], "side": []},
    },
    "tavily": {
        "query": "durable workflows",
        "follow_up_questions": None,
        "answer": None,
        "images": [],
        "results": [
            {
                "title": "Workflows",
                "url": "https://docs.example.com/workflows",
                "content": "A workflow survives its worker.",
                "score": 0.98,
                "published_date": "Sun, 01 Mar 2026 00:00:00 GMT",
                "raw_content": None,
            },
            {"title": "Durable", "url": "https://blog.example.org/durable", "content": "Kill it.", "score": 0.5},
        ],
        "response_time": 1.67,
        "request_id": "123e4567-e89b-12d3-a456-426614174111",
    },
    "exa": {
        "requestId": "b5947044c4b78efa9552a7c89b306d95",
        "resolvedSearchType": "neural",
        "results": [
            {
                "id": "https://docs.example.com/workflows",
                "title": "Workflows",
                "url": "https://docs.example.com/workflows",
                "publishedDate": "2026-03-01T00:00:00.000Z",
                "author": None,
                "highlights": ["A workflow survives its worker.", "It replays its history."],
                "highlightScores": [0.4, 0.3],
            },
            {"id": "2", "title": "Durable", "url": "https://blog.example.org/durable", "highlights": ["Kill it."]},
        ],
        "searchTime": 501.2,
        "costDollars": {"total": 0.005},
    },
}


@dataclass(frozen=True)
class Refusal:
    """How a vendor refuses, and how the failure has to be understood."""

    vendor: str
    status: int
    body: Any
    says: str
    retryable: bool = False
    retry_after: float | None = None
    headers: Mapping[str, str] | None = None

    @property
    def canned(self) -> Canned:
        raw = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        return Canned(raw, status=self.status, headers=self.headers or {})


REFUSALS = (
    Refusal("searxng", 403, b"<!doctype html><title>403 Forbidden</title>", "add 'json' to search.formats"),
    Refusal("searxng", 429, b"Too Many Requests", "rate limit", retryable=True),
    Refusal(
        "brave",
        422,
        {
            "type": "ErrorResponse",
            "error": {"code": "SUBSCRIPTION_TOKEN_INVALID", "detail": "The token is invalid.", "status": 422},
        },
        "refused the API key: check the key in SEARCH_KEY",
    ),
    Refusal(
        "brave",
        429,
        {
            "type": "ErrorResponse",
            "error": {"code": "RATE_LIMITED", "detail": "Request rate limit exceeded", "status": 429},
        },
        "rate limit",
        retryable=True,
        retry_after=1,
        headers={"X-RateLimit-Remaining": "0, 1000", "X-RateLimit-Reset": "1, 1419704"},
    ),
    Refusal(
        "brave",
        429,
        {"type": "ErrorResponse", "error": {"code": "QUOTA_LIMITED", "detail": "Quota", "status": 429}},
        "quota of the configured key",
        headers={"X-RateLimit-Remaining": "1, 0", "X-RateLimit-Reset": "1, 1419704"},
    ),
    Refusal(
        "tavily", 401, {"detail": {"error": "Unauthorized: missing or invalid API key."}}, "check the key in SEARCH_KEY"
    ),
    Refusal(
        "tavily", 432, {"detail": {"error": "This request exceeds your plan's set usage limit."}}, "no credit left"
    ),
    Refusal("tavily", 400, {"detail": {"error": f"Query is too long. {KEY}"}}, "status 400: Query is too long. …"),
    Refusal(
        "tavily",
        429,
        {"detail": {"error": "Your request has been blocked due to excessive requests."}},
        "rate limit",
        retryable=True,
        retry_after=7,
        headers={"Retry-After": "7"},
    ),
    Refusal(
        "exa",
        401,
        {"requestId": "a", "error": "Invalid API key", "tag": "INVALID_API_KEY"},
        "check the key in SEARCH_KEY",
    ),
    Refusal("exa", 402, {"requestId": "a", "error": "No credits", "tag": "NO_MORE_CREDITS"}, "no credit left"),
    Refusal(
        "exa",
        429,
        {"requestId": "a", "error": "Rate limit", "tag": "RATE_LIMIT"},
        "for 3600 seconds more",
        headers={"Retry-After": "3600"},
    ),
    *(Refusal(vendor, 503, b"upstream connect error", "status 503", retryable=True) for vendor in VENDORS),
    *(Refusal(vendor, 200, b'{"results": [', "not JSON", retryable=True) for vendor in VENDORS),
    *(Refusal(vendor, 200, b"[" * 200_000, "not JSON", retryable=True) for vendor in VENDORS),
    *(Refusal(vendor, 200, b"[]", "not an object", retryable=True) for vendor in VENDORS),
    *(Refusal(vendor, 302, b"", "status 302", headers={"Location": "http://127.0.0.1:1/"}) for vendor in VENDORS),
    *(Refusal(vendor, 200, b"x" * (5 * 1024 * 1024), "more than 4194304 bytes") for vendor in VENDORS),
)


def table(vendor: str, port: int, **settings: Any) -> dict[str, Any]:
    """The `[web_search]` table of a vendor on a port of this machine."""
    return {"backend": vendor, "url": f"http://127.0.0.1:{port}", "api_key_env": "SEARCH_KEY", **settings}


def backend_at(vendor: str, port: int, **settings: Any) -> SearchBackend:
    """The backend of a vendor on a port of this machine."""
    config = Config.model_validate({"web_search": table(vendor, port, **settings)})
    assert config.web_search is not None
    return backend_of(config, config.web_search, {"SEARCH_KEY": KEY})
