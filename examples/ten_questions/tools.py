"""The hosted tools of the example."""

from __future__ import annotations

from open_responses.contracts import ToolError


async def get_weather(city: str) -> dict[str, object]:
    """The weather of a city."""
    return {"city": city, "celsius": 12, "sky": "clear", "wind": "north-west, 4 m/s", "source": "station 0417"}


async def wire_money(to: str, euros: float) -> str:
    """Wire money."""
    return f"wired {euros} euros to {to}"


async def lookup_invoice(number: str) -> str:
    """Look up an invoice."""
    raise ToolError(f"There is no invoice {number} in the ledger of 2026.")
