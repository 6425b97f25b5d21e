"""Embeds texts and searches indexes in a process of its own, which is started at need, and ended when it is idle."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import open_responses
from open_responses.config import Config
from open_responses.io.background import in_background
from open_responses.io.child_processes import end, exchange
from open_responses.io.files.storage import Embedding, Hit
from open_responses.json_types import JsonObject

_LONGEST_SECONDS = 120.0
"""For one call: a provider's 60 seconds, and the start of the process on a busy machine."""
_IDLE_SECONDS = 300.0
_ROOT = Path(open_responses.__file__).parents[1]
# Only these variables are passed on: others have the keys of providers.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "OPENBLAS_CORETYPE")
# More would take every core for a product of a millisecond.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def embedding_of(config: Config, environ: Mapping[str, str]) -> Embedding:
    """What the configuration says. `embedding_provider` is one of its providers, which the configuration checks."""
    asked = config.vector_stores
    if asked.embedding_provider is None or asked.embedding_model is None:
        return Embedding("all-MiniLM-L6-v2", None)
    provider = config.provider(asked.embedding_provider)
    key = environ.get(provider.api_key_env) if provider.api_key_env else None
    return Embedding(
        f"{provider.name}/{asked.embedding_model}",
        {"base_url": provider.base_url, "model": asked.embedding_model, "key": key},
    )


class EngineFailed(Exception):
    """The engine gave no answer. `is_final`: another attempt would fail alike."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Engine:
    """One process, which answers one call at a time. `niceness`: for work that must not slow others down."""

    def __init__(self, *, niceness: int = 0) -> None:
        self._niceness = niceness
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._idle: asyncio.TimerHandle | None = None
        self._ends: set[asyncio.Task[None]] = set()

    async def embed(self, texts: Sequence[str], embedding: Embedding) -> list[bytes]:
        """A vector for each text: float32, of length 1. Raises EngineFailed."""
        answer = await self._ask({"do": "embed", "texts": list(texts), "provider": embedding.provider})
        return [base64.b64decode(one) for one in answer["vectors"]]

    async def search(
        self,
        indexes: Sequence[tuple[Path, Sequence[str]]],
        queries: Sequence[str],
        embedding: Embedding,
        *,
        embedding_weight: float,
        text_weight: float,
        most: int,
    ) -> list[Hit]:
        """Search indexes.

        Args:
            indexes: The path of each index, and the ids of the files of which chunks may be found.
            queries: The queries. A chunk has the best of its scores for all of them.
            embedding: The model that made the vectors of the indexes.
            embedding_weight: How much the meaning counts in a score.
            text_weight: How much the words count. The weights need not sum to 1.
            most: The most chunks.

        Returns:
            The best chunks, best first.

        Raises:
            EngineFailed: The process gave no answer.
        """
        answer = await self._ask(
            {
                "do": "search",
                "indexes": [{"path": str(path), "file_ids": list(file_ids)} for path, file_ids in indexes],
                "queries": list(queries),
                "provider": embedding.provider,
                "embedding_weight": embedding_weight,
                "text_weight": text_weight,
                "most": most,
            }
        )
        return [Hit(*one) for one in answer["found"]]

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            self._discard()
        await asyncio.gather(*self._ends, return_exceptions=True)

    async def _ask(self, request: JsonObject) -> dict[str, Any]:
        async with self._turn:
            if self._idle is not None:
                self._idle.cancel()
            is_whole = False
            try:
                async with asyncio.timeout(_LONGEST_SECONDS):
                    answer: dict[str, Any] = json.loads(await self._exchange(json.dumps(request).encode()))
                is_whole = True
            except TimeoutError:
                raise EngineFailed(f"it takes more than {_LONGEST_SECONDS:g} seconds") from None
            except (OSError, asyncio.IncompleteReadError) as error:
                raise EngineFailed("the process that does it died") from error
            finally:
                if not is_whole:
                    self._discard()
            self._idle = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._end_idle)
        if "error" in answer:
            raise EngineFailed(answer["error"], is_final=answer["is_final"])
        return answer

    async def _exchange(self, raw: bytes) -> bytes:
        if self._process is None or self._process.returncode is not None:
            self._process = await self._start()
        return await exchange(self._process, raw)

    async def _start(self) -> asyncio.subprocess.Process:
        given = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        path = os.pathsep.join(filter(None, (str(_ROOT), given.get("PYTHONPATH"))))
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "open_responses.io.files.engine_process",
            str(self._niceness),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=given | _ONE_THREAD | {"PYTHONPATH": path},
        )

    def _end_idle(self) -> None:
        if not self._turn.locked():
            self._discard()

    def _discard(self) -> None:
        """End the process, without waiting for its end."""
        process, self._process = self._process, None
        if process is not None:
            ending = in_background("end an engine", end(process))
            self._ends.add(ending)
            ending.add_done_callback(self._ends.discard)
