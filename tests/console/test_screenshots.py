"""The pictures of docs/console.md, which are taken where `OPEN_RESPONSES_SCREENSHOTS` names a folder for them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.api_with_keys import bearer, key_block
from tests.support.console_browser import Browser, Page
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import script
from tests.support.stack import Stack, another_api

FOLDER = os.environ.get("OPEN_RESPONSES_SCREENSHOTS")

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.timeout(300),
    pytest.mark.skipif(FOLDER is None, reason="OPEN_RESPONSES_SCREENSHOTS names no folder for the pictures"),
]

STORY = (
    "The river rose in the hills as a thread of cold water under a stone. It rained on the first day, "
    "twelve degrees and a wind from the sea, and by evening the thread was a brook with a voice of its "
    "own.\n\nIt asked nobody for the way. Where the valley was narrow it hurried, and where the meadows lay "
    "open it took its time, and the people of three villages set their clocks by the mill that it turned."
    " When the mill burned down one winter, the river waited under its ice, and in spring it went on at "
    "the very word where it had stopped."
)
KEY = "pictures-of-the-console"


@pytest_asyncio.fixture
async def page(stack: Stack) -> AsyncIterator[Page]:
    pids = stack.data / "picture-pids"
    pids.mkdir(exist_ok=True)
    key = key_block("acme", KEY, 'scopes = ["admin"]')
    async with (
        Browser.launched() as browser,
        another_api(stack, tail=key, env={"OPEN_RESPONSES_DEV_PID_DIR": str(pids)}) as api,
    ):
        for prompt, body in (
            ("Summarize the report.", {}),
            ("Which city is warmer?", {}),
            ("Translate it.", {"model": "down"}),
        ):
            request = {"model": "fake", "input": prompt, "background": True, **body}
            assert (await api.post("/v1/responses", json=request, headers=bearer(KEY))).status_code == 200
        page = Page(browser, str(api.base_url).rstrip("/"))
        await page.open("play", viewport={"width": 1280, "height": 860}, colorScheme="light")
        await page.fill("#key", KEY)
        await page.click("button:text-is('Open the console')")
        await page.waits_for("nav")
        yield page


async def take(page: Page, name: str) -> None:
    assert FOLDER is not None
    file = Path(FOLDER).resolve() / f"console-{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    await page.do("screenshot", {"path": str(file)})


async def test_pictures(page: Page, stack: Stack, upstream: Upstream) -> None:
    prompt = "Tell me a story about a river. Look at the weather first."
    words = len(STORY.split())
    story = Script(literal=STORY, hold_after=words // 2)
    script(upstream, prompt, calls(("c1", "get_weather", {"city": "Oslo"})), story)
    await page.fill("#model", "fake")
    await page.fill("#input", prompt)
    await page.do("check", "label:has-text('get_weather') input")
    await page.click("button:text-is('Send')")
    await page.waits_for(".item-text pre.text:has-text('brook')")
    busy = await stack.busy_worker()
    (stack.data / "picture-pids" / "worker-0.pid").write_text(str(stack.processes[busy].pid))
    await page.click("button:text-is('Kill the worker')")
    await page.waits_for("[data-testid=kills]")
    story.released.set()
    await page.waits_for(".turn[aria-busy=false] .status-completed")
    await page.click("button:text-is('Show the raw events')")
    await page.evaluates("scrollTo(0, 0)")
    await take(page, "playground")
    address = await page.evaluates("document.querySelector('.turn .row a').hash")
    await page.go("responses")
    await page.waits_for("[data-testid=responses] tbody tr")
    await take(page, "responses")
    await page.go(str(address)[2:])
    await page.waits_for("[data-testid=timeline] li")
    await take(page, "response")
    for view, ready in (
        ("usage", "[data-testid=totals]"),
        ("health", "[data-testid=health]"),
    ):
        await page.go(view)
        await page.waits_for(ready)
        await take(page, view)
