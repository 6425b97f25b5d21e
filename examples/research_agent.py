"""`make research`: the agent of `examples/research.py` at work, while its workers are killed.

Starts everything it needs on free ports, a small web with a search engine included (`examples/local_web.py`). It kills
a worker with `kill -9` every two seconds, but not before the last one's successor serves and the agent has come
further: where a start takes longer than two seconds, no worker would live for long enough. The ids are printed, so kill
more yourself. Before that, some files are uploaded to a vector store. At the end it checks what a client may expect:
events numbered without a gap, deltas that add up to the stored answer, each note in the notebook once, and citations of
pages that the agent has found, and of files. The model is
`examples/scripted_model.py`, which needs no account; a provider of yours takes its place with
`python -m examples.research_agent --config open_responses.toml --model NAME`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from dev import services
from dev.services import Service
from examples.research import citations, research, show, store_of

_TASK = """Answer these questions, one after the other, and take a note on each before you go on.
- What happens with a response when its worker dies?
- How are tenants kept apart?
- Which tools can a model use?
- How does an operator see what costs how much?
- What does the event log promise to a client that reconnects?
- How is a new version deployed without losing responses?
- In our files: How are payloads in Temporal encrypted?
- In our files: Why do late writers restore nothing of a deleted response?"""
_ROOT = Path(__file__).parent.parent
# The records of some decisions, which are not in the small web.
_FILES = sorted((_ROOT / "docs" / "decisions").glob("001*.md"))
_KILL_EVERY_SECONDS = 2.0
_MODEL = """
[[providers]]
name = "scripted"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{port}/v1"
resume = "prefill"
[[routes]]
model = "scripted"
provider = "scripted"
"""
# Where your pages are public, `private_hosts` is not needed: this small web is on this machine.
_TOOLS = """
[[tools]]
name = "take_note"
target = "examples.research_tools:take_note"
[file_search]
[web_search]
backend = "searxng"
url = "http://127.0.0.1:{port}"
private_hosts = ["127.0.0.1:{port}"]
"""


class Running:
    """The parts, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts: dict[str, Any] = {}
        self.went_on = asyncio.Event()
        """Set by each item that the agent completes."""

    async def start(self, service: Service) -> None:
        self.parts[service.name] = service.start(self.folder / "logs")
        if not await services.wait_ready(service, self.parts[service.name], 60):
            sys.exit(f"{service.name} did not start; see {self.folder / 'logs'}")

    async def kill_workers_in_turn(self, env: dict[str, str]) -> None:
        """One of the two each time, and start it again."""
        for number in range(10_000):
            await asyncio.sleep(_KILL_EVERY_SECONDS)
            self.went_on.clear()
            await self.went_on.wait()
            name = f"worker-{number % 2}"
            process = self.parts[name]
            process.kill()
            await asyncio.to_thread(process.wait)
            await self.start_worker(number % 2, f"{name}-{number}", env)
            print(f"\n    [kill -9 of {name}, process {process.pid}; its successor is {self.parts[name].pid}]")

    async def start_worker(self, index: int, worker_id: str, env: dict[str, str]) -> None:
        """Start a worker, and wait until it serves."""
        await self.start(services.worker(index, worker_id, env, ready_file=self.folder / "ready" / worker_id))

    async def stop(self) -> None:
        for process in reversed(self.parts.values()):
            await services.stop(process)


