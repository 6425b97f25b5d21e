"""`make research`: an agent reads documents of this project with about thirty tool calls, while its workers are killed.

Starts everything it needs on free ports. It kills a worker with `kill -9` every two seconds, but not before the last
one's successor serves and the agent has come further: where a start takes longer than two seconds, no worker would live
for long enough. The ids are printed, so kill more yourself. At the end it checks what a client may expect: events
numbered without a gap, deltas that add up to the stored answer, and each note in the notebook once. The model is
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
from pathlib import Path
from typing import Any

import httpx

from dev import services
from dev.services import Service

_TASK = "Read the documents of this project and report what each is about. Take a note on each before you go on."
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
_TOOLS = "".join(
    f'[[tools]]\nname = "{name}"\ntarget = "examples.research_tools:{name}"\n'
    for name in ("list_documents", "read_document", "take_note")
)


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
    model, valkey, temporal, api = (services.free_port() for _ in range(4))
    providers = Path(config).read_text(encoding="utf-8") if config else _MODEL.format(port=model)
    (folder / "open_responses.toml").write_text(providers + _TOOLS, encoding="utf-8")
    env = {
        "TEMPORAL_ADDRESS": f"127.0.0.1:{temporal}",
        "REDIS_URL": f"redis://127.0.0.1:{valkey}/0",
        "OPEN_RESPONSES_CONFIG": str(folder / "open_responses.toml"),
        "OPEN_RESPONSES_DATA_DIR": str(folder),
        "RESEARCH_NOTEBOOK": str(folder / "notebook.jsonl"),
    }
    print("starting Temporal, Valkey, two workers and the API …")
    command = (sys.executable, "-m", "examples.scripted_model", str(model))
    if config is None:
        await running.start(Service("model", command, lambda: services.port_answers(model)))
    await running.start(services.valkey(valkey, folder))
    await running.start(services.temporal(temporal, folder))
    for index in range(2):
        await running.start_worker(index, f"worker-{index}", env)
    await running.start(services.api(api, env))
    return f"http://127.0.0.1:{api}", env


async def _research(api: str, model: str, notebook: Path, went_on: asyncio.Event) -> int:
    body = {"model": model, "input": _TASK, "stream": True, "tools": [{"type": "open_responses:hosted_tools"}]}
    events: list[dict[str, Any]] = []
    async with (
        httpx.AsyncClient(timeout=None, trust_env=False) as client,
        client.stream("POST", f"{api}/v1/responses", json=body) as answer,
    ):
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                events.append(json.loads(line[6:]))
                _show(events[-1])
                if events[-1]["type"] == "response.output_item.done":
                    went_on.set()
    return _check(events, notebook)


def _show(event: dict[str, Any]) -> None:
    if event["type"] == "response.output_text.delta":
        print(event["delta"], end="", flush=True)
    if event["type"] == "response.output_item.done" and event["item"]["type"] == "function_call":
        print(f"  {event['item']['name']} {event['item']['arguments'][:100]}")
    if event["type"] == "open_responses:attempt":
        print(f"    [turn {event['turn']}: attempt {event['attempt']}, since {event['reason']}: {event['action']}]")


def _check(events: list[dict[str, Any]], notebook: Path) -> int:
    response = events[-1]["response"]
    calls = sum(item["type"] == "function_call" for item in response["output"])
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    stored = "".join(part["text"] for item in response["output"] for part in item.get("content", []))
    keys = [json.loads(line)["key"] for line in notebook.read_text(encoding="utf-8").splitlines()]
    numbers = [event["sequence_number"] for event in events]
    checks = {
        f"the response is {response['status']}, after {calls} tool calls": response["status"] == "completed",
        f"{len(events)} events, numbered without a gap": numbers == [*range(len(events))],
        "the deltas add up to the stored text": text == stored,
        f"{len(keys)} notes, each once": len(keys) == len(set(keys)) > 0,
    }
    print("\n")
    for what, is_so in checks.items():
        print("ok  " if is_so else "NOT ", what)
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
