"""The hosts of OpenAI's own API, by the address of a provider."""

from __future__ import annotations

from urllib.parse import urlsplit

OPENAI_HOSTS = (
    "api.openai.com",
    "openai.azure.com",
    "services.ai.azure.com",
    "cognitiveservices.azure.com",
)


def is_openai(base_url: str) -> bool:
    """Return whether a provider's address is that of OpenAI or of Azure, which accept OpenAI's own settings."""
    host = urlsplit(base_url).hostname or ""
    return any(host == name or host.endswith(f".{name}") for name in OPENAI_HOSTS)
