"""The hosted tool of `examples/research_agent.py`: a notebook."""

from __future__ import annotations

import json
import os
from pathlib import Path

from open_responses.contracts import ToolContext


async def take_note(document: str, note: str, context: ToolContext) -> dict[str, str]:
    """Writes a note into the notebook.

    A crash may run this again, so each line carries the idempotency key, and one that is there is not written twice.
    """
    notebook = Path(os.environ["RESEARCH_NOTEBOOK"])
    lines = notebook.read_text(encoding="utf-8").splitlines() if notebook.exists() else []
    if not any(json.loads(line)["key"] == context.idempotency_key for line in lines):
        with notebook.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": context.idempotency_key, "document": document, "note": note}) + "\n")
    return {"noted": f"{document}: {note}"}
