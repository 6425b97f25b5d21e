"""A program that calls tools runs in steps, each from the bytes that the one before left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from activities.tools.code_interpreter.programs import Answer, Programs, Step, is_async
from activities.tools.code_interpreter.sandbox import MIB, Limits, Sandbox

FUNCTIONS = {"get": ["id", "depth"], "put": ["id", "value"]}
Tool = Callable[[str, dict[str, object]], str]


@pytest_asyncio.fixture(scope="module")
async def programs() -> AsyncIterator[Programs]:
    sandbox = Sandbox(Limits(seconds=0.5, memory_bytes=24 * MIB, output_bytes=2000, state_bytes=MIB), processes=2)
    yield Programs(sandbox, most_parallel=5)
    await sandbox.close()


async def run(programs: Programs, code: str, tool: Tool) -> tuple[str, list[Step]]:
    """Run a program to its end, each step in a process of its own. Returns its output, and the steps."""
    steps = [await programs.begin(code, FUNCTIONS)]
    printed = steps[0].printed
    while steps[-1].calls:
        answers = []
        for call in steps[-1].calls:
            try:
                answers.append(Answer(call.number, tool(call.function, call.arguments)))
            except RuntimeError as error:
                answers.append(Answer(call.number, str(error), failed=True))
        state = steps[-1].state
        assert state is not None
        steps.append(
            await programs.go_on(
                state, answers, FUNCTIONS, is_async=is_async(code), printed_bytes=len(printed.encode())
            )
        )
        printed += steps[-1].printed
    return printed, steps


def records(function: str, arguments: dict[str, object]) -> str:
    if arguments.get("id") == 13:
        raise RuntimeError("no such record")
    return f'{{"id": {arguments["id"]}, "name": "n{arguments["id"]}"}}'


@pytest.mark.parametrize(
    ("code", "printed", "calls"),
    [
        ("r = get(id=1)\nprint(r['name'])", "n1\n", [1]),
        ("r = await get(1, depth=2)\nprint(r['name'])", "n1\n", [1]),
        ("for i in range(3):\n    print((await get(id=i))['id'])", "0\n1\n2\n", [1, 1, 1]),
        ("print([get(id=i)['id'] for i in range(3)])", "[0, 1, 2]\n", [1, 1, 1]),
        (
            "import asyncio\nrs = await asyncio.gather(*[get(id=i) for i in range(4)])\nprint([r['id'] for r in rs])",
            "[0, 1, 2, 3]\n",
            [4],
        ),
        (
            "import asyncio\nasync def both(i):\n    await get(id=i)\n    return (await get(id=i + 10))['id']\n"
            "print(await asyncio.gather(both(1), both(2)))",
            "[11, 12]\n",
            [2, 2],
        ),
        (
            "try:\n    await get(id=13)\nexcept RuntimeError as e:\n    print('caught', e)",
            "caught no such record\n",
            [1],
        ),
        ("1 + 1", "2\n", []),
    ],
)
async def test_a_program_calls_tools_one_after_another_or_side_by_side(
    programs: Programs, code: str, printed: str, calls: list[int]
) -> None:
    output, steps = await run(programs, code, records)
    assert output == printed
    assert [len(step.calls) for step in steps] == [*calls, 0]
    assert not steps[-1].failed


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("missing(id=1)", "name 'missing' is not defined"),
        ("f = missing", "name 'missing' is not defined"),
        ("get(1, 2, 3)", "takes 2 arguments"),
        ("get(1, id=1)", "'id' twice"),
        ("get(id={1, 2})", "arguments that are JSON"),
        ("get(id=float('nan'))", "arguments that are JSON"),
        ("get(id='x' * 200_000)", "longer than 100000 characters"),
        ("import asyncio\nawait asyncio.gather(*[get(id=i) for i in range(6)])", "at most 5 calls"),
        ("await get(id=13)", "RuntimeError: no such record"),
        ("while True:\n    pass", "may run for 0.5 seconds"),
        ("open('/etc/passwd')", "Permission denied"),
        ("big = 'x' * 5_000_000\nget(id=1)", "at most 1048576 are kept"),
        ("x = (", "SyntaxError"),
    ],
)
async def test_what_a_program_does_wrong_ends_it_with_a_text(programs: Programs, code: str, said: str) -> None:
    output, steps = await run(programs, code, records)
    assert steps[-1].failed
    assert said in output, output


async def test_two_hundred_records_leave_a_small_state_and_a_bounded_output(programs: Programs) -> None:
    code = (
        "names = []\nfor i in range(20, 60):\n    r = get(id=i)\n    names.append(r['name'])\n"
        "    print(r['name'] * 50)\nlen(names)"
    )
    output, steps = await run(programs, code, records)
    assert len(steps) == 41
    assert max(len(step.state or b"") for step in steps) < 20_000
    assert output.count("left out") == 1
    assert len(output.encode()) < 2100


async def test_a_program_that_was_never_begun_cannot_be_run_as_one_call(programs: Programs) -> None:
    steps = await asyncio.gather(*(programs.begin(f"get(id={i})", FUNCTIONS) for i in range(3)))
    assert [step.calls[0].arguments for step in steps] == [{"id": 0}, {"id": 1}, {"id": 2}]
