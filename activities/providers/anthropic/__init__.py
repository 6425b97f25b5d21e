"""Anthropic's Messages API."""

from activities.providers.anthropic.adapter import Anthropic

__all__ = ["Anthropic"]
