"""OpenAI's Responses API."""

from activities.providers.openai.adapter import OpenAIResponses

__all__ = ["OpenAIResponses"]