async def main() -> int:
    """Exit code 0 when nothing was lost and nothing done twice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", help="an open_responses.toml with your providers; the tools are added to it")
    parser.add_argument("--model", default="scripted")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        running = Running(Path(folder))
        try:
            api, env = await _start(running, asked.config)
            killing = asyncio.create_task(running.kill_workers_in_turn(env))
            try:
                return await _research(api, asked.model, Path(env["RESEARCH_NOTEBOOK"]), running.went_on)
            finally:
                killing.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await killing
        finally:
            await running.stop()


async def _start(running: Running, config: str | None) -> tuple[str, dict[str, str]]:
    folder = running.folder
    model, web, valkey, temporal, api = (services.free_port() for _ in range(5))
    providers = Path(config).read_text(encoding="utf-8") if config else _MODEL.format(port=model)
    (folder / "open_responses.toml").write_text(providers + _TOOLS.format(port=web), encoding="utf-8")
    env = {
        "TEMPORAL_ADDRESS": f"127.0.0.1:{temporal}",
        "REDIS_URL": f"redis://127.0.0.1:{valkey}/0",
        "OPEN_RESPONSES_CONFIG": str(folder / "open_responses.toml"),
        "OPEN_RESPONSES_DATA_DIR": str(folder),
        "RESEARCH_NOTEBOOK": str(folder / "notebook.jsonl"),
    }
    print("starting a small web, Temporal, Valkey, two workers and the API …")
    for name, module, port in (("model", "examples.scripted_model", model), ("web", "examples.local_web", web)):
        if name == "web" or config is None:
            command = (sys.executable, "-m", module, str(port))
            await running.start(Service(name, command, partial(services.port_answers, port)))
    await running.start(services.valkey(valkey, folder))
    await running.start(services.temporal(temporal, folder))
    for index in range(2):
        await running.start_worker(index, f"worker-{index}", env)
    await running.start(services.api(api, env))
    return f"http://127.0.0.1:{api}", env


async def _research(api: str, model: str, notebook: Path, went_on: asyncio.Event) -> int:
    events: list[dict[str, Any]] = []

    def seen(event: dict[str, Any]) -> None:
        events.append(event)
        show(event)
        if event["type"] == "response.output_item.done":
            went_on.set()

    async with AsyncOpenAI(base_url=f"{api}/v1", api_key="none", max_retries=0) as client:
        store = await store_of(client, _FILES)
        response = await research(client, model, _TASK, seen, store)
    return _check(response, events, notebook)


def _check(response: dict[str, Any], events: list[dict[str, Any]], notebook: Path) -> int:
    output = response["output"]
    kinds = [item["type"] for item in output]
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    stored = "".join(part["text"] for item in output if item["type"] == "message" for part in item["content"])
    keys = [json.loads(line)["key"] for line in notebook.read_text(encoding="utf-8").splitlines()]
    numbers = [event["sequence_number"] for event in events]
    cited = citations(response)
    seen = {one["url"] for one in _sources(events)}
    pages = [place for _, place in cited if place.startswith("http")]
    print("\n\nSources:")
    for title, place in dict.fromkeys(cited):
        print(f"- {title}: {place}")
    numbered = (kinds.count(kind) for kind in ("web_search_call", "file_search_call", "function_call"))
    calls = "{} searches and pages, {} searches in files, {} notes".format(*numbered)
    checks = {
        f"the response is {response['status']}, after {calls}": response["status"] == "completed",
        f"{len(events)} events, numbered without a gap": numbers == [*range(len(events))],
        "the deltas add up to the stored text": text == stored,
        f"{len(keys)} notes, each once": len(keys) == len(set(keys)) > 0,
        "each search and page has arrived": all(
            item["status"] == "completed" for item in output if item["type"].endswith("_search_call")
        ),
        f"{len(pages)} citations of pages, each of one that the agent found": bool(pages) and set(pages) <= seen,
        f"{len(cited) - len(pages)} citations of files": len(cited) > len(pages),
    }
    print()
    for what, is_so in checks.items():
        print("ok  " if is_so else "NOT ", what)
    return 0 if all(checks.values()) else 1


def _sources(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pages that the searches have found, from `include: ["web_search_call.action.sources"]`."""
    return [
        source
        for event in events
        if event["type"] == "response.output_item.done" and event["item"]["type"] == "web_search_call"
        for source in event["item"]["action"].get("sources") or []
    ]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
