"""A fake of the API of Gemini."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from typing import ClassVar

from tests.support.vendor_scripts import LISTED, PAGE, Asked, Encoder, Json, Piece, Refused, Spoken

SKIP_SIGNATURE = "skip_thought_signature_validator"

_GOOGLE_STATUS = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}


class Gemini:
    """`POST /v1beta/models/{model}:streamGenerateContent`. Calls come whole, without an id."""

    name: ClassVar[str] = "gemini"
    path: ClassVar[str] = r"v1beta/models/[\w.-]+:streamGenerateContent\?alt=sse"
    models_path: ClassVar[str] = "v1beta/models"
    content_type: ClassVar[str] = "text/event-stream"

    def __init__(self) -> None:
        self._seals: set[str] = {SKIP_SIGNATURE}

    def models(self, query: dict[str, str]) -> Json:
        about = [(name, ["generateContent", "countTokens"]) for name in LISTED[self.name]]
        about.insert(1, ("gemini-lists-embedding", ["embedContent"]))
        begin = int(query.get("pageToken", "at=0").removeprefix("at="))
        models = [
            {"name": f"models/{name}", "version": "1", "displayName": name, "supportedGenerationMethods": methods}
            for name, methods in about[begin : begin + PAGE]
        ]
        following = begin + PAGE
        return {"models": models, **({"nextPageToken": f"at={following}"} if following < len(about) else {})}

    def read(self, body: Json) -> Asked:
        contents = body["contents"]
        asking = [i for i, c in enumerate(contents) if c["role"] == "user" and any("text" in p for p in c["parts"])][-1]
        turns = [c for c in contents[asking:] if c["role"] == "model" and any("functionCall" in p for p in c["parts"])]
        prefix = "".join(p.get("text", "") for p in contents[-1]["parts"]) if contents[-1]["role"] == "model" else ""
        thinks = body.get("generationConfig", {}).get("thinkingConfig", {}).get("includeThoughts", False)
        prompt = [part["text"] for part in contents[asking]["parts"] if "text" in part][-1]
        return Asked(prompt, len(turns), prefix, thinks=thinks)

    def check(self, body: Json, path: str) -> None:
        contents = body["contents"]
        roles = [content["role"] for content in contents]
        if roles[-1] != "user" or any(a == b for a, b in itertools.pairwise(roles)):
            raise Refused(f"Please ensure that multiturn requests alternate between user and model: {roles}")
        for number, content in enumerate(contents):
            calls = [part for part in content["parts"] if "functionCall" in part]
            answers = [part for part in contents[(number + 1) % len(roles)]["parts"] if "functionResponse" in part]
            if calls and len(calls) != len(answers):
                raise Refused(
                    "Please ensure that the number of function response parts is equal to the number of function call "
                    "parts of the function call turn."
                )
            if calls and "thoughtSignature" not in calls[0]:
                raise Refused(
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                    "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                    f"data, function call `default_api:{calls[0]['functionCall']['name']}` , position {number + 1}."
                )
            for part in content["parts"]:
                if part.get("thoughtSignature", SKIP_SIGNATURE) not in self._seals:
                    raise Refused("Thought signature is not valid.")

    def encoder(self, body: Json, script: Spoken) -> Encoder:
        seal = f"{self.name}-{script.seal}"
        self._seals.add(seal)
        return _GeminiChunks(script, seal)

    def refusal(self, status: int, message: str, wait: float | None) -> Json:
        error: Json = {"code": status, "message": message, "status": _GOOGLE_STATUS.get(status, "UNKNOWN")}
        if wait is not None:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            error["details"] = [{"@type": kind, "retryDelay": f"{wait:g}s"}]
        return {"error": error}

    def wait_headers(self, wait: float | None) -> dict[str, str]:
        return {}


class _GeminiChunks:
    def __init__(self, script: Spoken, seal: str) -> None:
        self._script = script
        self._seal = seal
        self._arguments: dict[int, str] = defaultdict(str)
        self._count = 0

    def begin(self) -> bytes:
        return b""

    def piece(self, piece: Piece) -> bytes:
        self._count += 1
        if piece.kind == "thought":
            return self._chunk({"text": piece.text, "thought": True})
        if piece.kind == "text":
            return self._chunk({"text": piece.text})
        self._arguments[piece.call] += piece.text
        wanted = (self._script.tool_calls or [])[piece.call]
        if self._arguments[piece.call] != "".join(wanted["arguments"]):
            return b""
        called = {"functionCall": {"name": wanted["name"], "args": json.loads(self._arguments[piece.call])}}
        return self._chunk(called | ({} if piece.call else {"thoughtSignature": self._seal}))

    def _chunk(self, *parts: Json, finish: str | None = None) -> bytes:
        candidate: Json = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
        if finish is not None:
            candidate["finishReason"] = finish
        usage = {"promptTokenCount": 10, "candidatesTokenCount": self._count, "totalTokenCount": 10 + self._count}
        chunk = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3", "responseId": "r1"}
        return f"data: {json.dumps(chunk)}\r\n\r\n".encode()

    def end(self) -> bytes:
        signature = {} if self._script.tool_calls else {"thoughtSignature": self._seal}
        return self._chunk({"text": "", **signature}, finish="STOP")

    def error(self, status: int) -> bytes:
        return json.dumps(Gemini().refusal(status, "The model is overloaded.", None), indent=2).encode()
