"""A fake of the Responses API of OpenAI."""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import Any, ClassVar

from tests.support.vendor_scripts import LISTED, LISTED_AT, Asked, Encoder, Json, Piece, Refused, Spoken, event_of


class OpenAI:
    """`POST /responses`, and `GET /responses/{id}?stream=true` of those that were made in the background.

    A call that came with reasoning is wanted back with it.
    """

    name: ClassVar[str] = "openai"
    path: ClassVar[str] = "responses"
    models_path: ClassVar[str] = "models"
    content_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    def __init__(self) -> None:
        self._seals: set[str] = set()
        self._reasoned_calls: dict[str, str] = {}

    def models(self, query: dict[str, str]) -> Json:
        about = {"object": "model", "created": LISTED_AT, "owned_by": "system"}
        return {"object": "list", "data": [{"id": name, **about} for name in LISTED[self.name]]}

    def read(self, body: Json) -> Asked:
        items = body["input"]
        asking = [i for i, item in enumerate(items) if item.get("role") == "user"][-1]
        content = items[asking]["content"]
        prompt = content if isinstance(content, str) else content[-1]["text"]
        kinds = [item["type"] for item in items[asking:]]
        turns = sum(a == "function_call" != b for a, b in itertools.pairwise(kinds))
        said = str(items[-1]["content"]) if items[-1].get("role") == "assistant" else ""
        return Asked(prompt, turns, said=said, thinks=bool(body.get("reasoning")))

    def check(self, body: Json, path: str) -> None:
        items = body["input"]
        for number, item in enumerate(items):
            after = items[number + 1]["type"] if number + 1 < len(items) else ""
            if item["type"] == "reasoning":
                if item["encrypted_content"] not in self._seals:
                    raise Refused("The encrypted content could not be verified.")
                if after not in ("message", "function_call") or items[number + 1].get("role") == "user":
                    raise Refused("Item of type 'reasoning' was provided without its required following item.")
            if item["type"] == "function_call":
                seal = self._reasoned_calls.get(item["call_id"])
                known = [other.get("encrypted_content") for other in items[:number]]
                if seal is not None and seal not in known:
                    raise Refused("Item of type 'function_call' was provided without its required 'reasoning' item.")
                outputs = [other.get("call_id") for other in items if other["type"] == "function_call_output"]
                if item["call_id"] not in outputs:
                    raise Refused(f"No tool output found for function call {item['call_id']}.")

    def encoder(self, body: Json, script: Spoken) -> Encoder:
        seal = f"{self.name}-{script.seal}"
        if body.get("reasoning"):
            self._seals.add(seal)
            self._reasoned_calls |= {wanted["id"]: seal for wanted in script.tool_calls or [] if script.thoughts}
        return OpenAIEvents(
            body, script, f"resp_{hashlib.sha256(f'{script.seal}{script.attempts}'.encode()).hexdigest()}"
        )

    def refusal(self, status: int, message: str, wait: float | None) -> Json:
        code = "rate_limit_exceeded" if status == 429 else None
        told = message if wait is None else f"Rate limit reached. Please try again in {wait:g}s. Visit the settings."
        kind = "invalid_request_error" if status < 429 else "server_error"
        return {"error": {"message": told, "type": kind, "param": None, "code": code}}

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        return {}


