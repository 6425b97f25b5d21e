"""`python -m benchmarks scaling`: what each part costs per live stream, per delta and per response, and what follows.

Two API processes, four workers, one Valkey and Temporal run the product at several numbers of live streams. A
three-node Valkey cluster then takes the appends of the event log alone. `docs/scaling.md` explains the figures.
"""

from __future__ import annotations

from benchmarks.scaling.run import main

__all__ = ["main"]
