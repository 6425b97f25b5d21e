"""`make demo`: stream a long answer from the local model, kill the worker half-way, and see that the text is whole.

Needs `make dev` in another terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

_KILL_AFTER = 60
_ANSWER_TOKENS = 160


def main() -> int:
    """Exit code 0 when nothing was lost."""
    argparse.ArgumentParser(prog="make demo", description=__doc__).parse_args()
    api = f"http://127.0.0.1:{os.environ.get('OPEN_RESPONSES_API_PORT', '8080')}"
    pids = sorted(Path(os.environ.get("OPEN_RESPONSES_DATA_DIR", ".data"), "pids").glob("worker-*.pid"))
    if not pids:
        print("demo: no worker runs here; start `make dev` in another terminal first", file=sys.stderr)
        return 1
    events: list[dict[str, Any]] = []
    deltas, longest, last = 0, 0.0, time.monotonic()
    with _stream(api) as lines:
        for line in lines:
            if not line.startswith(b"data: {"):
                continue
            event = json.loads(line[6:])
            events.append(event)
            if event["type"] != "response.output_text.delta":
                continue
            print(event["delta"], end="", flush=True)
            deltas, now = deltas + 1, time.monotonic()
            longest, last = max(longest, now - last if deltas > 1 else 0.0), now
            if deltas == _KILL_AFTER:
                _kill(pids)
    return _verdict(events, longest)


def _stream(api: str) -> Any:
    body = {
        "model": "smollm2",
        "input": "Tell me a long story about a river.",
        "stream": True,
        "max_output_tokens": _ANSWER_TOKENS,
    }
    request = urllib.request.Request(
        f"{api}/v1/responses", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    try:
        return urllib.request.urlopen(request, timeout=60)
    except urllib.error.URLError as error:
        sys.exit(f"demo: {api} does not answer ({error.reason}); start `make dev` in another terminal first")


def _kill(pids: list[Path]) -> None:
    for file in pids:
        os.kill(int(file.read_text()), signal.SIGKILL)
    print(f"\n\n   *** kill -9 of {len(pids)} worker(s) ***\n")


def _verdict(events: list[dict[str, Any]], longest: float) -> int:
    text = "".join(e["delta"] for e in events if e["type"] == "response.output_text.delta")
    numbers = [e["sequence_number"] for e in events]
    stored = events[-1].get("response", {}).get("output", [])
    whole = "".join(part["text"] for item in stored for part in item.get("content", []))
    attempts = [e for e in events if e["type"] == "open_responses:attempt"]
    ok = numbers == list(range(len(numbers))) and text == whole
    print(f"\n\n{len(numbers)} events, numbered without a gap: {numbers == list(range(len(numbers)))}")
    print(f"the deltas add up to the stored answer: {text == whole}")
    print(f"taken over {len(attempts)} time(s); longest pause {longest:.2f} s")
    return 0 if ok and attempts else 1


if __name__ == "__main__":
    sys.exit(main())
