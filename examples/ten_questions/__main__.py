"""Work for an operator to look at: answers, failures, waits, refusals, a worker that dies (docs/ten-questions.md).

Needs `make dev` with the configuration beside this file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

_PORT = os.environ.get("OPEN_RESPONSES_API_PORT", "8080")
_TOOLS = [{"type": "open_responses:hosted_tools"}]
# Tenant, and the request.
_ASKED: list[tuple[str, dict[str, Any]]] = [
    *(("acme", {"model": "writer", "input": f"Summarise the minutes of meeting {number}."}) for number in range(1, 6)),
    *(("acme", {"model": "writer", "input": "A question of policy."}) for _ in range(2)),
    ("acme", {"model": "writer", "input": "Tell me a story."}),
    ("acme", {"model": "writer", "input": "What is the weather?", "tools": _TOOLS}),
    ("acme", {"model": "writer", "input": "Find the invoice 2026-118.", "tools": _TOOLS}),
    ("acme", {"model": "writer", "input": "Please wire what we owe.", "tools": _TOOLS}),
    ("acme", {"model": "slow-writer", "input": "Take your time."}),
    *(("acme", {"model": "eu-large", "input": "Bonjour."}) for _ in range(2)),
    ("acme", {"model": "eu-safe", "input": "Bonjour."}),
    ("acme", {"model": "wrtier", "input": "The name of this model is misspelt."}),
    *(("globex", {"model": "writer", "input": f"Ticket {number}."}) for number in range(1, 9)),
    ("globex", {"model": "eu-large", "input": "This key may not use this model."}),
    ("nobody", {"model": "writer", "input": "This key is not known."}),
]


async def main() -> int:
    """Exit code 1 where `make dev` does not run with the example's configuration."""
    argparse.ArgumentParser(prog="python -m examples.ten_questions", description=__doc__).parse_args()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{_PORT}", timeout=60) as client:
        try:
            found = await client.get("/v1/admin/health", headers=_key("operations"))
            found.raise_for_status()
        except httpx.HTTPError as error:
            start = "OPEN_RESPONSES_CONFIG=examples/ten_questions/open_responses.toml make dev"
            print(f"ten_questions: start `{start}` in another terminal first ({error})", file=sys.stderr)
            return 1
        answers = await asyncio.gather(*(_ask(client, tenant, request) for tenant, request in _ASKED))
        await asyncio.sleep(1)
        _kill_a_worker()
        ada = {"tenant": "operations", "name": "Ada", "scopes": ["admin"]}
        made = await client.post("/v1/admin/keys", json=ada, headers=_key("operations"))
        made.raise_for_status()
        await asyncio.sleep(2)
        robot = {"tenant": "globex", "name": "Robot of globex", "models": ["writer"]}
        await client.post("/v1/admin/keys", json=robot, headers={"Authorization": f"Bearer {made.json()['key']}"})
    begun = sum(answer.is_success for answer in answers)
    print(f"{begun} responses began, {len(answers) - begun} requests were refused, and one worker was killed.")
    print(f"Console: http://127.0.0.1:{_PORT}/ with the key example-operations")
    return 0


def _key(tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer example-{tenant}"}


async def _ask(client: httpx.AsyncClient, tenant: str, request: dict[str, Any]) -> httpx.Response:
    return await client.post("/v1/responses", json={**request, "background": True}, headers=_key(tenant))


def _kill_a_worker() -> None:
    folder = Path(os.environ.get("OPEN_RESPONSES_DATA_DIR", ".data"), "pids")
    for file in sorted(folder.glob("worker-*.pid"))[:1]:
        os.kill(int(file.read_text()), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
