"""The lines of Ollama's `/api/chat`, and calls that are sampled from them.

Shapes: docs.ollama.com (openapi.yaml, capabilities/thinking and tool-calling, api/errors), `api/types.go` of 0.33, and
a recorded end of a stream with `prompt_eval_cached_count`; the words are ours.
"""

from __future__ import annotations

import json
from typing import Any

from tests.support.provider_wire import Answer


def line(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    at = "2026-09-17T15:42:59.5670387Z"
    return {"model": "qwen3", "created_at": at, "message": {"role": "assistant", "content": "", **message}} | more


def said(text: str) -> dict[str, Any]:
    return line({"content": text}, done=False)


def done(reason: str = "stop", **more: Any) -> dict[str, Any]:
    counts = {"prompt_eval_count": 29, "prompt_eval_cached_count": 12, "eval_count": 3, "eval_duration": 173639000}
    return line({}, done=True, done_reason=reason, **{**counts, **more})


def ndjson(*lines: dict[str, Any], **how: Any) -> Answer:
    body = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
    return Answer(body.encode(), content_type="application/x-ndjson", **how)
