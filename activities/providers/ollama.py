"""Ollama's own API: `POST /api/chat`, one JSON object on each line.

Sources: docs.ollama.com (openapi.yaml; capabilities/thinking, tool-calling; api/errors), `api/types.go` and
`server/routes.go` of Ollama 0.33, the SDK `ollama` 0.6.3.

Ollama cuts a conversation that is longer than the model's context without a word: the oldest messages first, then the
middle of the prompt, in a context of 4,096 tokens where the machine has less than 24 GB of video memory. `truncate` and
`shift` (in `api/types.go`, not in the documents) turn that off, and it answers "the prompt is longer than the context
length currently available"; so a request without `truncation: "auto"` fails instead of forgetting. The context itself
is the server's to set (`OLLAMA_CONTEXT_LENGTH`, or `num_ctx` in the Modelfile): another `num_ctx` in a request would
load the model anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from activities.providers.chat_messages import (
    Output,
    Piece,
    Turn,
    origin_of,
    read_conversation,
    rough_tokens,
    text_of,
    thinks,
)
from activities.providers.failures import as_object, decoded, details_in, failure, message_of, wait_of
from activities.providers.openai_chat import logprobs_of, object_schema
from activities.providers.said_in_words import format_in_words, verbosity_in_words
from activities.providers.upstream import ndjson_objects, open_stream
from open_responses import sealed_reasoning
from open_responses.config import ProviderConfig
from open_responses.contracts import Resume, SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningSeal,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import (
    ContextLengthExceeded,
    InvalidRequest,
    OpenResponsesError,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderUnavailable,
)
from open_responses.items import InputImage
from open_responses.json_types import JsonObject
from open_responses.requests import CreateResponse, JsonObjectFormat, JsonSchemaFormat
from open_responses.tools import AllowedTools, FunctionChoice

# A model that knows only on and off takes any level for on.
_THINK: Mapping[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_FINISH: Mapping[str, FinishReason] = {"length": "length"}
_NO_MEMORY = re.compile(r"requires more system memory|model is too large", re.IGNORECASE)


class Ollama:
    """Translates one turn to a chat, and its lines to deltas."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        """Ollama continues a trailing assistant message (ollama/ollama#6778). Not where a grammar holds, which would
        begin anew, nor in an answer that was thought about: the model would think, and answer, from the beginning."""
        return "none" if _wants_json(call.request) or thinks(call) else self._config.resume or "prefill"

    async def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        key = call.api_key or self._api_key
        body = request_body(call, self._config.name)
        reader = LineReader(self._config, body, key, own_key=call.api_key is not None)
        with _hint_to_start(self._config):
            async with open_stream(
                self._http,
                self._config,
                "/api/chat",
                body=body,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                read_error=reader.error,
            ) as response:
                async for line in ndjson_objects(response):
                    for delta in reader.read(line):
                        yield delta
                for delta in reader.finish():
                    yield delta


@contextmanager
def _hint_to_start(config: ProviderConfig) -> Iterator[None]:
    try:
        yield
    except ProviderUnavailable as error:
        if not isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
            raise
        hint = f"{error.message} at {config.base_url}. Is Ollama running? Start it with `ollama serve`."
        raise ProviderUnavailable(hint) from error.__cause__


# --- the request


def request_body(call: SampleCall, provider: str) -> JsonObject:
    """The upstream request. What the client did not set is not sent, but for what keeps the conversation whole."""
    asked = call.request
    offered = _offered(call)
    body: JsonObject = {"model": call.model, "messages": _messages(call, provider), "stream": True}
    if offered:
        body["tools"] = offered
    if asked.truncation != "auto":
        body |= {"truncate": False, "shift": False}
    effort = asked.reasoning.effort if asked.reasoning is not None else None
    if effort is not None:
        body["think"] = _THINK[effort]
    if asked.top_logprobs or "message.output_text.logprobs" in (asked.include or []):
        body["logprobs"] = True
    if asked.top_logprobs:
        body["top_logprobs"] = asked.top_logprobs
    options = _options(call)
    return body | _format(asked, with_tools=bool(offered)) | ({"options": options} if options else {})


def _options(call: SampleCall) -> JsonObject:
    asked = call.request
    options = {
        "num_predict": call.max_output_tokens,
        "temperature": asked.temperature,
        "top_p": asked.top_p,
        "top_k": asked.top_k,
        "seed": asked.seed,
        "stop": asked.stop,
        "presence_penalty": asked.presence_penalty,
        "frequency_penalty": asked.frequency_penalty,
    }
    return {name: value for name, value in options.items() if value is not None}


def _mode(call: SampleCall) -> str:
    """`none`, `auto`, `required`, or the name of a function behind a colon."""
    choice = call.tool_choice
    if isinstance(choice, FunctionChoice):
        return f":{choice.name}"
    return choice.mode if isinstance(choice, AllowedTools) else choice if isinstance(choice, str) else "auto"


def _offered(call: SampleCall) -> list[JsonObject]:
    """The tools; none where none may be called, since the API has no word for it."""
    if _mode(call) == "none":
        return []
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description or "",
                "parameters": object_schema(tool.parameters),
            },
        }
        for tool in call.tools
    ]


def _wants_json(asked: CreateResponse) -> bool:
    return asked.text is not None and isinstance(asked.text.format, JsonObjectFormat | JsonSchemaFormat)


def _format(asked: CreateResponse, *, with_tools: bool) -> JsonObject:
    """Not beside tools: the grammar would hold for the whole answer, and no call be possible."""
    wanted = asked.text.format if asked.text is not None else None
    if with_tools:
        return {}
    if isinstance(wanted, JsonSchemaFormat):
        return {"format": wanted.schema_}
    return {"format": "json"} if isinstance(wanted, JsonObjectFormat) else {}


def _messages(call: SampleCall, provider: str) -> list[JsonObject]:
    talk = read_conversation(call, provider)
    asked = call.request
    said = [format_in_words(asked)] if _offered(call) else []
    said += [verbosity_in_words(asked)]
    system = [text for text in (asked.instructions, *talk.system, *said) if text]
    messages: list[JsonObject] = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    for turn in talk.turns:
        _add_turn(messages, turn)
    ordered = _choice_in_words(call)
    if ordered:
        messages.insert(len(messages) - (1 if call.prefix else 0), {"role": "system", "content": ordered})
    return messages


def _choice_in_words(call: SampleCall) -> str | None:
    """The last message, and not the first: it holds for one turn, and the prefix before it stays the same."""
    mode = _mode(call)
    if not call.tools or mode in ("none", "auto"):
        return None
    return "Call one of the tools now." if mode == "required" else f"Call the tool {mode[1:]} now."


def _add_turn(messages: list[JsonObject], turn: Turn) -> None:
    if turn.role == "user":
        pieces = [piece for content in turn.contents for piece in content]
        _add_user(messages, turn.text, _images(pieces))
    elif turn.role == "system":
        messages.append({"role": "system", "content": turn.text})
    elif turn.text or turn.calls:
        _add_assistant(messages, turn)


def _add_assistant(messages: list[JsonObject], turn: Turn) -> None:
    message: JsonObject = {"role": "assistant", "content": turn.text}
    thinking = "\n\n".join(thought.text for thought in turn.thoughts if thought.text)
    if thinking:
        message["thinking"] = thinking
    if turn.calls:
        message["tool_calls"] = [
            {"id": call.call_id, "function": {"index": index, "name": call.name, "arguments": call.as_object}}
            for index, call in enumerate(turn.calls)
        ]
    messages.append(message)
    messages += [_tool_message(output) for output in turn.outputs]
    for output in turn.outputs:
        if output.attached:
            _add_user(messages, origin_of(output, output.call.call_id), _images(output.attached))


def _tool_message(output: Output) -> JsonObject:
    told = output.text if output.text or not output.attached else "The output is in the next user message."
    call = output.call
    return {"role": "tool", "tool_name": call.name, "tool_call_id": call.call_id, "content": told}


def _add_user(messages: list[JsonObject], text: str, images: list[str]) -> None:
    """Joins the user's message before it."""
    if messages and messages[-1]["role"] == "user":
        last = messages[-1]
        last["content"] = f"{last['content']}\n\n{text}"
        images = [*last.get("images", ()), *images]
    else:
        messages.append({"role": "user", "content": text})
    if images:
        messages[-1]["images"] = images


def _images(pieces: list[Piece]) -> list[str]:
    return [_image(piece) for piece in pieces if text_of(piece.part) is None]


def _image(piece: Piece) -> str:
    """Base64 alone, of a data URL."""
    part = piece.part
    url = part.image_url or "" if isinstance(part, InputImage) else ""
    head, _, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and data):
        raise InvalidRequest(
            f"The route's provider cannot take a content part of type {part.type!r} in this form: Ollama takes images "
            "as data URLs in base64.",
            param=piece.path,
            code="unsupported_content",
        )
    return data


