"""A provider without a model: its answers come from a file."""

from activities.providers.scripted.adapter import Scripted

__all__ = ["Scripted"]
