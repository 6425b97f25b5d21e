"""The calls that the contract kit makes. Their texts are easy to find in a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from open_responses.contracts import SampleCall
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import FunctionTool

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CLOCK = {"type": "function", "name": "get_time"}
# Base64 that is valid, and easy to find again.
_PICTURE = "iVBORw0KGgoContractPicture00"
_DOCUMENT = "JVBERi0xLjQKContractDocument"
# What to look for in the request, and the part that brings it there.
PARTS: Sequence[tuple[str, dict[str, Any]]] = (
    ("https://example.com/contract.png", {"type": "input_image", "image_url": "https://example.com/contract.png"}),
    (_PICTURE, {"type": "input_image", "image_url": f"data:image/png;base64,{_PICTURE}"}),
    (_DOCUMENT, {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{_DOCUMENT}"}),
    ("https://example.com/contract.pdf", {"type": "input_file", "file_url": "https://example.com/contract.pdf"}),
    ("UklGRgContractSound0", {"type": "input_audio", "input_audio": {"data": "UklGRgContractSound0", "format": "wav"}}),
)


def call_of(items: Any = "Hello?", *, model: str = "model-1", **request: Any) -> SampleCall:
    """Return a call as the server makes it.

    Args:
        items: The `input` of the request.
        model: The model.
        **request: Further members of the request. `prefix`, `api_key` and `resume_token` are set on the call itself.
    """
    own = {name: request.pop(name) for name in ("prefix", "api_key", "resume_token") if name in request}
    asked = CreateResponse.model_validate({"model": model, "input": items, **request})
    return SampleCall(
        model=model,
        items=asked.input_items(),
        request=asked,
        tools=[tool for tool in asked.tools or [] if isinstance(tool, FunctionTool)],
        tool_choice=asked.tool_choice,
        max_output_tokens=asked.max_output_tokens,
        **own,
    )


def with_tools(model: str) -> SampleCall:
    """Return a call with two functions."""
    return call_of(model=model, tools=[WEATHER, CLOCK])


def user(text: str) -> list[dict[str, Any]]:
    """Return the input items of one user message."""
    return [{"type": "message", "role": "user", "content": text}]
