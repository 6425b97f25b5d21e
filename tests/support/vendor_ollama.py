"""A fake of Ollama."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, ClassVar

from tests.support.vendor_scripts import LISTED, Asked, Encoder, Json, Piece, Refused, Spoken


class Ollama:
    """`POST /api/chat`. Calls come whole; a trailing assistant message is continued where it ends."""

    name: ClassVar[str] = "ollama"
    path: ClassVar[str] = "api/chat"
    models_path: ClassVar[str] = "api/tags"
    content_type: ClassVar[str] = "application/x-ndjson"

    def models(self, query: dict[str, str]) -> Json:
        moment = "2025-08-05T13:29:37.409490317-07:00"
        about = {"modified_at": moment, "size": 3338801804, "digest": "a2af6cc3", "details": {"format": "gguf"}}
        return {"models": [{"name": name, "model": name, **about} for name in LISTED[self.name]]}

    def read(self, body: Json) -> Asked:
        messages = body["messages"]
        asking = [i for i, m in enumerate(messages) if m["role"] == "user"][-1]
        turns = [m for m in messages[asking:] if m.get("tool_calls")]
        prefix = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        return Asked(messages[asking]["content"], len(turns), prefix, thinks=bool(body.get("think")))

    def check(self, body: Json, path: str) -> None:
        for message in body["messages"]:
            if not isinstance(message["content"], str):
                raise Refused("json: cannot unmarshal into Go struct field ChatRequest.messages.content of type string")

    def encoder(self, body: Json, script: Spoken) -> Encoder:
        return _OllamaLines(body["model"], script)

    def refusal(self, status: int, message: str, wait: float | None) -> Json:
        return {"error": message}

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        return {} if wait is None else {"Retry-After": f"{wait:g}"}


class _OllamaLines:
    def __init__(self, model: str, script: Spoken) -> None:
        self._model = model
        self._script = script
        self._arguments: dict[int, str] = defaultdict(str)
        self._count = 0

    def _line(self, message: Json, **members: Any) -> bytes:
        line = {"model": self._model, "created_at": "2026-11-25T12:00:00.1Z"}
        said = {"role": "assistant", "content": "", **message}
        return json.dumps({**line, "message": said, "done": False, **members}).encode() + b"\n"

    def begin(self) -> bytes:
        return b""

    def piece(self, piece: Piece) -> bytes:
        self._count += 1
        if piece.kind == "thought":
            return self._line({"thinking": piece.text})
        if piece.kind == "text":
            return self._line({"content": piece.text})
        self._arguments[piece.call] += piece.text
        wanted = (self._script.tool_calls or [])[piece.call]
        if self._arguments[piece.call] != "".join(wanted["arguments"]):
            return b""
        function = {"index": piece.call, "name": wanted["name"], "arguments": json.loads(self._arguments[piece.call])}
        return self._line({"tool_calls": [{"id": wanted["id"], "function": function}]})

    def end(self) -> bytes:
        counts = {"prompt_eval_count": 10, "eval_count": self._count, "total_duration": 1}
        return self._line({}, done=True, done_reason="stop", **counts)

    def error(self, status: int) -> bytes:
        return b'{"error":"an error was encountered while running the model: unexpected EOF"}\n'
