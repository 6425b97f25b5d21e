"""Ollama's own API."""

from activities.providers.ollama.adapter import Ollama

__all__ = ["Ollama"]
