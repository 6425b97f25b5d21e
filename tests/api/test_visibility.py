"""Lists of runs from Temporal's index, and the answers that many callers share."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

from api.admission.history_reads import HistoryReads
from api.operations.filters import Page
from api.operations.responses import shown_of
from api.recent_answers import RecentAnswers
from open_responses.errors import RateLimited, Unavailable
from open_responses.io.temporal import visibility
from open_responses.io.temporal.client import MODEL, TENANT
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.io.temporal.visibility import Cursor, literal, newest_runs
from open_responses.json_types import JsonObject
from tests.support.operator import console
from tests.support.stack import Stack, until

# --- Temporal's index


async def started(temporal: Client, model: str, count: int, **keywords: str) -> list[str]:
    """Runs that no worker takes, one after the other."""
    ids = []
    for _ in range(count):
        pairs: list[SearchAttributePair[Any]] = [SearchAttributePair(MODEL, model)]
        pairs += [SearchAttributePair(SearchAttributeKey.for_keyword(name), text) for name, text in keywords.items()]
        handle = await temporal.start_workflow(
            "Listed",
            id=f"listed-{uuid.uuid4()}",
            task_queue="no-worker",
            search_attributes=TypedSearchAttributes(pairs),
        )
        ids.append(handle.id)
    return ids


async def indexed(temporal: Client, model: str, count: int) -> None:
    async def is_there() -> bool:
        return (await temporal.count_workflows(f"{MODEL.name} = {literal(model)}")).count == count

    await until(is_there, 30)


async def end(temporal: Client, ids: Sequence[str]) -> None:
    await asyncio.gather(*(temporal.get_workflow_handle(one).terminate() for one in ids))


@pytest.mark.parametrize("most_read", [3, 7, 400])
async def test_runs_are_paged_by_their_start_however_few_are_read_at_once(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, most_read: int
) -> None:
    monkeypatch.setattr(visibility, "_MOST_READ", most_read)
    temporal, model = await console(stack), f"paged-{uuid.uuid4()}"
    ids = await started(temporal, model, 11)
    await indexed(temporal, model, 11)
    # Temporal itself lists those that have ended behind those that have not.
    await end(temporal, ids[5:])
    found: list[str] = []
    after, has_more = None, True
    while has_more:
        runs, has_more = await newest_runs(temporal, [f"{MODEL.name} = {literal(model)}"], limit=2, after=after)
        assert len(runs) == 2 if has_more else len(runs) <= 2
        found += [run.id for run in runs]
        after = Cursor(runs[-1].start_time, runs[-1].id)
    assert found == ids[::-1]
    await end(temporal, ids[:5])


NASTY = ["o'ne", "a''b", "x' OR 'a' = 'a or", "%", "_", "--", "é ✓", "?", "a/*b*/"]


async def test_whatever_a_value_has_it_is_compared_and_never_parsed(stack: Stack) -> None:
    temporal, model = await console(stack), f"nasty-{uuid.uuid4()}"
    ids = {text: (await started(temporal, model, 1, **{TENANT.name: text}))[0] for text in NASTY}
    await indexed(temporal, model, len(NASTY))
    for text, workflow_id in ids.items():
        terms = [f"{MODEL.name} = {literal(model)}", f"{TENANT.name} = {literal(text)}"]
        runs, _ = await newest_runs(temporal, terms, limit=50, after=None)
        assert [run.id for run in runs] == [workflow_id], text
    await end(temporal, list(ids.values()))


async def test_a_value_that_would_be_compared_as_another_is_refused(stack: Stack) -> None:
    # Temporal writes a line break as a backslash and an n, which is another tenant's name.
    temporal, model = await console(stack), f"escaped-{uuid.uuid4()}"
    ids = await started(temporal, model, 1, **{TENANT.name: "a\\nb"})
    await indexed(temporal, model, 1)
    found, _ = await newest_runs(
        temporal, [f"{MODEL.name} = {literal(model)}", f"{TENANT.name} = 'a\nb'"], limit=5, after=None
    )
    assert [run.id for run in found] == ids, "Temporal compares it as it is now: the refusal can go"
    for text in ("a\nb", "a\rb", "a\tb", "a\x00b", "a\x08b", "a\x1ab", "a\\b", 'a"b'):
        with pytest.raises(ValueError, match="control character"):
            literal(text)
    await end(temporal, ids)


async def test_an_owner_is_compared_here_as_well(stack: Stack, tmp_path: Path) -> None:
    temporal, model = await console(stack), f"owners-{uuid.uuid4()}"
    ids = [(await started(temporal, model, 1, **{TENANT.name: name}))[0] for name in ("Acme", "acme", "acme ")]
    await indexed(temporal, model, 3)
    runs, _ = await newest_runs(temporal, [f"{MODEL.name} = {literal(model)}"], limit=5, after=None)
    state: Any = SimpleNamespace(eraser=SimpleNamespace(marks=ErasureMarks(tmp_path)))
    for tenant, wanted in (("Acme", ids[:1]), ("acme", ids[1:2]), (None, ids[::-1])):
        shown = await shown_of(state, Page((), tenant, (), 5, None), runs)
        assert [run.id for run in shown] == wanted
    await end(temporal, ids)


# --- what one tenant may ask for at a time


async def test_reads_of_a_tenant_and_of_a_process_are_bounded() -> None:
    reads, gate = HistoryReads(at_once=3, of_a_tenant_at_once=2, most=4, most_of_a_tenant=3), asyncio.Event()
    running: list[str] = []

    async def read(tenant: str) -> None:
        async with reads.request(tenant) as mine, mine.one():
            running.append(tenant)
            await gate.wait()

    tasks = [asyncio.create_task(read(tenant)) for tenant in ("a", "a", "a", "b")]
    for _ in range(3):
        await asyncio.sleep(0)
    assert running == ["a", "a", "b"], "the third of a tenant waits, and another tenant's does not"
    with pytest.raises(RateLimited):
        await read("a")
    with pytest.raises(Unavailable) as refused:
        await read("c")
    assert refused.value.error_code == "overloaded"
    gate.set()
    await asyncio.gather(*tasks)
    await read("a")
    assert running == ["a", "a", "b", "a", "a"]


# --- answers that are shared


async def test_those_who_ask_at_once_share_one_answer_and_an_error_is_not_kept() -> None:
    now, asked = [0.0], 0
    recent = RecentAnswers(clock=lambda: now[0])
    gate = asyncio.Event()

    async def make() -> JsonObject:
        nonlocal asked
        asked += 1
        await gate.wait()
        if asked == 1:
            raise OSError("away")
        return {"answer": asked}

    waiting = [asyncio.create_task(recent.get("a", make)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [OSError] * 3
    assert [await recent.get("a", make) for _ in range(3)] == [{"answer": 2}] * 3
    now[0] = 2.0
    assert await recent.get("a", make) == {"answer": 3}


async def test_a_caller_that_leaves_does_not_take_the_answer_from_the_others() -> None:
    recent, gate = RecentAnswers(), asyncio.Event()

    async def make() -> JsonObject:
        await gate.wait()
        return {}

    leaving, staying = (asyncio.create_task(recent.get("a", make)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    gate.set()
    assert await asyncio.wait_for(staying, 50) == {}
