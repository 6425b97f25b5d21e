"""The console in real Chromium: key form, responses, approvals, usage, keys, health. `make test-all`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.support.api_with_keys import bearer, key_block
from tests.support.console_browser import Browser, Page, is_sound, signed_in
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import script
from tests.support.stack import Stack, another_api

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(400)]

OPERATOR, ACME, BETA = "operator-of-the-console", "acme-of-the-console", "beta-of-the-console"
KEYS = [
    key_block("console-ops", OPERATOR, 'scopes = ["admin"]'),
    key_block("console-acme", ACME),
    key_block("console-beta", BETA),
    '[[routes]]\nmodel = "console-priced"\nprovider = "fake"\nprice = { input = 1000, output = 2000 }',
]
MANY = 1000


@pytest_asyncio.fixture(scope="module")
async def api(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    await session_stack.heal()
    async with another_api(session_stack, tail="\n".join(KEYS)) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def browser(api: httpx.AsyncClient) -> AsyncIterator[Browser]:
    async with Browser.launched() as browser:
        yield browser


async def start(api: httpx.AsyncClient, key: str, prompt: str, **body: object) -> str:
    """Starts a background response. Returns its id."""
    request = {"model": "fake", "input": prompt, "background": True, **body}
    answer = await api.post("/v1/responses", json=request, headers=bearer(key))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


# --- the key


async def test_without_a_key_the_page_asks_for_one_and_shows_nothing_else(
    browser: Browser, api: httpx.AsyncClient, stack: Stack
) -> None:
    page = Page(browser, str(api.base_url).rstrip("/"))
    await page.open("responses")
    await page.waits_for("#key")
    assert await page.evaluates("document.activeElement.id") == "key"
    assert await page.evaluates("document.querySelectorAll('nav, table, header').length") == 0
    assert (
        await page.evaluates("performance.getEntriesByType('resource').filter(one => one.name.includes('/v1/')).length")
        == 0
    )
    await is_sound(page)
    await page.fill("#key", "not-a-key")
    await page.click("button:text-is('Open the console')")
    await page.waits_for("[role=alert]:has-text('API key')")
    assert await page.evaluates("document.querySelectorAll('nav').length") == 0
    await page.fill("#key", ACME)
    await page.click("button:text-is('Open the console')")
    await page.waits_for("h1:has-text('Responses')")
    await page.waits_for("header:has-text('console-acme')")
    await page.click("button:text-is('Forget the key')")
    await page.waits_for("#key")
    assert await page.evaluates("sessionStorage.length") == 0


async def test_a_tenants_key_is_told_what_it_may_not_see(
    browser: Browser, api: httpx.AsyncClient, stack: Stack
) -> None:
    for view in ("keys", "health"):
        page = await signed_in(browser, api, ACME, view)
        await page.waits_for("main [role=alert]:has-text('Your key may not see')")
        await page.waits_for("nav a:text-is('Responses')")
        await page.waits_for("nav a:text-is('Health')", state="detached")
        await is_sound(page)


# --- keys


async def test_a_key_is_made_used_changed_and_revoked(browser: Browser, api: httpx.AsyncClient, stack: Stack) -> None:
    page = await signed_in(browser, api, OPERATOR, "keys")
    await page.waits_for("[data-testid=keys] tbody tr")
    await page.click("summary:text-is('Make a key')")
    await page.fill("[name=tenant]", "console-gamma")
    await page.fill("[name=name]", "of a test")
    await page.fill("[name=requests_per_minute]", "50")
    await page.click("button:text-is('Make the key')")
    key = await page.text("[data-testid=new-key]")
    await is_sound(page)

    async def status() -> int:
        return (await api.get("/v1/models", headers=bearer(key))).status_code

    assert await status() == 200
    row = "[data-testid=keys] tr:has-text('of a test')"
    await page.waits_for(f"{row}:has-text('requests per minute: 50')")
    await page.click(f"{row} >> button:has-text('Change')")
    await page.fill("dialog [name=requests_per_minute]", "70")
    await is_sound(page)
    await page.click("dialog button:text-is('Save')")
    await page.waits_for(f"{row}:has-text('requests per minute: 70')")
    await page.click(f"{row} >> button:has-text('Revoke')")
    await page.waits_for("dialog:has-text('Revoke the key')")
    await is_sound(page)
    await page.click("dialog button:text-is('Revoke')")
    await page.waits_for(f"{row}:has-text('revoked')")
    assert await status() == 401
    await page.waits_for("[data-testid=changes] tr:has-text('revoked'):has-text('of a test'):has-text('console-ops')")
    # The names for screen readers in a table that scrolls do not widen a phone's page.
    await page.do("setViewportSize", {"width": 390, "height": 800})
    await is_sound(page)


# --- responses


async def test_responses_are_filtered_and_followed_live(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = [upstream.says(f"console row {index}", Script(words=30, hold_after=10)) for index in range(2)]
    ids = [await start(api, key, f"console row {index}") for index, key in enumerate((ACME, BETA))]
    page = await signed_in(browser, api, OPERATOR, "responses")
    for id, tenant in zip(ids, ("console-acme", "console-beta"), strict=True):
        await page.waits_for(f"tr:has-text('{id}'):has-text('{tenant}'):has-text('in progress')")
    await is_sound(page)
    await page.fill("[name=tenant]", "console-acme")
    await page.do("press", "[name=tenant]", "Enter")
    await page.waits_for(f"tr:has-text('{ids[1]}')", state="detached")
    assert "tenant=console-acme" in await page.evaluates("location.hash")
    for script_ in held:
        script_.released.set()
    await page.waits_for(f"tr:has-text('{ids[0]}'):has-text('completed')")
    await page.do("selectOption", "[name=status]", "failed")
    await page.waits_for(f"tr:has-text('{ids[0]}')", state="detached")
    await page.do("goBack")
    await page.click(f"tr >> a:text-is('{ids[0]}')")
    await page.waits_for(f"h1:has-text('{ids[0]}')")
    await page.waits_for("[data-testid=timeline] li")
    await page.waits_for("pre.text:has-text('w29')")
    await page.click("button:text-is('Replay the events')")
    await page.waits_for("[data-testid=raw-events] summary:has-text('response.completed')")
    await is_sound(page)


async def test_two_responses_are_followed_at_once(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held, pages = [], []
    for index in range(2):
        held.append(upstream.says(f"console pair {index}", Script(words=30, hold_after=10)))
        id = await start(api, ACME, f"console pair {index}")
        page = await signed_in(browser, api, ACME, f"responses/{id}", name=f"pair-{index}")
        await page.waits_for("[role=main], main h1")
        await page.click("button:text-is('Replay the events')")
        pages.append(page)
    for page in pages:
        await page.waits_for("[data-testid=raw-events] summary:has-text('output_text.delta')")
    for one in held:
        one.released.set()
    for page in pages:
        await page.waits_for("[data-testid=raw-events] summary:has-text('response.completed')")
        assert "0 gaps, 0 repeats" in " ".join((await page.text("main")).split())
        await page.waits_for(".status-completed")
        await page.do("close")


async def test_a_response_is_cancelled_and_run_again(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = upstream.says("console cancels", Script(words=30, hold_after=10))
    id = await start(api, ACME, "console cancels")
    page = await signed_in(browser, api, ACME, f"responses/{id}")
    await page.click("button:text-is('Cancel')")
    await page.waits_for("dialog:has-text('Cancel this response?')")
    await page.click("dialog button:text-is('Cancel the response')")
    await page.waits_for("main .status:text-is('cancelled')")
    held.released.set()
    upstream.says("console cancels", Script(words=5))
    await page.click("button:text-is('Run again')")
    await page.waits_until("location.hash.startsWith('#/responses/resp_') && !location.hash.endsWith(given)", id)
    await page.waits_for("main .status-completed")
    await page.waits_for("pre.text:has-text('w4')")
    await is_sound(page)


# --- approvals


@pytest.mark.parametrize("approves", [True, False], ids=["approved", "denied"])
async def test_a_waiting_call_is_answered_in_the_list(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream, approves: bool
) -> None:
    prompt = f"console list asks {approves}"
    script(upstream, prompt, calls(("c1", "delete_all", {})), Script(literal="All is said. "))
    id = await start(api, ACME, prompt, tools=[{"type": "function", "name": "delete_all"}])
    page = await signed_in(browser, api, OPERATOR, "approvals")
    card = f"section:has-text('{id}')"
    await page.waits_for(f"{card}:has-text('delete_all'):has-text('console-acme')")
    await is_sound(page)
    await page.click(f"{card} >> button:has-text('{'Approve' if approves else 'Deny'}')")
    await page.waits_for(card, state="detached")
    for _ in range(600):
        answer = await api.get(f"/v1/responses/{id}", headers=bearer(ACME))
        if answer.json()["status"] == "completed":
            break
        await asyncio.sleep(0.1)
    assert answer.json()["status"] == "completed"


# --- usage, health, many


async def test_usage_has_a_chart_by_day_and_bars_by_tenant_and_model(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("console counts", Script(words=30))
    answer = await api.post("/v1/responses", json={"model": "fake", "input": "console counts"}, headers=bearer(ACME))
    assert answer.status_code == 200
    page = await signed_in(browser, api, OPERATOR, "usage")
    await page.waits_for("[data-testid=usage] tbody tr")
    await page.waits_for("svg[role=img]")
    await is_sound(page)
    for group, value in (("tenant", "console-acme"), ("model", "fake")):
        await page.do("selectOption", "label:has-text('By') >> select >> nth=0", group)
        await page.waits_for(f"[data-testid=usage] th:text-is('{value}')")
        await is_sound(page)


async def test_health_names_workers_and_providers(browser: Browser, api: httpx.AsyncClient, stack: Stack) -> None:
    page = await signed_in(browser, api, OPERATOR, "health")
    await page.waits_for("[data-testid=health]:has-text('Temporal')")
    await page.waits_for("table:has-text('worker-') >> tbody tr >> nth=1")
    await page.waits_for("table:has-text('Breaker') >> tr:has-text('openai-chat') >> nth=0")
    await page.waits_for("[data-testid=restart]:has-text('Restarting is safe')")
    assert (await api.get("/v1/responses", params={"limit": "x"}, headers=bearer(BETA))).status_code == 400
    await page.waits_for("[data-testid=refusals] tr:has-text('console-beta'):has-text('invalid_value')")
    await is_sound(page)
    await page.do("setViewportSize", {"width": 390, "height": 800})
    await is_sound(page)


async def test_a_response_shows_its_cost(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("console has a price", Script(words=3))
    id = await start(api, ACME, "console has a price", model="console-priced")
    page = await signed_in(browser, api, OPERATOR, f"responses/{id}")
    await page.waits_for("dl.facts div:has-text('Cost') >> dd:has-text('$')")
    await page.waits_for("dl.facts div:has-text('Took') >> dd:has-text('s')")
    await is_sound(page)


async def test_a_thousand_responses_are_paged_and_the_page_stays_quick(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("console many", Script(words=1))
    gate = asyncio.Semaphore(16)

    async def one() -> None:
        async with gate:
            body = {"model": "fake", "input": "console many"}
            assert (await api.post("/v1/responses", json=body, headers=bearer(BETA))).status_code == 200

    await asyncio.gather(*(one() for _ in range(MANY)))
    page = await signed_in(browser, api, BETA, "responses")
    rows = "[data-testid=responses] tbody tr"
    for shown in (20, 60, 100, 200, 300):
        await page.waits_until("document.querySelectorAll(given[0]).length === given[1]", [rows, shown])
        if shown < 300:
            await page.click("button:text-is('Show more')")
    ids = await page.evaluates(f"[...document.querySelectorAll('{rows} th')].map(one => one.textContent)")
    assert len(set(ids)) == 300
    await page.click("button:text-is('Back to the newest')")
    await page.waits_until("document.querySelectorAll(given).length === 20", rows)
    await is_sound(page)