class OpenAIEvents:
    def __init__(self, body: Json, script: Spoken, response_id: str) -> None:
        self.id = response_id
        self._body = body
        self._script = script
        self._seal = f"openai-{script.seal}"
        self._sequence = -1
        self._output: list[Json] = []
        self._open: tuple[str, int] | None = None
        self._text = ""
        self._count = 0

    def _response(self, status: str, **members: Any) -> Json:
        given = {"id": self.id, "object": "response", "created_at": 1, "status": status, "model": self._body["model"]}
        empty = {"error": None, "incomplete_details": None, "usage": None, "output": self._output}
        return {**given, **empty, **members}

    def _told(self, kind: str, **members: Any) -> bytes:
        self._sequence += 1
        return event_of({"type": kind, "sequence_number": self._sequence, **members})

    def begin(self) -> bytes:
        kinds = ["created", "queued"] if self._body.get("background") else ["created"]
        status = "queued" if self._body.get("background") else "in_progress"
        told = b"".join(self._told(f"response.{kind}", response=self._response(status)) for kind in kinds)
        return told + self._told("response.in_progress", response=self._response("in_progress"))

    def piece(self, piece: Piece) -> bytes:
        if piece.kind == "built_in":
            return self._close() + self._built_in(json.loads(piece.text))
        self._count += 1
        opening = b"" if self._open == (piece.kind, piece.call) else self._close() + self._begin(piece)
        self._text += piece.text
        kinds = {
            "thought": "reasoning_summary_text",
            "text": "output_text",
            "call": "function_call_arguments",
        }
        more: Json = {"logprobs": []} if piece.kind == "text" else {}
        return opening + self._told(
            f"response.{kinds[piece.kind]}.delta", **self._at(piece.kind), delta=piece.text, **more
        )

    def _built_in(self, event: Json) -> bytes:
        members = {name: value for name, value in event.items() if name != "type"}
        told = self._told(event["type"], output_index=len(self._output), **members)
        if event["type"] == "response.output_item.done":
            self._output.append(event["item"])
        return told

    def _at(self, kind: str) -> Json:
        index = len(self._output)
        place = {"thought": {"summary_index": 0}, "text": {"content_index": 0}, "call": {}}[kind]
        return {"item_id": f"item_{index}", "output_index": index, **place}

    def _item(self, kind: str, call_index: int, text: str, status: str) -> Json:
        item_id = f"item_{len(self._output)}"
        if kind == "thought":
            summary = [{"type": "summary_text", "text": text}] if text else []
            seal = self._seal if status == "completed" else "not-all-of-it"
            return {"id": item_id, "type": "reasoning", "encrypted_content": seal, "summary": summary}
        if kind == "text":
            content = [self._part(kind, text)] if text else []
            message = {"id": item_id, "type": "message", "role": "assistant", "status": status}
            return {**message, "phase": "final_answer", "content": content}
        wanted = (self._script.tool_calls or [])[call_index]
        called = {"call_id": wanted["id"], "name": wanted["name"], "arguments": text}
        return {"id": item_id, "type": "function_call", "status": status, **called}

    def _part(self, kind: str, text: str) -> Json:
        if kind == "thought":
            return {"type": "summary_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _begin(self, piece: Piece) -> bytes:
        self._open, self._text = (piece.kind, piece.call), ""
        item = self._item(piece.kind, piece.call, "", "in_progress")
        told = self._told("response.output_item.added", output_index=len(self._output), item=item)
        if piece.kind == "call":
            return told
        added = "reasoning_summary_part" if piece.kind == "thought" else "content_part"
        return told + self._told(f"response.{added}.added", **self._at(piece.kind), part=self._part(piece.kind, ""))

    def _close(self) -> bytes:
        opened, self._open = self._open, None
        if opened is None:
            return b""
        kind, text, at = opened[0], self._text, self._at(opened[0])
        if kind == "call":
            told = self._told("response.function_call_arguments.done", **at, arguments=text)
        else:
            name, part = (
                ("reasoning_summary_text", "reasoning_summary_part")
                if kind == "thought"
                else ("output_text", "content_part")
            )
            told = self._told(f"response.{name}.done", **at, text=text)
            told += self._told(f"response.{part}.done", **at, part=self._part(kind, text))
        item = self._item(kind, opened[1], text, "completed")
        told += self._told("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        return told

    def end(self) -> bytes:
        usage = {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self._count,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 10 + self._count,
        }
        return self._close() + self._told(
            "response.completed", response=self._response("completed", usage=usage, **self._script.reported)
        )

    def error(self, status: int) -> bytes:
        said = {"code": "server_error", "message": "The server had an error while processing your request. Sorry!"}
        if status == 429:
            said = {
                "code": "rate_limit_exceeded",
                "message": "Rate limit reached. Please try again in 2s. Visit the site.",
            }
        return self._told("response.failed", response=self._response("failed", error=said))