# --- the answer


class LineReader:
    """Turns lines into deltas, remembers how the answer ended, and maps its errors."""

    def __init__(self, config: ProviderConfig, body: JsonObject, key: str | None, *, own_key: bool) -> None:
        self._config = config
        self._body = body
        self._key = key
        self._own_key = own_key
        self._last: JsonObject | None = None
        self._thought = False
        self._calls = 0
        self._characters = 0

    def read(self, line: JsonObject) -> list[Delta]:
        """The deltas of one line. Raises what an error in the middle of the stream stands for."""
        if "error" in line:
            given = line.get("status_code") or line.get("status")
            raise self._mapped(given if isinstance(given, int) and given >= 400 else 500, message_of(line["error"]))
        message = as_object(line.get("message"))
        deltas: list[Delta] = []
        if message.get("thinking"):
            self._thought = True
            deltas.append(ReasoningDelta(message["thinking"]))
            self._characters += len(message["thinking"])
        if message.get("content"):
            deltas += self._seal()
            deltas.append(
                TextDelta(message["content"], logprobs_of(line["logprobs"]) if line.get("logprobs") else None)
            )
            self._characters += len(message["content"])
        for call in message.get("tool_calls") or []:
            deltas += [*self._seal(), self._call(as_object(call))]
        if line.get("done"):
            self._last = line
        return deltas

    def finish(self) -> list[Delta]:
        """The last deltas. Raises ProviderStreamBroken for a stream that ended without its last line."""
        if self._last is None:
            raise ProviderStreamBroken(f"the stream of {self._config.name} ended in the middle of the answer")
        reason = _FINISH.get(self._last.get("done_reason") or "", "tool_calls" if self._calls else "stop")
        return [*self._seal(), Finish(reason, self._usage(self._last), self._last.get("model"))]

    def error(self, status: int, body: bytes, headers: Mapping[str, str]) -> OpenResponsesError:
        """The error that an answer with a status stands for."""
        return self._mapped(status, message_of(details_in(decoded(body))), wait_of(headers))

    def _mapped(self, status: int, message: str, retry_after: float | None = None) -> OpenResponsesError:
        if self._key:
            message = message.replace(self._key, "…")
        error = failure(self._config, status, message, retry_after=retry_after, own_key=self._own_key)
        if status == 404 and "not found" in message:
            hint = f"Pull it first: `ollama pull {self._body['model']}`."
            return ProviderRejected(f"{error.message}. {hint}", code="model_not_found")
        if isinstance(error, ContextLengthExceeded):
            return ContextLengthExceeded(f"{error.message}. The server's OLLAMA_CONTEXT_LENGTH sets the context.")
        if _NO_MEMORY.search(message):
            return ProviderRejected(error.message)
        return error

    def _seal(self) -> list[Delta]:
        """Nothing is kept but whose the reasoning is, so that no other provider gets it."""
        if not self._thought:
            return []
        self._thought = False
        return [ReasoningSeal(sealed_reasoning.mark(self._config.name, json.dumps({"field": "thinking"})))]

    def _call(self, call: JsonObject) -> ToolCallDelta:
        """A call comes whole. The index is ours: the server's is not in all versions."""
        function = as_object(call.get("function"))
        arguments: Any = function.get("arguments")
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        self._characters += len(text)
        self._calls += 1
        return ToolCallDelta(self._calls - 1, text, call.get("id") or None, function.get("name") or None)

    def _usage(self, last: JsonObject) -> Usage:
        """`prompt_eval_count` includes what came from the cache. Reasoning is not counted apart."""
        if "eval_count" not in last and "prompt_eval_count" not in last:
            return Usage(rough_tokens(self._body), max(1, self._characters // 4), estimated=True)
        cached = last.get("prompt_eval_cached_count") or 0
        return Usage(last.get("prompt_eval_count") or cached, last.get("eval_count") or 0, cached)
