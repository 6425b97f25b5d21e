"""The console's playground in real Chromium: a stream, and what it survives. `make test-all`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from open_responses.conformance.clauses import CLAUSES
from tests.support.console_browser import Browser, Page
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import script
from tests.support.stack import Stack, another_api

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

WORDS = 60
TEXT = "".join(f"w{index} " for index in range(WORDS))
NAVIGATION = (
    *("Responses", "Approvals", "Files", "Vector stores", "Schedules", "Webhooks"),
    *("Usage", "Keys", "Health", "Conformance"),
)
VIEWS = (
    *("play", "responses", "approvals", "files", "stores", "schedules", "webhooks"),
    *("usage", "keys", "health", "conformance", "nowhere"),
)
FIRST_TEXT = ".item-text pre.text"
ENDED = ".turn[aria-busy=false] .status-completed"
_DROP = """(() => {
    const data = new DataTransfer();
    const bytes = Uint8Array.from(atob("BASE64"), one => one.charCodeAt(0));
    data.items.add(new File([bytes], "dot.png", {type: "image/png"}));
    const drop = new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
    document.querySelector("form.panel").dispatchEvent(drop);
})()"""

_FAST_STREAM = """(async () => {
    const { Follower } = await import("/console/stream.js");
    const type = "response.output_text.delta";
    const event = number => `data: ${JSON.stringify({type, sequence_number: number})}\\n\\n`;
    const numbers = [...Array(3000).keys(), 2999, ...Array(1990).keys().map(number => number + 3010)];
    const body = numbers.map(event).join("") + 'data: {"type": "response.completed"}\\n\\n';
    const usual = window.fetch;
    window.fetch = async () => new Response(body);
    const seen = {batches: 0, numbers: []};
    const onBatch = (entries, figures) => {
        seen.batches += 1;
        seen.numbers.push(...entries.map(({event}) => event.sequence_number).filter(number => number !== undefined));
        Object.assign(seen, {gaps: figures.gaps, repeats: figures.repeats});
    };
    await new Follower({onBatch}).start({});
    window.fetch = usual;
    return seen;
})()"""


@pytest_asyncio.fixture(scope="module")
async def pids(session_stack: Stack) -> AsyncIterator[Path]:
    """Where the console finds the workers, as under `make dev`."""
    folder = session_stack.data / "pids"
    folder.mkdir(exist_ok=True)
    yield folder


@pytest_asyncio.fixture(scope="module")
async def page(session_stack: Stack, pids: Path) -> AsyncIterator[Page]:
    await session_stack.heal()
    async with (
        Browser.launched() as browser,
        another_api(session_stack, env={"OPEN_RESPONSES_DEV_PID_DIR": str(pids)}) as api,
    ):
        yield Page(browser, str(api.base_url).rstrip("/"))


@pytest_asyncio.fixture
async def playground(page: Page, stack: Stack, pids: Path) -> AsyncIterator[Page]:
    """A new browser context. Nothing that the browser complains about, and nothing that axe finds, passes."""
    for name in ("worker-0", "worker-1"):
        (pids / f"{name}.pid").write_text(str(stack.processes[name].pid))
    await page.open("play", viewport={"width": 1280, "height": 900})
    await page.waits_for("#model")
    await page.waits_until("document.querySelector('#model').value !== ''")
    yield page
    assert await page.problems() == []
    assert await page.violations() == []


async def ask(page: Page, prompt: str, model: str = "fake") -> None:
    await page.fill("#model", model)
    await page.fill("#input", prompt)
    await page.click("button:text-is('Send')")


async def figures(page: Page) -> dict[str, int]:
    return {name: int(await page.text(f"[data-testid={name}]")) for name in ("gaps", "repeats", "connections")}


async def streams(page: Page) -> None:
    await page.waits_until("(document.querySelector(given)?.textContent.length ?? 0) > 20", FIRST_TEXT)


async def ends_whole(page: Page, text: str = TEXT) -> dict[str, int]:
    """The answer is complete, without a gap or a repeat. Returns the figures."""
    await page.waits_for(ENDED)
    assert await page.text(FIRST_TEXT) == text
    found = await figures(page)
    assert (found["gaps"], found["repeats"]) == (0, 0)
    return found


async def test_an_answer_streams_with_its_figures_and_lanes(playground: Page, upstream: Upstream) -> None:
    upstream.says("console plays", Script(words=WORDS))
    await ask(playground, "console plays")
    assert (await ends_whole(playground))["connections"] == 1
    assert "Text" in await playground.text("[data-testid=lanes]")
    assert "out" in await playground.text("[data-testid=figures]")
    await playground.click("button:text-is('Show the raw events')")
    await playground.waits_for("[data-testid=raw-events] summary:has-text('response.completed')")
    await ask(playground, "console plays")
    await playground.waits_until("document.querySelectorAll(given).length === 2", ENDED)
    assert "console plays" in str(upstream.requests[-1]["messages"][0]), "the second turn continues the first"
    assert len(upstream.requests[-1]["messages"]) == 3


async def test_control_and_enter_send(playground: Page, upstream: Upstream) -> None:
    upstream.says("console keyboard", Script(words=WORDS))
    await playground.fill("#model", "fake")
    await playground.fill("#input", "console keyboard")
    await playground.do("press", "#input", "Control+Enter")
    await ends_whole(playground)


async def test_a_dropped_connection_leaves_no_gap(playground: Page, upstream: Upstream) -> None:
    answer = upstream.says("console drops", Script(words=WORDS, hold_after=WORDS // 2))
    await ask(playground, "console drops")
    await streams(playground)
    await playground.click("button:text-is('Drop my connection')")
    await playground.waits_until("document.querySelector('[data-testid=connections]').textContent === '2'")
    answer.released.set()
    assert (await ends_whole(playground))["connections"] == 2


async def test_a_killed_worker_leaves_no_gap_and_its_pause_is_measured(
    playground: Page, upstream: Upstream, stack: Stack
) -> None:
    upstream.says("console kills", Script(words=WORDS, hold_after=WORDS // 2))
    await ask(playground, "console kills")
    await streams(playground)
    await playground.click("button:text-is('Kill the worker')")
    await playground.waits_until("document.querySelector('[data-testid=kills]')?.textContent === '2'")
    upstream.says("console kills", Script(words=WORDS))
    for name in ("worker-0", "worker-1"):
        await asyncio.to_thread(stack.processes[name].wait, 30)
    await stack.heal()
    await ends_whole(playground)
    assert "s" in await playground.text("[data-testid=pause]")


async def test_a_reload_in_the_middle_of_an_answer_goes_on_with_it(playground: Page, upstream: Upstream) -> None:
    answer = upstream.says("console reloads", Script(words=WORDS, hold_after=WORDS // 2))
    await ask(playground, "console reloads")
    await streams(playground)
    await playground.do("reload")
    await streams(playground)
    assert await playground.text(".asked") == "console reloads"
    answer.released.set()
    await ends_whole(playground)


async def test_an_answer_goes_on_while_another_view_is_shown(playground: Page, upstream: Upstream) -> None:
    answer = upstream.says("console wanders", Script(words=WORDS, hold_after=WORDS // 2))
    await ask(playground, "console wanders")
    await streams(playground)
    await playground.click("nav a:text-is('Health')")
    await playground.waits_for("h1:has-text('Health')")
    assert await playground.evaluates("document.activeElement.tagName") == "H1"
    answer.released.set()
    await playground.click("nav a:text-is('Playground')")
    assert (await ends_whole(playground))["connections"] == 1


async def test_stop_cancels_the_response(playground: Page, upstream: Upstream) -> None:
    answer = upstream.says("console stops", Script(words=WORDS, hold_after=WORDS // 2))
    await ask(playground, "console stops")
    await streams(playground)
    await playground.click("button:text-is('Stop')")
    await playground.waits_for(".turn[aria-busy=false] .status")
    assert await playground.text(".turn .status") in ("cancelled", "failed", "incomplete")
    answer.released.set()


@pytest.mark.parametrize("background", [True, False], ids=["while it runs", "with another request"])
@pytest.mark.parametrize("approves", [True, False], ids=["approved", "denied"])
async def test_a_call_that_waits_is_answered_with_a_button(
    playground: Page, upstream: Upstream, background: bool, approves: bool
) -> None:
    prompt = f"console asks {background} {approves}"
    script(upstream, prompt, calls(("c1", "delete_all", {})), Script(literal="All is said. "))
    await playground.do("setChecked", "label:has-text('Run in the background') input", background)
    await playground.do("check", "label:has-text('delete_all') input")
    await ask(playground, prompt)
    await playground.waits_for("text=Asks to call delete_all")
    await playground.click(f".answers button:has-text('{'Approve' if approves else 'Deny'}')")
    await playground.waits_for("pre.text:has-text('All is said.')")
    await playground.waits_until("document.querySelectorAll('.turn[aria-busy=true]').length === 0")


async def test_files_are_dropped_into_the_request(playground: Page, upstream: Upstream) -> None:
    upstream.says("console looks", Script(words=WORDS))
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    await playground.evaluates(_DROP.replace("BASE64", pixel))
    await playground.waits_for(".files li:has-text('dot.png')")
    await ask(playground, "console looks")
    await playground.waits_for(".turn[aria-busy=false]")
    assert f"data:image/png;base64,{pixel}" in str(upstream.requests[-1]["messages"])


async def test_the_request_is_copied_as_code(playground: Page) -> None:
    await playground.fill("#input", 'it\'s "quoted"\nand goes on')
    for name, parts in {
        "curl": ["curl -N", "/v1/responses", "it'\\''s"],
        "Python": ["from openai import OpenAI", 'input="it\'s \\"quoted\\"\\nand goes on"'],
        "TypeScript": ['import OpenAI from "openai"', "client.responses.create"],
    }.items():
        await playground.click(f".panel button:text-is('{name}')")
        await playground.waits_for("text=Copied")
        code = await playground.evaluates("navigator.clipboard.readText()")
        assert all(part in code for part in parts), code
        await playground.waits_for("text=Copied", state="hidden")


async def test_what_the_server_refuses_is_said_and_nothing_hangs(playground: Page) -> None:
    await ask(playground, "hello", model="no-such-model")
    await playground.waits_for(".answers .problem:has-text('no-such-model')")
    await playground.waits_for("button.primary:not([disabled])")
    assert await playground.do("isVisible", "button:text-is('Stop')") is False


async def test_a_provider_that_fails_is_an_error_in_words(playground: Page) -> None:
    await playground.do("setChecked", "label:has-text('Run in the background') input", False)
    await ask(playground, "hello", model="down")
    await playground.waits_for(".turn[aria-busy=false] .problem", seconds=90)


async def test_events_are_drawn_by_frames_and_a_gap_or_a_repeat_is_counted(playground: Page) -> None:
    """A view that is drawn for each event of a fast stream falls behind. A counter that is always 0 shows nothing."""
    found = await playground.evaluates(_FAST_STREAM)
    assert found["numbers"] == [*range(3000), 2999, *range(3010, 5000)]
    assert (found["gaps"], found["repeats"]) == (10, 1)
    assert found["batches"] < 500


async def test_the_server_meets_the_specification_as_the_console_tries_it(playground: Page, upstream: Upstream) -> None:
    upstream.says("Count from one to two hundred, in words.", Script(words=16, finish="length"))
    await playground.go("conformance")
    await playground.waits_until("document.querySelector('main form input')?.value")
    await playground.fill("main form input", "fake")
    await playground.click("button:text-is('Run')")
    await playground.waits_for(f"text={len(CLAUSES)} of {len(CLAUSES)} clauses are met.")


@pytest.mark.parametrize("look", ["light", "dark"])
async def test_a_phone_shows_all_of_it_in_either_colour(
    page: Page, stack: Stack, upstream: Upstream, look: str
) -> None:
    upstream.says("console phone", Script(words=WORDS))
    await page.open("play", viewport={"width": 360, "height": 740}, colorScheme=look, hasTouch=True)
    await page.waits_until("document.querySelector('#model')?.value")
    await ask(page, "console phone")
    await ends_whole(page)
    for view in VIEWS:
        await page.go(view)
        await page.waits_for("h1")
        await page.do("waitForLoadState", "networkidle")
        assert await page.violations() == [], view
        assert await page.wider_than_the_window() == [], view
    assert await page.problems() == []


async def test_every_view_is_reached_by_keyboard(page: Page, stack: Stack) -> None:
    await page.open("play", viewport={"width": 1280, "height": 900})
    await page.waits_for("#model")
    await page.do("press", "body", "Tab")
    assert await page.evaluates("document.activeElement.textContent") == "Skip to the content"
    await page.do("press", ".skip", "Enter")
    assert await page.evaluates("document.activeElement.id") == "main"
    for view in NAVIGATION:
        await page.do("focus", f"nav a:text-is('{view}')")
        await page.do("press", f"nav a:text-is('{view}')", "Enter")
        await page.waits_for(f"h1:has-text('{view}')")
        await asyncio.wait_for(page.waits_until("document.activeElement.tagName === 'H1'"), 50)
