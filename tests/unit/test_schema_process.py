"""The program that checks schemas: its answers, and how it ends. `test_schema_checks.py` has its limits."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from open_responses.io.schema_checks import process
from open_responses.io.schema_checks.process import LENGTH, is_valid, schema_problem, text_problem

NUMBERS = {"type": "object", "properties": {"rows": {"type": "array", "items": {"type": "number"}}}}


@pytest.mark.parametrize(
    ("schema", "text", "problem"),
    [
        (NUMBERS, '{"rows":[1,2]}', None),
        (NUMBERS, '{"rows":[1,"two"]}', 'at $.rows[1]: "two" is not of type "number"'),
        (NUMBERS, "[]", 'at $: [] is not of type "object"'),
        (NUMBERS, '{"rows":', "it is not JSON (Expecting value: line 1 column 9 (char 8))"),
        (NUMBERS, '{"rows":[NaN]}', "it is not JSON (NaN is not a value of JSON)"),
        (None, '{"any":"object"}', None),
        (None, "[1]", "it is not a JSON object"),
    ],
)
def test_a_problem_names_the_place_and_what_is_wrong(
    schema: dict[str, Any] | None, text: str, problem: str | None
) -> None:
    assert text_problem(schema, text) == problem
    if schema is not None:
        assert is_valid(schema, text) == (problem is None)


def test_json_that_is_nested_too_deeply_is_a_problem_and_no_crash() -> None:
    text = '{"rows":' + "[" * 100_000
    assert str(text_problem(NUMBERS, text)).startswith("it is not JSON (maximum recursion depth exceeded")
    assert not is_valid(NUMBERS, text)


@pytest.mark.parametrize("broken", [{"type": 5}, {"$ref": "https://elsewhere.example/schema"}, {"pattern": "("}])
def test_a_schema_that_cannot_be_used_is_one_line_and_no_text_is_valid_against_it(broken: dict[str, Any]) -> None:
    problem = schema_problem(broken)
    assert problem
    assert "\n" not in problem
    assert str(text_problem(broken, '"x"')).startswith("the schema cannot be used: ")
    assert not is_valid(broken, '"x"')


def frame(request: dict[str, Any]) -> bytes:
    raw = json.dumps(request).encode()
    return LENGTH.pack(len(raw)) + raw


@pytest.mark.parametrize("rest", [b"", b"\0", LENGTH.pack(9) + b"half"], ids=["whole", "cut length", "cut request"])
def test_it_answers_each_request_and_ends_with_its_input(rest: bytes) -> None:
    requests = [{"schemas": [NUMBERS, {"type": 5}]}, {"schemas": [], "text": "[]"}]
    command = (sys.executable, "-P", process.__file__)
    ran = subprocess.run(command, input=b"".join(map(frame, requests)) + rest, capture_output=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, b"")
    answers, output = [], ran.stdout
    while output:
        (size,) = LENGTH.unpack(output[: LENGTH.size])
        answers.append(json.loads(output[LENGTH.size : LENGTH.size + size]))
        output = output[LENGTH.size + size :]
    assert answers == [[None, schema_problem({"type": 5})], ["it is not a JSON object"]]
