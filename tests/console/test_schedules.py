"""The console's schedules in real Chromium. `make test-all`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest
import pytest_asyncio

from tests.support.api_with_keys import bearer, key_block
from tests.support.console_browser import Browser, fits_a_phone, is_sound, signed_in
from tests.support.fake_upstream import Script, Upstream
from tests.support.schedules import SCHEDULES, made
from tests.support.stack import Stack, another_api

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

ACME, BETA = "acme-of-the-schedules", "beta-of-the-schedules"
WORDS = {
    "30 9 * * mon-fri": "at 09:30, Monday to Friday",
    "0 * * * *": "at minute 0 of every hour, every day",
    "*/15 9-17 * * *": "every 15 minutes, in the hours 9 to 17, every day",
    "0 9,17 1,15 * 1": "at 09:00 and 17:00, on day 1 and 15 of the month or on Monday",
    "5 */2 * jan,mar-may *": "at minute 5, every 2 hours, every day, in January and March to May",
    "@weekly": "at 00:00, on Sunday",
    "0 0 * * 7": "at 00:00, on Sunday",
    # Words that are wrong would be worse than none.
    "*/45 * * * *": "*/45 * * * *",
    "0 1-23/3 * * *": "0 1-23/3 * * *",
    "not a cron": "not a cron",
}
_IN_WORDS = """(async () => {
    const { cronInWords } = await import("/console/cron_words.js");
    return GIVEN.map(cronInWords);
})()"""


@pytest_asyncio.fixture(scope="module")
async def api(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    await session_stack.heal()
    async with another_api(
        session_stack, tail="\n".join([key_block("schedules-acme", ACME), key_block("schedules-beta", BETA)])
    ) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def browser(api: httpx.AsyncClient) -> AsyncIterator[Browser]:
    async with Browser.launched() as browser:
        yield browser


async def test_a_schedule_is_made_run_paused_changed_and_deleted(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("console report", Script(words=3))
    page = await signed_in(browser, api, ACME, "schedules")
    await page.waits_for("text=There are no schedules yet.")
    await is_sound(page)
    await page.click("summary:text-is('Create a schedule')")
    await page.fill("[name=name]", "Morning report")
    await page.fill("[name=cron]", "* * * *")
    await page.fill("[name=timezone]", "Europe/Berlin")
    await page.fill("[name=model]", "fake")
    await page.fill("[name=input]", "console report")
    await page.click("button:text-is('Create the schedule')")
    await page.waits_for("main .problem:has-text(\"'cron'\")")
    await page.fill("[name=cron]", "30 9 * * mon-fri")
    await page.waits_for("#cron-words:has-text('at 09:30, Monday to Friday')")
    await page.fill("[name=members]", '["no object"]')
    await page.click("button:text-is('Create the schedule')")
    await page.waits_for("main .problem:has-text('must be an object in JSON')")
    await is_sound(page)
    await page.fill("[name=members]", '{"metadata": {"of": "the console"}}')
    await page.click("button:text-is('Create the schedule')")
    await page.waits_for("h1:text-is('Morning report')")
    await page.waits_for("main:has-text('at 09:30, Monday to Friday') .status-active")
    await page.waits_until("document.querySelectorAll('[data-testid=next-runs] li').length === 5")
    await page.waits_for("pre:has-text('the console')")
    await page.waits_for("text=It has not run yet")
    await page.click("button:text-is('Run now')")
    await page.waits_for("[data-testid=runs] tr:has(.status-completed) a[href^='#/responses/resp_']")
    await is_sound(page)
    await fits_a_phone(page)
    await page.click("button:text-is('Pause')")
    await page.waits_for("main .status-paused")
    await page.waits_for("text=None while it is paused.")
    await page.click("button:text-is('Change')")
    await page.fill("dialog [name=name]", "Evening report")
    await page.fill("dialog [name=cron]", "0 18 * * *")
    await page.do("selectOption", "dialog [name=overlap]", "queue")
    await is_sound(page)
    await page.click("dialog button:text-is('Save')")
    await page.waits_for("h1:text-is('Evening report')")
    await page.waits_for("[data-testid=schedule-facts]:has-text('when the response before has ended')")
    await page.click("button:text-is('Resume')")
    await page.waits_for("main .status-active")
    other = await signed_in(browser, api, BETA, "schedules", name="beta")
    await other.waits_for("text=There are no schedules yet.")
    await other.do("close")
    await page.go("schedules")
    row = "[data-testid=schedules] tr:has-text('Evening report')"
    await page.waits_for(f"{row}:has-text('at 18:00, every day'):has-text('1 run')")
    await page.waits_for(f"{row} td a[href^='#/responses/resp_'] .status-completed")
    await is_sound(page)
    await fits_a_phone(page)
    await page.click(f"{row} >> th a")
    await page.click("button:text-is('Delete')")
    await page.click("dialog button:text-is('Delete the schedule')")
    await page.waits_for("text=There are no schedules yet.")


async def test_a_run_that_was_refused_says_why_and_a_time_is_chosen_by_a_calendar(
    browser: Browser, api: httpx.AsyncClient, stack: Stack
) -> None:
    page = await signed_in(browser, api, BETA, "schedules")
    await page.click("summary:text-is('Create a schedule')")
    await page.fill("[name=name]", "Once")
    await page.click("label:has-text('once, at a time')")
    await page.fill("[name=at]", (datetime.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M"))
    await page.fill("[name=model]", "fake")
    await page.fill("[name=input]", "console once")
    await page.fill("[name=members]", '{"conversation": "conv_that_is_not_there"}')
    await page.click("button:text-is('Create the schedule')")
    await page.waits_for("main .problem:has-text('conv_that_is_not_there')")
    conversation = (await api.post("/v1/conversations", json={}, headers=bearer(BETA))).json()["id"]
    await page.fill("[name=members]", f'{{"conversation": "{conversation}"}}')
    await page.click("button:text-is('Create the schedule')")
    await page.waits_for("h1:text-is('Once')")
    await page.waits_for("main:has-text('once, at')")
    await api.delete(f"/v1/conversations/{conversation}", headers=bearer(BETA))
    await page.click("button:text-is('Run now')")
    await page.waits_for("[data-testid=runs] tr:has(.status-refused):has-text('not_found')")
    await is_sound(page)
    await page.go("schedules/sched_nothing")
    await page.waits_for(".problem:has-text('There is no schedule with this id')")
    await is_sound(page)


async def test_a_cron_expression_is_said_in_words_or_stays_as_it_is(
    browser: Browser, api: httpx.AsyncClient, stack: Stack
) -> None:
    page = await signed_in(browser, api, ACME, "schedules")
    said = await page.evaluates(_IN_WORDS.replace("GIVEN", repr(list(WORDS))))
    assert dict(zip(WORDS, said, strict=True)) == WORDS


async def test_what_somebody_types_stays_while_the_page_is_loaded_again(
    browser: Browser, api: httpx.AsyncClient, stack: Stack
) -> None:
    schedule = await made(api, bearer(ACME), cron="30 9 * * *", name="typed", paused=True)
    page = await signed_in(browser, api, ACME, f"schedules/{schedule['id']}")
    await page.click("button:text-is('Change')")
    await page.fill("dialog [name=name]", "half a na")
    await page.evaluates("performance.clearResourceTimings()")
    await page.waits_until(
        "performance.getEntriesByType('resource').filter(one => one.name.includes('sched_')).length > 2"
    )
    assert await page.evaluates("document.querySelector('dialog [name=name]').value") == "half a na"
    await page.do("press", "dialog [name=name]", "Escape")
    await page.go("responses")
    await page.waits_for("[name=model]")
    # The event of a change comes when the field is left.
    await page.evaluates(_TYPES)
    await page.evaluates("performance.clearResourceTimings()")
    await page.waits_until("performance.getEntriesByType('resource').length > 2")
    assert await page.evaluates("document.querySelector('[name=model]').value") == "fak"
    await api.delete(f"{SCHEDULES}/{schedule['id']}", headers=bearer(ACME))


_TYPES = """(() => {
    const field = document.querySelector("[name=model]");
    field.focus();
    field.value = "fak";
    field.dispatchEvent(new Event("input", { bubbles: true }));
})()"""
