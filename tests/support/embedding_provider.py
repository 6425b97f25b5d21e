"""A provider of embeddings, over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class EmbeddingProvider(ThreadingHTTPServer):
    """`/embeddings` of OpenAI's API. `answers` are the bodies or statuses of the next requests."""

    def __init__(self, vector_of: Callable[[str], list[float]]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.vector_of = vector_of
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.answers: list[Any] = []

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: EmbeddingProvider

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert self.path == "/v1/embeddings"
        self.server.asked.append(body)
        self.server.keys.append(self.headers["authorization"])
        rows = [{"index": n, "embedding": self.server.vector_of(text)} for n, text in enumerate(body["input"])]
        answer: Any = self.server.answers.pop(0) if self.server.answers else {"data": rows[::-1]}
        status, written = (answer, b"{}") if isinstance(answer, int) else (200, json.dumps(answer).encode())
        self.send_response(status)
        self.end_headers()
        self.wfile.write(written)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def embedding_provider(
    vector_of: Callable[[str], list[float]] = lambda text: [len(text), 1.0],
) -> Iterator[EmbeddingProvider]:
    """One that runs. By default a text's vector is made of its length."""
    with EmbeddingProvider(vector_of) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
