"""The differences between servers of the Chat Completions API, by host.

Sources: OpenAI's API reference; mistralai's SDK 3.7 (`random_seed`, `any`) and Mistral's refusal of `stream_options`
(openai/openai-agents-python#442); api-docs.deepseek.com/guides/thinking_mode; docs.vllm.ai
features/reasoning_outputs (`reasoning`, once `reasoning_content`); groq's SDK 1.7 (`reasoning`; `reasoning_content` is
refused); openrouter.ai/docs reasoning-tokens; templates of Qwen and Gemma ("System message must be at the beginning").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from open_responses.contracts import Resume
from open_responses.json_types import JsonObject
from open_responses.models.openai_hosts import OPENAI_HOSTS


def _plain_effort(effort: str) -> JsonObject:
    return {"reasoning_effort": effort}


def _groq_effort(effort: str) -> JsonObject:
    return {"reasoning_effort": {"minimal": "low", "xhigh": "high", "max": "high"}.get(effort, effort)}


def _deepseek_effort(effort: str) -> JsonObject:
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled"}, "reasoning_effort": effort}


def _zai_effort(effort: str) -> JsonObject:
    return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}


def _openrouter_effort(effort: str) -> JsonObject:
    return {"reasoning": {"effort": "xhigh" if effort == "max" else effort}}


@dataclass(frozen=True, slots=True)
class Dialect:
    """The differences of one server from the others.

    `limit`, `seed` and `required` are its words for these; `extras` those of OpenAI's own settings that it knows.
    `reasoning` is the field for reasoning whose origin is not known (None: it takes none back), `always_reasons` that
    it misses it where there is none. `mistral` stands for that API's own content parts, ids and order.
    """

    limit: str = "max_tokens"
    seed: str = "seed"
    required: str = "required"
    top_k: bool = True
    stream_usage: bool = True
    json_schema: bool = True
    extras: frozenset[str] = frozenset()
    effort: Callable[[str], JsonObject] = _plain_effort
    system_anywhere: bool = False
    reasoning: Literal["reasoning_content", "reasoning", "content"] | None = "reasoning_content"
    always_reasons: bool = False
    mistral: bool = False
    resume: Resume = "prefill"


_OPENAI = Dialect(
    limit="max_completion_tokens",
    top_k=False,
    extras=frozenset(
        {
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "user",
            "verbosity",
        }
    ),
    system_anywhere=True,
    reasoning=None,
    resume="none",
)
_MISTRAL = Dialect(
    seed="random_seed",
    required="any",
    top_k=False,
    stream_usage=False,
    reasoning="content",
    mistral=True,
    resume="none",
)
_DEEPSEEK = Dialect(
    top_k=False,
    json_schema=False,
    effort=_deepseek_effort,
    system_anywhere=True,
    always_reasons=True,
    resume="none",
)
_ZAI = Dialect(top_k=False, json_schema=False, effort=_zai_effort, system_anywhere=True, resume="none")
_MOONSHOT = Dialect(top_k=False, system_anywhere=True, resume="none")

# By the end of the host's name. Whether a trailing assistant message is continued is documented of Groq alone (and of
# llama.cpp, LM Studio and their like, which have no host of their own); Mistral and DeepSeek want a flag for it, and
# Mistral repeats the text.
_BY_HOST: Mapping[str, Dialect] = {
    **dict.fromkeys(OPENAI_HOSTS, _OPENAI),
    "api.mistral.ai": _MISTRAL,
    "api.deepseek.com": _DEEPSEEK,
    "api.z.ai": _ZAI,
    "open.bigmodel.cn": _ZAI,
    "api.moonshot.ai": _MOONSHOT,
    "api.moonshot.cn": _MOONSHOT,
    "api.groq.com": Dialect(top_k=False, effort=_groq_effort, reasoning="reasoning"),
    "openrouter.ai": Dialect(effort=_openrouter_effort, system_anywhere=True, reasoning="reasoning", resume="none"),
    "api.x.ai": Dialect(top_k=False, system_anywhere=True, resume="none"),
    "api.together.xyz": Dialect(reasoning="reasoning", resume="none"),
    "api.together.ai": Dialect(reasoning="reasoning", resume="none"),
}
_ANY = Dialect()


def dialect_of(base_url: str) -> Dialect:
    """Return the server's dialect by its host. An unknown host gets the dialect of a plain server."""
    host = urlsplit(base_url).hostname or ""
    return next((d for name, d in _BY_HOST.items() if host == name or host.endswith(f".{name}")), _ANY)
