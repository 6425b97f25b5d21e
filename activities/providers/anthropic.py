"""Anthropic's Messages API, and the servers that speak it too (z.ai, llama.cpp, MiniMax …), by `base_url`.

What a model takes is told by its name (`Model`). A name that is not Claude's is taken for a compatible server's: it
gets the oldest common form (thinking by budget, no prefill, no structured outputs), and its thinking is raw, where
Claude's, from 4 on, is a summary.

Choices, where ours and Anthropic's settings do not meet:
- A forced tool call goes before thinking, which is left off for that turn; where the model can do neither, 400.
- `temperature`, `top_p` and `top_k` are 400 where the model takes none, or thinks; their neutral values are left out.
- `reasoning.effort` "none" is 400 on a model that always thinks.
- A model that binds its thoughts to the conversation before them drops those that no longer fit, instead of refusing
  the request: instructions and tools may change between two responses of a chain, and compaction cuts the context.
- API version 2023-06-01 and not 2026-10-21, which has no sampling settings at all.

Sources: platform.claude.com/docs (Messages, streaming, thinking, effort, structured outputs, preserved thinking,
errors, what's new in 4.6 to 5.5), the types of Anthropic's Python SDK 2.14, anthropics/skills (claude-api).
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from activities.providers.anthropic_messages import BLOCK_ID, native_schema, prompt_of, tools_of, with_breakpoints
from activities.providers.failures import as_object, code_of, decoded, details_in, failure, message_of, wait_of
from activities.providers.said_in_words import format_in_words, verbosity_in_words
from activities.providers.upstream import is_event_stream, open_stream, sse_objects
from open_responses import sealed_reasoning
from open_responses.config import ProviderConfig
from open_responses.contracts import Resume, SampleCall
from open_responses.deltas import (
    Delta,
    Finish,
    FinishReason,
    ProviderItem,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.errors import InvalidRequest, OpenResponsesError, ProviderStreamBroken
from open_responses.items import PROVIDER_ITEM_TYPES
from open_responses.json_types import JsonObject
from open_responses.requests import JsonSchemaFormat
from open_responses.tokens import count_tokens, item_tokens
from open_responses.tools import AllowedTools, FunctionChoice

API_VERSION = "2023-06-01"
_BINDING_BETA = "thinking-binding-controls-2026-08-01"
_INTERLEAVED_BETA = "interleaved-thinking-2025-05-14"
# The later tools need no header any more.
_TOOL_BETAS = {"code_execution_20250522": "code-execution-2025-05-22"}

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
}
# The statuses of the errors' types (docs, errors); in the middle of a stream there is no status.
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}

_NAME = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_OLD_NAME = re.compile(r"claude-(\d)(?:[-.](\d))?-(opus|sonnet|haiku)")
_MIN_BUDGET = 1024
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 48_000}
_OTHERS_MAX_TOKENS = 32_768


@dataclass(frozen=True, slots=True)
class Model:
    """What a model takes. `family` is None for one that is not Claude; `version` is (4, 6) for 4.6."""

    family: str | None
    version: tuple[int, int] = (0, 0)

    @classmethod
    def named(cls, name: str) -> Model:
        if found := _NAME.search(name):
            return cls(found[1], (int(found[2]), int(found[3] or 0)))
        if found := _OLD_NAME.search(name):
            return cls(found[3], (int(found[1]), int(found[2] or 0)))
        return cls("mythos", (4, 7)) if "claude-mythos-preview" in name else cls(None)

    @property
    def is_claude(self) -> bool:
        return self.family is not None

    @property
    def max_tokens(self) -> int:
        """The model's own limit on output, which the API demands to be told; a guess for others'."""
        if not self.is_claude:
            return _OTHERS_MAX_TOKENS
        if self.version >= (4, 6):
            return 128_000
        if self.version >= (3, 7):
            return 32_000 if self.family == "opus" and self.version < (4, 5) else 64_000
        return 8192 if self.version >= (3, 5) else 4096

    @property
    def is_adaptive(self) -> bool:
        """Thinks as much as it sees fit, by `effort`; models before think by a budget of tokens."""
        return self.version >= (4, 6)

    @property
    def has_budget(self) -> bool:
        return not self.is_claude or (3, 7) <= self.version < (4, 6)

    @property
    def thinks_unasked(self) -> bool:
        return self.always_thinks or self.version >= (5, 0)

    @property
    def always_thinks(self) -> bool:
        return self.family in ("fable", "mythos") or (self.family == "opus" and self.version >= (5, 5))

    @property
    def can_be_forced(self) -> bool:
        """`tool_choice` any and tool: refused by Fable and Mythos from 5.1, Opus and Sonnet from 5.5."""
        return self.version < (5, 1) or self.family == "haiku"

    @property
    def off_switch(self) -> str:
        return "between_tools" if self.family == "sonnet" and self.version >= (5, 5) else "disabled"

    @property
    def binds_thoughts(self) -> bool:
        """Fable and Mythos from 5.1, all others from 5.5: there is no other model between."""
        return self.version >= (5, 1)

    @property
    def takes_sampling(self) -> bool:
        return not self.is_claude or self.version < (4, 7)

    @property
    def has_structured_outputs(self) -> bool:
        """Also of strict tools."""
        return self.version >= (4, 5)

    @property
    def has_prefill(self) -> bool:
        return self.is_claude and self.version < (4, 6)

    @property
    def has_system_role(self) -> bool:
        """In the middle of the conversation: Opus from 4.8, Fable and Mythos from 5, Sonnet and Haiku from 5.5."""
        since = {"opus": (4, 8), "fable": (5, 0), "mythos": (5, 0), "sonnet": (5, 5), "haiku": (5, 5)}
        return self.family is not None and self.version >= since[self.family]

    @property
    def summarizes(self) -> bool:
        """Whether what it shows of its thinking is a summary, and not the thinking itself."""
        return self.version >= (4, 0)

    def effort(self, asked: str) -> str:
        """The nearest level that is not above: `xhigh` came with 4.7."""
        if asked == "minimal":
            return "low"
        return "high" if asked == "xhigh" and self.version < (4, 7) else asked


class Anthropic:
    """Translates one turn to a message and its events to deltas."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        """A prefill, where nothing stands against one: the model, thinking, a forced tool, a native format."""
        if self._config.resume is not None:
            return self._config.resume
        model = Model.named(call.model)
        asked = call.request.reasoning
        thinks = asked is not None and asked.effort not in (None, "none")
        free = not thinks and not _is_forced(call) and _native_format(call, model) is None
        return "prefill" if model.has_prefill and free else "none"

    async def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        body, betas = request_body(call, self._config.name, prefill=self.resume_of(call) == "prefill")
        reader = StreamReader(self._config, call)

        def read_error(status: int, answer: bytes, headers: Mapping[str, str]) -> OpenResponsesError:
            return _error(self._config, status, details_in(decoded(answer)), call, wait_of(headers))

        async with open_stream(
            self._http,
            self._config,
            "/v1/messages",
            body=body,
            headers=_headers(call.api_key or self._api_key, betas),
            read_error=read_error,
        ) as response:
            async for event in _events(response):
                for delta in reader.read(event):
                    yield delta
            for delta in reader.end():
                yield delta


def _headers(key: str | None, betas: list[str]) -> dict[str, str]:
    headers = {"anthropic-version": API_VERSION}
    if key:
        headers["x-api-key"] = key
    return headers | ({"anthropic-beta": ",".join(betas)} if betas else {})


def _error(
    config: ProviderConfig, status: int, details: Any, call: SampleCall, retry_after: float | None = None
) -> OpenResponsesError:
    return failure(
        config,
        status,
        message_of(details),
        code=code_of(details),
        retry_after=retry_after,
        own_key=call.api_key is not None,
    )


# --- the request


def request_body(call: SampleCall, provider: str, *, prefill: bool = False) -> tuple[JsonObject, list[str]]:
    """The upstream request and the betas that it needs. What the client did not set is not sent.

    `messages` come last, so that each turn's body begins as the one before ended.
    """
    model = Model.named(call.model)
    native = _native_format(call, model)
    system, messages = prompt_of(
        call.items,
        provider=provider,
        instructions=call.request.instructions,
        words=[None if native else format_in_words(call.request), verbosity_in_words(call.request)],
        has_system_role=model.has_system_role,
        prefix=call.prefix.rstrip() if call.prefix and prefill else None,
    )
    tools = tools_of(call.tools, call.provider_tools, takes_strict=model.has_structured_outputs)
    limit = model.max_tokens
    max_tokens = limit if call.max_output_tokens is None else call.max_output_tokens
    max_tokens = min(max_tokens, limit) if model.is_claude else max_tokens
    thinking, effort = _thinking(call, model, max_tokens, messages)
    config = ({"effort": effort} if effort else {}) | ({"format": native} if native else {})
    tools, system, messages = with_breakpoints(tools, system, messages)
    body: JsonObject = {
        "model": call.model,
        "max_tokens": max_tokens,
        "stream": True,
        **({"thinking": thinking} if thinking else {}),
        **({"output_config": config} if config else {}),
        **_sampling(call, model, thinks=bool(thinking) and thinking["type"] in ("adaptive", "enabled")),
        **_about(call),
        **({"tools": tools} if tools else {}),
        **_tool_choice(call, model, has_tools=bool(tools)),
        **({"system": system} if system else {}),
        "messages": messages,
    }
    return body, _betas(call, model, thinking)


def _betas(call: SampleCall, model: Model, thinking: JsonObject) -> list[str]:
    betas = [beta for tool in call.provider_tools if (beta := _TOOL_BETAS.get(tool["type"]))]
    if "block_binding" in thinking:
        betas.append(_BINDING_BETA)
    if thinking.get("type") == "enabled" and model.version >= (4, 0) and call.tools:
        # Else it would think before the first call alone, and not about what the tools gave.
        betas.append(_INTERLEAVED_BETA)
    return betas


def _about(call: SampleCall) -> JsonObject:
    asked = call.request
    about: JsonObject = {}
    if asked.stop:
        about["stop_sequences"] = asked.stop
    if asked.safety_identifier:
        about["metadata"] = {"user_id": asked.safety_identifier}
    # `flex` is OpenAI's own: cheaper and slower, and a matter of cost alone.
    tier = {"auto": "auto", "priority": "auto", "default": "standard_only"}.get(asked.service_tier or "")
    return about | ({"service_tier": tier} if tier else {})


def _sampling(call: SampleCall, model: Model, *, thinks: bool) -> JsonObject:
    asked = call.request
    given = {"temperature": asked.temperature, "top_p": asked.top_p, "top_k": asked.top_k}
    settings = {name: value for name, value in given.items() if value is not None}
    if not model.is_claude:
        return settings
    settings = {name: value for name, value in settings.items() if name == "top_k" or value != 1}
    if settings.get("temperature", 0) > 1:
        raise InvalidRequest(f"{call.model} takes temperatures from 0 to 1.", param="temperature", code="invalid_value")
    for name, value in settings.items():
        if not model.takes_sampling:
            raise _refused(f"{call.model} has no {name!r}; leave it out.", name)
        if thinks and not (name == "top_p" and value >= 0.95):
            raise _refused(f"{call.model} takes no such {name!r} while it reasons; leave one of the two out.", name)
    return settings


def _refused(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="unsupported_parameter")


def _is_forced(call: SampleCall) -> bool:
    choice = call.tool_choice.mode if isinstance(call.tool_choice, AllowedTools) else call.tool_choice
    return choice == "required" or isinstance(choice, FunctionChoice)


def _tool_choice(call: SampleCall, model: Model, *, has_tools: bool) -> JsonObject:
    """The set of `allowed_tools` is enforced by the server: of it, the mode alone goes to the model."""
    if not has_tools:
        return {}
    if _is_forced(call) and not model.can_be_forced:
        message = f"{call.model} cannot be forced to call a tool: choose 'auto', and ask for the call in words."
        raise _refused(message, "tool_choice")
    choice = call.tool_choice.mode if isinstance(call.tool_choice, AllowedTools) else call.tool_choice
    alone = {"disable_parallel_tool_use": True} if call.request.parallel_tool_calls is False else {}
    if choice == "none":
        return {"tool_choice": {"type": "none"}}
    if isinstance(choice, FunctionChoice):
        return {"tool_choice": {"type": "tool", "name": choice.name, **alone}}
    if choice == "required":
        return {"tool_choice": {"type": "any", **alone}}
    return {"tool_choice": {"type": "auto", **alone}} if choice is not None or alone else {}


def _native_format(call: SampleCall, model: Model) -> JsonObject | None:
    """`output_config.format`, where the model has it and the schema can be told so; else it is said in words."""
    wanted = call.request.text.format if call.request.text is not None else None
    if not isinstance(wanted, JsonSchemaFormat) or not model.has_structured_outputs:
        return None
    about = {"description": wanted.description} if wanted.description else {}
    schema = native_schema({**about, **wanted.schema_})
    return {"type": "json_schema", "schema": schema} if schema is not None else None


def _thinking(
    call: SampleCall, model: Model, max_tokens: int, messages: list[JsonObject]
) -> tuple[JsonObject, str | None]:
    """(`thinking`, `output_config.effort`); empty and None where the model's own default is meant."""
    asked = call.request.reasoning
    effort = asked.effort if asked is not None else None
    if model.is_adaptive:
        return _adaptive(call, model, effort, shows=asked is not None and asked.summary is not None)
    if effort == "none":
        return ({} if model.is_claude else {"type": "disabled"}), None
    if effort is None or not model.has_budget:
        return {}, None
    if model.is_claude and (_is_forced(call) or _lacks_thought(messages)):
        return {}, None
    budget = min(_BUDGETS[effort], max_tokens * 3 // 4)
    return ({"type": "enabled", "budget_tokens": budget} if budget >= _MIN_BUDGET else {}), None


def _adaptive(call: SampleCall, model: Model, effort: str | None, *, shows: bool) -> tuple[JsonObject, str | None]:
    level = model.effort(effort) if effort not in (None, "none") else None
    if effort == "none" and model.always_thinks:
        raise _refused(f"{call.model} always reasons; its lowest effort is 'low'.", "reasoning.effort")
    if effort == "none" or (_is_forced(call) and not model.always_thinks):
        # What does not think has no effort above `high`.
        level = "high" if level in ("xhigh", "max") else level
        return ({"type": model.off_switch} if model.thinks_unasked else {}), level
    if level is None and not (model.thinks_unasked and (shows or model.binds_thoughts)):
        return {}, None
    thinking: JsonObject = {"type": "adaptive"}
    if shows:
        thinking["display"] = "summarized"
    if model.binds_thoughts:
        thinking["block_binding"] = {"prefix_mismatch_behavior": "drop_block"}
    return thinking, level


def _lacks_thought(messages: list[JsonObject]) -> bool:
    """Whether a loop of tools is under way that began without a thought of this provider's.

    With a budget, the API wants the turn of a call to begin with one: a loop that another provider began goes on
    without thinking.
    """
    asked = [index for index, message in enumerate(messages) if _is_asking(message)]
    turn = [message for message in messages[asked[-1] + 1 if asked else 0 :] if message["role"] == "assistant"]
    return bool(turn) and turn[0]["content"][0]["type"] not in ("thinking", "redacted_thinking")


def _is_asking(message: JsonObject) -> bool:
    return message["role"] == "user" and any(block["type"] != "tool_result" for block in message["content"])


# --- the answer


async def _events(response: httpx.Response) -> AsyncGenerator[JsonObject, None]:
    """The stream's events; a server that does not stream sends its whole message, which is read as one."""
    if is_event_stream(response):
        async for _, event in sse_objects(response):
            yield event
        return
    for event in _events_of(json.loads(await response.aread())):
        yield event


def _events_of(message: Any) -> Iterator[JsonObject]:
    if not isinstance(message, dict) or "content" not in message:
        yield {"type": "error", "error": details_in(message)}
        return
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(message["content"]):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": message}
    yield {"type": "message_stop"}


@dataclass(slots=True)
class _Block:
    """A content block that is still open. `pieces` are of its thinking or its input's JSON."""

    index: int
    kind: str
    start: JsonObject
    pieces: list[str] = field(default_factory=list)
    signature: str = ""
    citations: list[JsonObject] = field(default_factory=list)
    begins_at: int = 0


class StreamReader:
    """Turns events into deltas, and remembers how the stream ended."""

    def __init__(self, config: ProviderConfig, call: SampleCall) -> None:
        self._config = config
        self._call = call
        self._summarizes = Model.named(call.model).summarizes
        self._blocks: dict[int, _Block] = {}
        self._usage: JsonObject = {}
        self._reason: FinishReason | None = None
        self._is_over = False
        self._refusal = ""
        self._model: str | None = None
        self._said: list[str] = []
        # Of the message that is open: where citations point to.
        prefix = call.prefix or ""
        self._length = len(prefix)
        self._repeated = prefix[len(prefix.rstrip()) :]

    def read(self, event: JsonObject) -> list[Delta]:
        """The deltas of one event. Raises what an `error` in the middle of the stream stands for."""
        match event.get("type"):
            case "message_start":
                message = as_object(event.get("message"))
                self._model = message.get("model") or self._model
                self._count(message)
            case "content_block_start":
                return self._start(event.get("index", 0), as_object(event.get("content_block")))
            case "content_block_delta":
                block = self._blocks.get(event.get("index", 0))
                return self._more(block, as_object(event.get("delta"))) if block is not None else []
            case "content_block_stop":
                block = self._blocks.pop(event.get("index", 0), None)
                return self._stop(block) if block is not None else []
            case "message_delta":
                self._count(event)
                self._end_of(as_object(event.get("delta")))
            case "message_stop":
                self._is_over = True
            case "error":
                details = event.get("error")
                raise _error(self._config, _STATUS.get(code_of(details), 500), details, self._call)
        return []

    def end(self) -> list[Delta]:
        """The last deltas. Raises ProviderStreamBroken for a stream that ended without saying so, and why."""
        if not self._is_over or self._reason is None:
            raise ProviderStreamBroken(f"{self._config.name}'s stream ended in the middle of the answer")
        refusal: list[Delta] = [RefusalDelta(self._refusal)] if self._refusal else []
        return [*refusal, Finish(self._reason, self._total(), self._model)]

    def _end_of(self, delta: JsonObject) -> None:
        if delta.get("stop_reason"):
            self._reason = _FINISH.get(delta["stop_reason"], "stop")
        if self._reason == "content_filter":
            self._refusal = as_object(delta.get("stop_details")).get("explanation") or ""

    def _start(self, index: int, start: JsonObject) -> list[Delta]:
        block = self._blocks[index] = _Block(index, start.get("type", ""), start, begins_at=self._length)
        match block.kind:
            case "text":
                block.citations += start.get("citations") or []
                return self._text(block, start.get("text") or "")
            case "thinking":
                block.signature = start.get("signature") or ""
                return self._thought(block, start.get("thinking") or "")
            case "tool_use":
                self._length = 0
                return [ToolCallDelta(index, call_id=start.get("id"), name=start.get("name"))]
        return []

    def _more(self, block: _Block, delta: JsonObject) -> list[Delta]:
        match delta.get("type"):
            case "text_delta":
                return self._text(block, delta.get("text") or "")
            case "thinking_delta":
                return self._thought(block, delta.get("thinking") or "")
            case "signature_delta":
                block.signature += delta.get("signature") or ""
            case "citations_delta":
                block.citations.append(as_object(delta.get("citation")))
            case "input_json_delta":
                return self._input(block, delta.get("partial_json") or "")
        return []

    def _text(self, block: _Block, text: str) -> list[Delta]:
        """Without the blanks that the prefix ended in, which the API does not take and the model says again."""
        while self._repeated and text:
            if text[0] != self._repeated[0]:
                self._repeated = ""
                break
            text, self._repeated = text[1:], self._repeated[1:]
        if not text:
            return []
        self._said.append(text)
        self._length += len(text)
        return [TextDelta(text)]

    def _thought(self, block: _Block, text: str) -> list[Delta]:
        if not text:
            return []
        block.pieces.append(text)
        self._said.append(text)
        self._length = 0
        return [ReasoningSummaryDelta(text) if self._summarizes else ReasoningDelta(text)]

    def _input(self, block: _Block, piece: str) -> list[Delta]:
        if not piece:
            return []
        block.pieces.append(piece)
        self._said.append(piece)
        return [ToolCallDelta(block.index, arguments=piece)] if block.kind == "tool_use" else []

    def _stop(self, block: _Block) -> list[Delta]:
        match block.kind:
            case "text":
                return [
                    TextAnnotation(cited) for citation in block.citations if (cited := self._cited(block, citation))
                ]
            case "tool_use" if not block.pieces:
                whole = json.dumps(block.start.get("input") or {}, ensure_ascii=False)
                return [ToolCallDelta(block.index, arguments=whole)]
            case "thinking":
                return self._seal({"type": "thinking", "thinking": "".join(block.pieces), "signature": block.signature})
            case "redacted_thinking":
                return self._seal({"type": "redacted_thinking", "data": block.start.get("data") or ""})
            case kind if kind in PROVIDER_ITEM_TYPES["anthropic"]:
                self._length = 0
                return [ProviderItem(_provider_item(block))]
        return []

    def _seal(self, block: JsonObject) -> list[Delta]:
        self._length = 0
        content = json.dumps(block, ensure_ascii=False, separators=(",", ":"))
        return [ReasoningSeal(sealed_reasoning.mark(self._config.name, content))]

    def _cited(self, block: _Block, citation: JsonObject) -> JsonObject | None:
        """A citation of a page of the web; those of documents have no address."""
        url = citation.get("url") or citation.get("source") or ""
        if not url.startswith(("http://", "https://")):
            return None
        return {
            "type": "url_citation",
            "url": url,
            "title": citation.get("title") or "",
            "start_index": block.begins_at,
            "end_index": self._length,
        }

    def _count(self, event: JsonObject) -> None:
        """Counts are cumulative, and some servers tell the input at the start, others at the end: the highest holds."""
        given = as_object(event.get("usage"))
        for name, value in {**given, **as_object(given.get("output_tokens_details"))}.items():
            if isinstance(value, int):
                self._usage[name] = max(value, self._usage.get(name, 0))

    def _total(self) -> Usage:
        counted = self._usage
        if not counted.get("output_tokens") and not counted.get("input_tokens"):
            items = sum(map(item_tokens, self._call.items))
            return Usage(input_tokens=items, output_tokens=count_tokens("".join(self._said)), estimated=True)
        cached, written = counted.get("cache_read_input_tokens", 0), counted.get("cache_creation_input_tokens", 0)
        return Usage(
            input_tokens=counted.get("input_tokens", 0) + cached + written,
            output_tokens=counted.get("output_tokens", 0),
            cached_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=counted.get("thinking_tokens", 0),
        )


def _provider_item(block: _Block) -> JsonObject:
    """The block with its own members; its `id` under another name."""
    item = {key: value for key, value in block.start.items() if key != "id"}
    if "id" in block.start:
        item[BLOCK_ID] = block.start["id"]
    if block.pieces:
        item["input"] = json.loads("".join(block.pieces))
    return item
