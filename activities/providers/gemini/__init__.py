"""Google's Gemini API."""

from activities.providers.gemini.adapter import Gemini

__all__ = ["Gemini"]
