"""A turn as the body of Ollama's `POST /api/chat`.

Ollama cuts a conversation that is longer than the model's context without a word: the oldest messages first, then the
middle of the prompt, in a context of 4,096 tokens where the machine has less than 24 GB of video memory. `truncate` and
`shift` (in `api/types.go`, not in the documents) turn that off, and it answers "the prompt is longer than the context
length currently available"; so a request without `truncation: "auto"` fails instead of forgetting. The context itself
is the server's to set (`OLLAMA_CONTEXT_LENGTH`, or `num_ctx` in the Modelfile): another `num_ctx` in a request would
load the model anew.

Sources: docs.ollama.com (openapi.yaml; capabilities/thinking, tool-calling), `api/types.go` of Ollama 0.33.
"""

from __future__ import annotations

from collections.abc import Mapping

from activities.providers.ollama.conversation import chat_messages
from activities.providers.shared.logprobs import wants_logprobs
from activities.providers.shared.object_schema import object_schema
from activities.providers.shared.text_formats import json_format
from activities.providers.shared.tool_choices import plain_choice
from open_responses.contracts import SampleCall
from open_responses.json_types import JsonObject
from open_responses.schema.requests import CreateResponse
from open_responses.schema.text_settings import JsonObjectFormat, JsonSchemaFormat

# A model with only on and off treats any level as on.
_THINK: Mapping[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def request_body(call: SampleCall, provider: str) -> JsonObject:
    """Return the upstream request. It has only the settings of the client, and those that keep Ollama from cutting the
    conversation."""
    asked = call.request
    offered = _offered(call)
    messages = chat_messages(call, provider, offers_tools=bool(offered))
    body: JsonObject = {"model": call.model, "messages": messages, "stream": True}
    if offered:
        body["tools"] = offered
    if asked.truncation != "auto":
        body |= {"truncate": False, "shift": False}
    effort = asked.reasoning.effort if asked.reasoning is not None else None
    if effort is not None:
        body["think"] = _THINK[effort]
    if wants_logprobs(asked):
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


def _offered(call: SampleCall) -> list[JsonObject]:
    """Return the tools. The API has no tool choice, so for `none` no tool is sent."""
    if plain_choice(call) == "none":
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


def _format(asked: CreateResponse, *, with_tools: bool) -> JsonObject:
    """Return the format, unless there are tools: the grammar would apply to the whole answer, and no call would be
    possible."""
    wanted = json_format(asked)
    if with_tools:
        return {}
    if isinstance(wanted, JsonSchemaFormat):
        return {"format": wanted.schema_}
    return {"format": "json"} if isinstance(wanted, JsonObjectFormat) else {}
