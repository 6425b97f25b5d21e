"""The reasoning in a chat completion's chunks, under each server's name.

Sources: docs.vllm.ai features/reasoning_outputs, groq's SDK 1.7 (`reasoning`), mistralai's SDK 3.7 (`ThinkChunk`),
openrouter.ai/docs reasoning-tokens (`reasoning_details`, whose pieces are merged by `index`: agno-agi/agno#5802).
"""

from __future__ import annotations

import json
from typing import Any

from activities.providers.openai_chat.signatures import signed_call, signed_members
from activities.providers.shared.json_objects import as_object
from open_responses.deltas import Delta, ReasoningDelta, ReasoningSeal, ReasoningSummaryDelta
from open_responses.json_types import JsonObject
from open_responses.models import sealed_reasoning


class Thoughts:
    """The reasoning of an answer, and the data that goes back with it: the name of its field, OpenRouter's details,
    Mistral's signature.

    The reasoning is sealed before the next text. Details that come with the answer itself (Gemini's signatures of
    calls) are held back until its end, so that they do not split its message.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._seal: JsonObject = {}
        self._details: list[JsonObject] = []
        # Texts that grow by pieces, joined once: by the detail's position and the member's name.
        self._growing: dict[tuple[int, str], list[str]] = {}
        self._positions: dict[tuple[Any, Any], int] = {}
        self.is_open = True
        """Whether reasoning may have come since the last output."""

    def read(self, delta: JsonObject) -> list[Delta]:
        details = [as_object(detail) for detail in delta.get("reasoning_details") or ()]
        for detail in details:
            self._merge(detail)
        said = [told for detail in details if (told := _told(detail)) is not None]
        for name in ("reasoning_content", "reasoning"):
            text = delta.get(name)
            if isinstance(text, str) and text:
                self._seal["field"] = name
                said = said or [ReasoningDelta(text)]
                break
        signed = signed_members(delta)
        if signed:
            self._seal["message"] = signed
        self.is_open = self.is_open or bool(said)
        return said

    def of_calls(self, pieces: list[Any]) -> list[Delta]:
        """Return the seals of the calls in a chunk that are signed: each goes back with its own call."""
        signed = [(piece, members) for piece in map(as_object, pieces) if (members := signed_call(piece))]
        return [self._sealed({"call": members, "call_id": piece.get("id")}) for piece, members in signed]

    def read_chunk(self, part: JsonObject) -> list[Delta]:
        given = part.get("thinking")
        texts = [given] if isinstance(given, str) else [as_object(piece).get("text") for piece in given or ()]
        self._seal["field"] = "content"
        if part.get("signature"):
            self._seal["signature"] = part["signature"]
        self.is_open = True
        return [ReasoningDelta(text) for text in texts if text]

    def read_summary(self, part: JsonObject) -> list[Delta]:
        texts = [as_object(piece).get("text") for piece in part.get("summary") or ()]
        self.is_open = True
        return [ReasoningSummaryDelta(text) for text in texts if text]

    def before_output(self) -> list[Delta]:
        sealed = self.at_end() if self.is_open else []
        self.is_open = False
        return sealed

    def at_end(self) -> list[Delta]:
        for (position, name), pieces in self._growing.items():
            self._details[position][name] = "".join(pieces)
        kept: JsonObject = {"details": self._details} if self._details else self._seal
        if not kept:
            return []
        self._details, self._seal, self._growing, self._positions = [], {}, {}, {}
        return [self._sealed(kept)]

    def _sealed(self, kept: JsonObject) -> ReasoningSeal:
        return ReasoningSeal(sealed_reasoning.mark(self._provider, json.dumps(kept, ensure_ascii=False)))

    def _merge(self, detail: JsonObject) -> None:
        """Pieces of one block have its type and index; the signature may come last and alone."""
        at = detail.get("index")
        block = (json.dumps(at), json.dumps(detail.get("type")))
        position = None if at is None else self._positions.get(block)
        if position is None:
            self._positions[block] = len(self._details)
            self._details.append(dict(detail))
            return
        known = self._details[position]
        for name, value in detail.items():
            if name in ("text", "summary", "data") and isinstance(known.get(name), str) and isinstance(value, str):
                self._growing.setdefault((position, name), [known[name]]).append(value)
            elif value is not None:
                known[name] = value


def _told(detail: JsonObject) -> Delta | None:
    if detail.get("type") == "reasoning.text" and detail.get("text"):
        return ReasoningDelta(detail["text"])
    if detail.get("type") == "reasoning.summary" and detail.get("summary"):
        return ReasoningSummaryDelta(detail["summary"])
    return None
