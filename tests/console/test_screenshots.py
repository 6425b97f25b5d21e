"""The pictures of docs/console.md, which are taken where `OPEN_RESPONSES_SCREENSHOTS` names a folder for them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.api_with_keys import bearer, key_block
from tests.support.console_browser import Browser, Page
from tests.support.documents import encrypted_pdf
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.schedules import SCHEDULES, made, run_of
from tests.support.scripts import HOSTED, script
from tests.support.stack import Stack, another_api, http_client
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import delivery_of

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
LIBRARY = {
    "leave.md": b"Everybody has thirty days of leave in a year. Five may be taken until March of the next year.",
    "travel.md": b"The firm pays for second class on trains. A flight needs the consent of the team's lead.",
}


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


async def take(page: Page, name: str, *, whole: bool = False) -> None:
    """The window, or the whole page."""
    assert FOLDER is not None
    file = Path(FOLDER).resolve() / f"console-{name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    await page.evaluates("scrollTo(0, 0)")
    # A view that was just opened has the focus at its heading.
    await page.evaluates("document.activeElement.blur()")
    await page.do("screenshot", {"path": str(file), "fullPage": whole})


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


async def test_pictures_of_stores_schedules_webhooks_and_agents(
    page: Page, stack: Stack, upstream: Upstream, receiver: WebhookReceiver
) -> None:
    async with http_client(page.url) as api:
        answer = await api.post("/v1/admin/keys", json={"tenant": "acme", "scopes": ["admin"]}, headers=bearer(KEY))
        key = answer.json()["key"]
        await of_a_store(page, api, key)
        await of_schedules(page, api, key, upstream)
        await of_webhooks(page, api, key, upstream, receiver)
        await of_agents(page, api, key, upstream)


async def of_a_store(page: Page, api: httpx.AsyncClient, key: str) -> None:
    ids = []
    for name, content in {**LIBRARY, "scan.pdf": encrypted_pdf("nobody reads this")}.items():
        form: Any = {"data": {"purpose": "assistants"}, "files": {"file": (name, content)}}
        ids.append((await api.post("/v1/files", headers=bearer(key), **form)).json()["id"])
    body = {"name": "Handbook", "expires_after": {"anchor": "last_active_at", "days": 90}}
    store = (await api.post("/v1/vector_stores", json=body, headers=bearer(key))).json()["id"]
    for id, year in zip(ids, (2024, 2025, 2026), strict=True):
        attached = {"file_id": id, "attributes": {"year": year}}
        await api.post(f"/v1/vector_stores/{store}/files", json=attached, headers=bearer(key))
    await page.go(f"stores/{store}")
    await page.waits_for("[data-testid=store-facts]:has-text('2 ready, 1 failed')", seconds=120)
    await page.fill("[name=query]", "How many days of leave do I have?")
    await page.click("button:text-is('Search')")
    await page.waits_for("[data-testid=passages] section")
    await page.waits_for("[data-testid=store-files] tr:has-text('scan.pdf')")
    await take(page, "store", whole=True)


async def of_schedules(page: Page, api: httpx.AsyncClient, key: str, upstream: Upstream) -> None:
    upstream.says("Write the report of the day.", Script(words=20))
    request = {"model": "fake", "input": "Write the report of the day."}
    for name, cron, zone, paused in (
        ("Report of the month", "0 8 1 * *", "UTC", True),
        ("Watch the inbox", "*/15 9-17 * * mon-fri", "America/New_York", False),
        ("Morning report", "30 9 * * mon-fri", "Europe/Berlin", False),
    ):
        schedule = await made(
            api, bearer(key), name=name, cron=cron, timezone=zone, paused=paused, request=request, overlap="queue"
        )
    await api.post(f"{SCHEDULES}/{schedule['id']}/trigger", headers=bearer(key))
    await run_of(api, schedule, "ended", **bearer(key))
    await page.go("schedules")
    await page.waits_for("[data-testid=schedules] .status-completed")
    await take(page, "schedules")


async def of_webhooks(
    page: Page, api: httpx.AsyncClient, key: str, upstream: Upstream, receiver: WebhookReceiver
) -> None:
    receiver.answers("/tickets", 410)
    for name in ("reports", "tickets"):
        endpoint = {"name": name, "url": receiver.url(f"/{name}"), "event_types": ["response.completed"]}
        await api.post("/v1/webhook_endpoints", json=endpoint, headers=bearer(key))
    for prompt in ("Which city is warmer?", "Summarize the report."):
        body = {"model": "fake", "input": prompt, "background": True}
        response = (await api.post("/v1/responses", json=body, headers=bearer(key))).json()["id"]
        await delivery_of(api, response, "failed", **bearer(key))
        await delivery_of(api, response, "delivered", **bearer(key))
    await page.evaluates(f"sessionStorage.setItem('open_responses.key', '{key}')")
    await page.go("webhooks")
    await page.do("reload")
    await page.waits_for("[data-testid=failing]")
    await page.waits_for("[data-testid=endpoints] .status-delivered")
    await page.waits_for("[data-testid=deliveries] tbody tr")
    await take(page, "webhooks")


async def of_agents(page: Page, api: httpx.AsyncClient, key: str, upstream: Upstream) -> None:
    prompt = "Compare the weather of Oslo and Rome, and look again in an hour."
    tasks = ["What is the weather in Oslo?", "What is the weather in Rome?"]
    upstream.says(tasks[0], Script(literal="Oslo has twelve degrees, and it is dry."))
    held = upstream.says(tasks[1], Script(literal="Rome has twenty degrees, and it rains.", hold_after=2))
    research = [(f"r{index}", "researcher", {"task": task}) for index, task in enumerate(tasks)]
    script(upstream, prompt, calls(*research, ("w", "wait_until", {"seconds": 3000})))
    body = {"model": "fake", "input": prompt, "background": True, "tools": HOSTED}
    response = (await api.post("/v1/responses", json=body, headers=bearer(key))).json()["id"]
    await page.go(f"responses/{response}")
    await page.waits_for("[data-testid=wait]")
    await page.waits_for("[data-testid=agents] .status-completed")
    await take(page, "agents", whole=True)
    held.released.set()
