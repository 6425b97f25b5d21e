"""Makes the adapters of the configuration's `[[providers]]` tables, by name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import httpx

from open_responses.config import Config, ProviderConfig
from open_responses.contracts import Provider

_BUILT_IN = {
    "anthropic": "activities.providers.anthropic:Anthropic",
    "gemini": "activities.providers.gemini:Gemini",
    "ollama": "activities.providers.ollama:Ollama",
    "openai": "activities.providers.openai:OpenAIResponses",
    "openai-chat": "activities.providers.openai_chat:OpenAIChat",
    "scripted": "activities.providers.scripted:Scripted",
}


def build_providers(config: Config, http: httpx.AsyncClient, environ: Mapping[str, str]) -> dict[str, Provider]:
    """Make the adapters. Raises ValueError, with the name of the provider, for an adapter that cannot be imported or
    created."""
    return {provider.name: _build(provider, http, environ) for provider in config.providers}


def _build(config: ProviderConfig, http: httpx.AsyncClient, environ: Mapping[str, str]) -> Provider:
    key = environ.get(config.api_key_env) if config.api_key_env else None
    module, _, name = _BUILT_IN.get(config.adapter, config.adapter).partition(":")
    try:
        adapter: Provider = getattr(importlib.import_module(module), name)(config, http, key or None)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"provider {config.name!r}: adapter {config.adapter!r} cannot be used ({error}): correct it"
        ) from error
    return adapter
