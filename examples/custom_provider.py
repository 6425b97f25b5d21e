"""An adapter of your own, to copy: for "Parley", an API that nobody has, and that is like many.

Parley streams one JSON object a line. Asked with `POST /talk`

    {"model": "…", "rules": "…", "tools": [{"name": "…", "about": "…", "schema": {}}], "must_call": "any",
     "schema": {}, "limit": 100, "warmth": 0.5, "turns": [
       {"by": "user", "text": "…", "images": ["<base64>"]},
       {"by": "model", "text": "…"}, {"by": "model", "calls": [{"id": "…", "name": "…", "arguments": {}}]},
       {"by": "tool", "id": "…", "text": "…"}, {"by": "rules", "text": "…"}]}

it answers `{"say": "…"}` and `{"call": {"index": 0, "id": "…", "name": "…", "arguments": {}}}`, a line each, then
`{"end": "done", "read": 12, "cached": 4, "said": 7}`; or `{"error": {"status": 503, "message": "…"}}` in the middle.

An adapter translates and nothing else: it neither retries, nor stores, nor knows of events, ids and indexes. It lives
in a package of its own, which the worker can import; what it needs is `open_responses` and an HTTP client. Try it:

    python -m examples.custom_server 8099        # a stand-in for the API

    [[providers]]                                # in open_responses.toml
    name = "parley"
    adapter = "examples.custom_provider:Adapter"
    base_url = "http://127.0.0.1:8099"
    api_key_env = "PARLEY_KEY"                   # leave it out where there is no key
    [[routes]]
    model = "parley-*"
    provider = "parley"

`tests/providers/test_custom_provider.py` holds it to the contract of `open_responses.testing.provider_contract`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from open_responses.config import ProviderConfig
from open_responses.contracts import Resume, SampleCall
from open_responses.deltas import Delta, Finish, FinishReason, TextDelta, ToolCallDelta, Usage
from open_responses.errors import (
    InvalidRequest,
    OpenResponsesError,
    ProviderAuthentication,
    ProviderRateLimited,
    ProviderRejected,
    ProviderStreamBroken,
    ProviderTimeout,
    ProviderUnavailable,
)
from open_responses.json_types import JsonObject
from open_responses.schema.content import InputImage, InputText, OutputText, Refusal
from open_responses.schema.items import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    OpaqueItem,
    Reasoning,
    SystemMessage,
    UserMessage,
)
from open_responses.schema.text_settings import JsonObjectFormat, JsonSchemaFormat
from open_responses.schema.tool_choice import AllowedTools, FunctionChoice

_FINISH: Mapping[str, FinishReason] = {
    "done": "stop",
    "limit": "length",
    "calls": "tool_calls",
    "blocked": "content_filter",
}
# Settings that change the answer and that Parley has no word for. What is about cost alone is left out in silence.
_UNKNOWN = ("top_p", "top_k", "stop", "seed", "presence_penalty", "frequency_penalty", "top_logprobs")


class Adapter:
    """Made once a worker, and shared by all responses: it keeps nothing between two calls."""

    def __init__(self, config: ProviderConfig, http: httpx.AsyncClient, api_key: str | None) -> None:
        self._config = config
        self._http = http
        self._api_key = api_key

    def resume_of(self, call: SampleCall) -> Resume:
        """Parley goes on with a last turn of the model's; not with JSON, which it would begin anew."""
        return "none" if _schema(call) is not None else self._config.resume or "prefill"

    async def sample(self, call: SampleCall) -> AsyncGenerator[Delta, None]:
        """Yields deltas and one Finish. Raises the ProviderError family, and InvalidRequest."""
        body = request_body(call)  # first: what cannot be taken is refused before any call
        key = call.api_key or self._api_key  # the request's own goes first
        url = f"{self._config.base_url.rstrip('/')}/talk"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(self._config.timeout_seconds, connect=10)
        with self._failures():
            # Leaving this block closes the connection, also when the response is cancelled in the middle.
            async with self._http.stream("POST", url, json=body, headers=headers, timeout=timeout) as response:
                if response.status_code != 200:
                    raise self._error(response.status_code, await _message_in(response), key, response.headers)
                async for line in response.aiter_lines():
                    for delta in self._deltas(json.loads(line), key) if line.strip() else ():
                        yield delta
                        if isinstance(delta, Finish):
                            return
        raise ProviderStreamBroken(f"{self._config.name}'s stream ended in the middle of the answer")

    def _deltas(self, line: JsonObject, key: str | None) -> Iterator[Delta]:
        """What one line says. A delta may be as small as the API sends it."""
        if "error" in line:
            raise self._error(line["error"].get("status", 500), line["error"].get("message", ""), key, {})
        if line.get("say"):
            yield TextDelta(line["say"])
        if "call" in line:
            call = line["call"]  # whole; an API that sends it in pieces has the same `index` on each
            yield ToolCallDelta(call["index"], json.dumps(call["arguments"]), call["id"], call["name"])
        if "end" in line:
            yield Finish(_FINISH.get(line["end"], "stop"), _usage(line), line.get("model"))

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What the HTTP client raises, in our terms. The first three may pass: Temporal tries again."""
        name = self._config.name
        try:
            yield
        except httpx.ConnectError as error:
            raise ProviderUnavailable(f"{name} cannot be reached") from error
        except httpx.TimeoutException as error:
            raise ProviderTimeout(f"{name} was silent for {self._config.timeout_seconds:g} seconds") from error
        except httpx.TransportError as error:
            raise ProviderStreamBroken(f"the connection to {name} broke") from error
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ProviderStreamBroken(f"{name} sent what is not in its protocol") from error

    def _error(self, status: int, message: str, key: str | None, headers: Mapping[str, str]) -> OpenResponsesError:
        """A status's error, with the API's own message; never with the key in it."""
        said = f"{self._config.name} answered {status}: {message.replace(key, '…') if key else message}"
        if status in (401, 403):
            return ProviderAuthentication(said)
        if status == 404:
            return ProviderRejected(said, code="model_not_found")
        if status == 429:
            wait = headers.get("retry-after", "")
            return ProviderRateLimited(said, retry_after=float(wait) if wait.isdigit() else None)
        return ProviderUnavailable(said) if status >= 500 else ProviderRejected(said)


# --- the request


def request_body(call: SampleCall) -> JsonObject:
    """The upstream request. What the client did not set is not sent.

    `turns` come last and only ever grow, so that a cache of the API's can go by the beginning.
    """
    asked = call.request
    for name in _UNKNOWN:
        if getattr(asked, name):
            raise InvalidRequest(f"Parley has no {name!r}. Leave it out.", param=name, code="unsupported_parameter")
    settings = {
        "model": call.model,
        "rules": asked.instructions,
        "tools": _tools(call) or None,
        "must_call": _must_call(call),
        "schema": _schema(call),
        "limit": call.max_output_tokens,
        "warmth": asked.temperature,
    }
    turns = [turn for index, item in enumerate(call.items) if (turn := _turn(item, f"input[{index}]")) is not None]
    if call.prefix:
        turns.append({"by": "model", "text": call.prefix})
    return {**{name: value for name, value in settings.items() if value is not None}, "turns": turns}


def _mode(call: SampleCall) -> Any:
    """Which tools are allowed is enforced by the server: of `allowed_tools`, the mode alone goes to the model."""
    return call.tool_choice.mode if isinstance(call.tool_choice, AllowedTools) else call.tool_choice


def _tools(call: SampleCall) -> list[JsonObject]:
    if _mode(call) == "none":
        return []
    return [{"name": t.name, "about": t.description or "", "schema": t.parameters or {}} for t in call.tools]


def _must_call(call: SampleCall) -> str | None:
    choice = _mode(call)
    return choice.name if isinstance(choice, FunctionChoice) else "any" if choice == "required" else None


def _schema(call: SampleCall) -> JsonObject | None:
    """The server checks the answer against the schema in any case: this only helps the model."""
    wanted = call.request.text.format if call.request.text is not None else None
    if isinstance(wanted, JsonSchemaFormat):
        return wanted.schema_
    return {"type": "object"} if isinstance(wanted, JsonObjectFormat) else None


def _turn(item: InputItem, path: str) -> JsonObject | None:
    match item:
        case UserMessage():
            text, images = _content(item.content, f"{path}.content")
            return {"by": "user", "text": text, **({"images": images} if images else {})}
        case SystemMessage() | DeveloperMessage():
            return {"by": "rules", "text": _content(item.content, f"{path}.content")[0]}
        case AssistantMessage():
            return {"by": "model", "text": _content(item.content, f"{path}.content")[0]}
        case FunctionCall():
            return {"by": "model", "calls": [{"id": item.call_id, "name": item.name, "arguments": _arguments(item)}]}
        case FunctionCallOutput():
            text, images = _content(item.output, f"{path}.output")
            return {"by": "tool", "id": item.call_id, "text": text, **({"images": images} if images else {})}
        case Reasoning():
            return None  # Parley shows none, so this is another provider's
        case OpaqueItem() if item.is_record or item.type.startswith("open_responses:"):
            return None  # what another provider's built-in tool did: the answer that came of it stands beside it
    kind = getattr(item, "type", None)
    raise InvalidRequest(f"Parley cannot take an item of type {kind!r}.", param=path, code="unsupported_item")


def _content(content: Any, path: str) -> tuple[str, list[str]]:
    """(text, images in base64). What has no place is refused by its path, and never left out."""
    texts: list[str] = []
    images: list[str] = []
    for index, part in enumerate([InputText(type="input_text", text=content)] if isinstance(content, str) else content):
        match part:
            case InputText() | OutputText():
                texts.append(part.text)
            case Refusal():
                texts.append(part.refusal)
            case InputImage() if (part.image_url or "").startswith("data:image/"):
                images.append((part.image_url or "").partition(",")[2])
            case _:
                said = f"Parley cannot take a content part of type {part.type!r} in this form."
                raise InvalidRequest(said, param=f"{path}[{index}]", code="unsupported_content")
    return "".join(texts), images


def _arguments(call: FunctionCall) -> JsonObject:
    """An object, as Parley wants it; what the model wrote wrongly is shown to it again as it was."""
    try:
        read = json.loads(call.arguments or "{}")
    except ValueError:
        read = None
    return read if isinstance(read, dict) else {"not_an_object": call.arguments}


# --- the answer


def _usage(end: JsonObject) -> Usage:
    return Usage(input_tokens=end["read"], output_tokens=end["said"], cached_tokens=end.get("cached", 0))


async def _message_in(response: httpx.Response) -> str:
    text = (await response.aread()).decode(errors="replace")
    try:
        return str(json.loads(text)["error"]["message"])[:500]
    except (ValueError, KeyError, TypeError):
        return text[:500]
