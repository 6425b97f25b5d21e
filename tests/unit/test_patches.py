"""A new run leaves no marker of a patch; a run of an earlier version replays with the markers that it has."""

from __future__ import annotations

import ast
from pathlib import Path

from open_responses.loop.payloads.start import PATCH_LEVEL, StartResponse
from tests.support.operator import a_start
from tests.support.sources import nodes_of
from workflows.patches import LEVELS

WORKFLOWS = Path(__file__).parents[2] / "workflows"


def _called(name: str) -> dict[str, list[str]]:
    """The files that call this function or method, with the patches that they name."""
    found: dict[str, list[str]] = {}
    for file in WORKFLOWS.rglob("*.py"):
        for node in nodes_of(file):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            is_method = isinstance(node.func, ast.Attribute)
            if called == "patched" and is_method == (name == "workflow.patched"):
                patches = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
                found.setdefault(file.name, []).extend(patches)
    return found


def test_only_one_place_leaves_markers() -> None:
    assert list(_called("workflow.patched")) == ["patches.py"]


def test_each_patch_has_one_level_and_the_newest_start_knows_all_levels() -> None:
    assert len(LEVELS) == PATCH_LEVEL
    assert len(frozenset().union(*LEVELS)) == sum(map(len, LEVELS))
    used = {patch for patches in _called("patched").values() for patch in patches}
    known = frozenset().union(*LEVELS)
    assert len(used) > 5
    assert used <= known, "a patch of this version goes into the next level"


def test_a_start_of_an_earlier_version_knows_none() -> None:
    assert a_start().patch_level == 0


def test_programs_ask_for_approvals_unless_a_version_that_refused_them_wrote_the_start() -> None:
    written = a_start().model_dump(mode="json")
    assert StartResponse.model_validate(written).programs_ask
    del written["programs"]
    earlier = StartResponse.model_validate(written)
    assert not earlier.programs_ask
    assert StartResponse.model_validate_json(earlier.model_dump_json()).programs_ask, "a new run has no old history"
