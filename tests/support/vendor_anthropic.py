"""A fake of the Messages API of Anthropic."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from tests.support.vendor_scripts import (
    LISTED,
    LISTED_MOMENT,
    PAGE,
    Asked,
    Encoder,
    Json,
    Piece,
    Refused,
    Spoken,
    event_of,
)

# What the adapter says where the conversation ends with an answer, which Anthropic takes from no model from 4.6 on.
GO_ON = "Continue."

_ERROR_TYPES = {429: "rate_limit_error", 500: "api_error", 529: "overloaded_error"}


class Anthropic:
    """`POST /v1/messages`. A trailing assistant message is continued at the character where it ends."""

    name: ClassVar[str] = "anthropic"
    path: ClassVar[str] = "v1/messages"
    models_path: ClassVar[str] = "v1/models"
    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def __init__(self) -> None:
        self._thoughts: dict[str, str] = {}

    def models(self, query: dict[str, str]) -> Json:
        names = LISTED[self.name]
        begin = names.index(query["after_id"]) + 1 if "after_id" in query else 0
        page = names[begin : begin + min(PAGE, int(query.get("limit", 20)))]
        data = [
            {"type": "model", "id": name, "display_name": name.title(), "created_at": LISTED_MOMENT} for name in page
        ]
        return {"data": data, "has_more": page[-1] != names[-1], "first_id": page[0], "last_id": page[-1]}

    def read(self, body: Json) -> Asked:
        messages = body["messages"]
        asking = [
            i
            for i, m in enumerate(messages)
            if m["role"] == "user" and any(block["type"] != "tool_result" for block in m["content"])
        ]
        said = ""
        if messages[asking[-1]]["content"][-1].get("text") == GO_ON:
            said = messages[asking.pop() - 1]["content"][-1].get("text", "")
        last = messages[-1]
        prefix = last["content"][-1].get("text", "") if last["role"] == "assistant" else ""
        turns = [m for m in messages[asking[-1] :] if any(b["type"] == "tool_use" for b in m["content"])]
        prompt = [block["text"] for block in messages[asking[-1]]["content"] if block["type"] == "text"][-1]
        return Asked(prompt, len(turns), prefix, said, self._thinks(body))

    def check(self, body: Json, path: str) -> None:
        messages = body["messages"]
        roles = [m["role"] for m in messages]
        if roles[0] != "user" or any(a == b for a, b in itertools.pairwise(roles)):
            raise Refused(f"messages: roles must alternate: {roles}")
        if roles[-1] == "assistant":
            self._check_prefill(body, messages[-1]["content"])
        for number, message in enumerate(messages):
            if message["role"] == "assistant":
                self._check_answer(f"messages.{number}", message["content"], messages[number + 1 :])

    def _check_prefill(self, body: Json, content: list[Json]) -> None:
        model = re.search(r"-(\d)-(\d)", body["model"])
        if model and (int(model[1]), int(model[2])) >= (4, 6):
            raise Refused(
                "This model does not support assistant message prefill. The conversation must end with a user message."
            )
        if self._thinks(body):
            raise Refused("When thinking is enabled, the final message must not be an assistant message with a prefill")
        if content[-1].get("text", "x")[-1:].isspace():
            raise Refused("messages: final assistant content cannot end with trailing whitespace")

    def _check_answer(self, place: str, content: list[Json], after: list[Json]) -> None:
        for number, block in enumerate(content):
            if block["type"] != "thinking":
                continue
            if self._thoughts.get(block["signature"]) != block["thinking"]:
                raise Refused(f"{place}.content.{number}: Invalid `signature` in `thinking` block")
            if number + 1 < len(content) and content[number + 1]["type"] == "thinking":
                raise Refused(
                    f"{place}.content.{number}: `thinking` blocks cannot be modified: they must remain as they were in "
                    "the original response"
                )
        if content[-1]["type"] == "thinking":
            raise Refused(f"{place}: The final block in an assistant message cannot be `thinking`.")
        wanted = [block["id"] for block in content if block["type"] == "tool_use"]
        given = [b.get("tool_use_id") for b in after[0]["content"] if b["type"] == "tool_result"] if after else []
        if set(wanted) - set(given):
            raise Refused(f"{place}: `tool_use` ids were found without `tool_result` blocks immediately after")

    def _thinks(self, body: Json) -> bool:
        return body.get("thinking", {}).get("type") in ("enabled", "adaptive")

    def encoder(self, body: Json, script: Spoken) -> Encoder:
        seal = f"{self.name}-{script.seal}"
        self._thoughts[seal] = script.thought
        return _AnthropicEvents(body["model"], script, seal)

    def refusal(self, status: int, message: str, wait: float | None) -> Json:
        kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        if wait is None:
            return {}
        limit = "anthropic-ratelimit-requests"
        return {f"{limit}-remaining": "0", f"{limit}-reset": _moment(wait)}


def _moment(wait: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=wait)).isoformat().replace("+00:00", "Z")


class _AnthropicEvents:
    def __init__(self, model: str, script: Spoken, seal: str) -> None:
        self._model = model
        self._script = script
        self._seal = seal
        self._open: tuple[str, int] | None = None
        self._index = -1
        self._count = 0

    def begin(self) -> bytes:
        usage = {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1}
        message = {"id": "msg_01", "type": "message", "role": "assistant", "content": [], "model": self._model}
        return event_of(
            {
                "type": "message_start",
                "message": {**message, "stop_reason": None, "stop_sequence": None, "usage": usage},
            }
        )

    def piece(self, piece: Piece) -> bytes:
        self._count += 1
        opening = b"" if self._open == (piece.kind, piece.call) else self._close() + self._begin(piece)
        delta: Json = {"type": "text_delta", "text": piece.text}
        if piece.kind == "thought":
            delta = {"type": "thinking_delta", "thinking": piece.text}
        elif piece.kind == "call":
            delta = {"type": "input_json_delta", "partial_json": piece.text}
        return opening + self._delta(delta)

    def _begin(self, piece: Piece) -> bytes:
        self._open = (piece.kind, piece.call)
        self._index += 1
        block: Json = {"type": "text", "text": ""}
        if piece.kind == "thought":
            block = {"type": "thinking", "thinking": "", "signature": ""}
        elif piece.kind == "call":
            wanted = (self._script.tool_calls or [])[piece.call]
            block = {"type": "tool_use", "id": wanted["id"], "name": wanted["name"], "input": {}}
        started = event_of({"type": "content_block_start", "index": self._index, "content_block": block})
        return started + (event_of({"type": "ping"}) if self._index == 0 else b"")

    def _delta(self, delta: Json) -> bytes:
        return event_of({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> bytes:
        opened, self._open = self._open, None
        if opened is None:
            return b""
        signed = opened[0] == "thought"
        signature = self._delta({"type": "signature_delta", "signature": self._seal}) if signed else b""
        return signature + event_of({"type": "content_block_stop", "index": self._index})

    def end(self) -> bytes:
        reason = "tool_use" if self._script.tool_calls else "end_turn"
        delta = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}}
        last = {**delta, "usage": {"output_tokens": self._count}}
        return self._close() + event_of(last) + event_of({"type": "message_stop"})

    def error(self, status: int) -> bytes:
        return event_of(Anthropic().refusal(status, "Overloaded", None))
