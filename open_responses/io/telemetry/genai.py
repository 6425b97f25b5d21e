"""Attributes of spans by OpenTelemetry's semantic conventions for generative AI.

https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

from collections.abc import Mapping

from open_responses.io.telemetry.spans import AttributeValue
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage

Attributes = dict[str, AttributeValue | None]

# The conventions' names of the providers that an adapter translates to. An OpenAI-compatible server is its own.
_PROVIDERS: Mapping[str, str] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "gemini": "gcp.gemini",
    "ollama": "ollama",
}


def provider_name(adapter: str, configured: str) -> str:
    """The value of `gen_ai.provider.name`; the name in the configuration where the conventions have none."""
    return _PROVIDERS.get(adapter, configured)


def request_attributes(start: StartResponse) -> Attributes:
    """The settings of a request, without its content."""
    request = start.request
    return {
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.top_p": request.top_p,
        "gen_ai.request.max_tokens": request.max_output_tokens,
        "gen_ai.conversation.id": request.conversation_id,
        "open_responses.tenant": start.tenant,
    }


def usage_attributes(usage: TurnUsage) -> Attributes:
    """Tokens and cost. Empty if no provider has reported any."""
    if not usage.total:
        return {}
    return {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
        # No convention has the cost; this is the name that Langfuse and others read.
        "gen_ai.usage.cost": usage.cost_usd,
    }


def usage_beside(total: TurnUsage, earlier: TurnUsage) -> TurnUsage:
    """The tokens of one attempt, from the running total of its turn."""
    has_cost = total.cost_usd is not None
    return TurnUsage(
        input_tokens=max(0, total.input_tokens - earlier.input_tokens),
        output_tokens=max(0, total.output_tokens - earlier.output_tokens),
        cached_tokens=max(0, total.cached_tokens - earlier.cached_tokens),
        cache_write_tokens=max(0, total.cache_write_tokens - earlier.cache_write_tokens),
        reasoning_tokens=max(0, total.reasoning_tokens - earlier.reasoning_tokens),
        cost_usd=max(0.0, (total.cost_usd or 0.0) - (earlier.cost_usd or 0.0)) if has_cost else None,
    )
