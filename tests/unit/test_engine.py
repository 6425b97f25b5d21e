"""The process that embeds and searches: a provider's embeddings, its failures, and the end of the process itself."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from open_responses.config import Config
from open_responses.io.files.chunk_index import ChunkIndex
from open_responses.io.files.engine import Engine, EngineFailed, embedding_of
from open_responses.io.files.storage import Chunk, Embedding
from tests.support.embedding_provider import EmbeddingProvider, embedding_provider


@pytest.fixture
def provider() -> Iterator[EmbeddingProvider]:
    with embedding_provider() as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def engine() -> Any:
    made = Engine()
    yield made
    await made.close()


def embedding(provider: EmbeddingProvider) -> Embedding:
    config = {
        "providers": [
            {"name": "own", "adapter": "openai-chat", "base_url": provider.base_url, "api_key_env": "EMBEDDING_KEY"}
        ],
        "vector_stores": {"embedding_provider": "own", "embedding_model": "text-embedding-3-small"},
    }
    return embedding_of(Config.model_validate(config), {"EMBEDDING_KEY": "a-secret"})


async def test_a_providers_embeddings_are_asked_for_and_made_alike(engine: Engine, provider: EmbeddingProvider) -> None:
    made = embedding(provider)
    assert made.name == "own/text-embedding-3-small"
    assert "a-secret" not in repr(made)
    texts = [f"{'x' * number}" for number in range(1, 71)]
    vectors = [np.frombuffer(one, np.float32) for one in await engine.embed(texts, made)]
    assert len(vectors) == len(texts)
    assert np.allclose([np.linalg.norm(one) for one in vectors], 1)
    assert vectors[0][0] < vectors[-1][0], "in the order of the texts"
    assert [len(asked["input"]) for asked in provider.asked] == [64, 6]
    assert provider.asked[0]["model"] == "text-embedding-3-small"
    assert set(provider.keys) == {"Bearer a-secret"}


@pytest.mark.parametrize(
    ("answer", "is_final"),
    [
        (401, True),
        (400, True),
        (429, False),
        (500, False),
        ({"data": []}, True),
        ({"data": [{"index": 0, "embedding": ["x"]}]}, True),
        ({"data": [{"index": 0, "embedding": [1, float("nan")]}]}, True),
        ({"nothing": 1}, True),
    ],
)
async def test_a_failure_says_whether_another_attempt_may_help(
    engine: Engine, provider: EmbeddingProvider, answer: Any, is_final: bool
) -> None:
    provider.answers.append(answer)
    with pytest.raises(EngineFailed) as failed:
        await engine.embed(["text"], embedding(provider))
    assert failed.value.is_final is is_final
    assert "a-secret" not in str(failed.value)


async def test_a_provider_that_is_away_may_come_back(engine: Engine) -> None:
    away = Embedding("away", {"base_url": "http://127.0.0.1:9/v1", "model": "m", "key": None})
    with pytest.raises(EngineFailed, match="cannot be reached") as failed:
        await engine.embed(["text"], away)
    assert not failed.value.is_final


async def test_a_process_that_dies_is_replaced(engine: Engine, provider: EmbeddingProvider, tmp_path: Path) -> None:
    made = embedding(provider)
    await engine.embed(["text"], made)
    assert engine._process is not None
    os.kill(engine._process.pid, signal.SIGKILL)
    # Whether the call notices the death, or another process was started before, depends on the moment.
    with contextlib.suppress(EngineFailed):
        await engine.embed(["text"], made)
    index = ChunkIndex(tmp_path / "a.sqlite")
    index.put_chunks("f", "i", [Chunk("text", 0)])
    index.put_vectors([(index.without_vector("f", 1)[0][0], (await engine.embed(["text"], made))[0])])
    (hit,) = await engine.search([(index.path, ["f"])], ["text"], made, embedding_weight=1, text_weight=1, most=5)
    assert (hit.file_id, hit.text) == ("f", "text")
    assert hit.score > 0.99
