"""LiteLLM's translation of the recorded streams, in a process and an environment of its own (`.venv-bench`).

Two ways of it: `acompletion`, whose chunks are LiteLLM's own of the Chat Completions API; and `aresponses`, whose
events are those of the Responses API, made from the chunks of the former where the vendor has no such API. Both end
with LiteLLM's objects: nothing is encoded, and the logging at a stream's end is off. Reads
`{"way": …, "vendor": …, "base_url": …}` a line, answers with seconds of CPU.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
import warnings
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.adapters.streams import CALL, TEXT, pieces

os.environ |= {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
import litellm

warnings.filterwarnings("ignore")
litellm.telemetry = False
litellm.suppress_debug_info = True
litellm.disable_streaming_logging = True

# `deepseek` is a Chat Completions server without a Responses API, so that the bridge is what runs.
_CHAT = {
    "openai": ("openai/responses/gpt-5.1", "/v1"),
    "openai-chat": ("deepseek/deepseek-chat", "/v1"),
    "anthropic": ("anthropic/claude-sonnet-4-5", "/v1/messages"),
    "gemini": ("gemini/gemini-2.5-flash", ""),
    "ollama": ("ollama_chat/qwen3", ""),
}
_RESPONSES = {**_CHAT, "openai": ("openai/gpt-5.1", "/v1")}
_TOOLS = [{"type": "function", "name": CALL, "parameters": {"type": "object", "properties": {}}}]
_CHAT_TOOLS = [{"type": "function", "function": {"name": CALL, "parameters": {"type": "object", "properties": {}}}}]


async def _completion(vendor: str, base_url: str) -> AsyncIterator[str]:
    """The pieces of the text."""
    model, path = _CHAT[vendor]
    stream = await litellm.acompletion(
        model=model,
        messages=[{"role": "user", "content": "How is the river?"}],
        tools=_CHAT_TOOLS,
        stream=True,
        api_base=base_url + path,
        api_key="none",
    )
    async for chunk in stream:
        for choice in chunk.choices:
            if choice.delta.content:
                yield choice.delta.content


async def _responses(vendor: str, base_url: str) -> AsyncIterator[str]:
    """The pieces of the text."""
    model, path = _RESPONSES[vendor]
    stream: Any = await litellm.aresponses(
        model=model,
        input="How is the river?",
        tools=_TOOLS,
        stream=True,
        api_base=base_url + path,
        api_key="none",
    )
    async for event in stream:
        if event.type == "response.output_text.delta":
            yield event.delta


_WAYS = {"acompletion": _completion, "aresponses": _responses}


async def _measured(way: str, vendor: str, base_url: str) -> float:
    gc.collect()
    began = time.process_time()
    said = "".join([piece async for piece in _WAYS[way](vendor, base_url)])
    seconds = time.process_time() - began
    if said.strip() != "".join(pieces(TEXT)).strip():
        raise ValueError(f"litellm's {way} of {vendor} lost some of the text: {len(said)} characters came")
    # What it leaves behind in tasks is neither counted here nor in the next one's figure.
    await asyncio.sleep(0.05)
    return seconds


async def _main() -> None:
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer: dict[str, Any] = {"seconds": await _measured(**asked)}
        except Exception as error:  # noqa: BLE001 - whatever LiteLLM raises is the parent's to show
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(_main())
