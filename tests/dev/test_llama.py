"""The local model of `make dev`."""

from __future__ import annotations

import pytest

from dev.llama import threads_for


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (4, 2), (8, 4), (64, 4)])
def test_the_local_model_leaves_half_of_the_cores_to_the_rest(cores: int, threads: int) -> None:
    assert threads_for(cores) == threads
