"""OpenAI's Chat Completions API, of any server."""

from activities.providers.openai_chat.adapter import OpenAIChat

__all__ = ["OpenAIChat"]
