"""The hosted tools of `examples/research_agent.py`: this project's own documents, and a notebook."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from open_responses.contracts import ToolContext, ToolError

_ROOT = Path(__file__).parent.parent
# Two calls for each: about thirty in all, which also a busy machine carries out in a minute or two.
_DOCUMENTS = 14


async def list_documents() -> list[str]:
    """The names of the documents."""
    found = [_ROOT / "README.md", *sorted(_ROOT.glob("docs/*.md"))]
    return [str(path.relative_to(_ROOT)) for path in found[:_DOCUMENTS]]


async def read_document(name: str) -> dict[str, str]:
    """A document's whole text."""
    if name not in await list_documents():
        raise ToolError(f"There is no document {name!r}; list_documents has the names.")
    await asyncio.sleep(0.3)
    return {"name": name, "text": (_ROOT / name).read_text(encoding="utf-8")}


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
