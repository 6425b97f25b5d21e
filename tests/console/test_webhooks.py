"""The console's webhooks in real Chromium: endpoints, failing receivers, deliveries. `make test-all`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.support.api_with_keys import bearer, key_block
from tests.support.console_browser import Browser, Page, fits_a_phone, is_sound, signed_in
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Stack, another_api
from tests.support.webhook_receiver import WebhookReceiver
from tests.support.webhooks import delivery_of, new_path, received

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

OPERATOR, FILED = "operator-of-the-webhooks", "filed-of-the-webhooks"
KEYS = [
    key_block("webhooks-ops", OPERATOR, 'scopes = ["admin"]'),
    key_block(
        "webhooks-filed",
        FILED,
        "[[api_keys.webhooks]]",
        'url = "http://127.0.0.1:9/of-the-file"',
        'secrets_env = ["NO_SUCH_SECRET"]',
    ),
]


@pytest_asyncio.fixture(scope="module")
async def api(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    await session_stack.heal()
    async with another_api(session_stack, tail="\n".join(KEYS)) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def browser(api: httpx.AsyncClient) -> AsyncIterator[Browser]:
    async with Browser.launched() as browser:
        yield browser


async def key_of(api: httpx.AsyncClient, tenant: str) -> str:
    """A key that is made at run time, which may have endpoints of its own."""
    answer = await api.post("/v1/admin/keys", json={"tenant": tenant}, headers=bearer(OPERATOR))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


async def create_endpoint(page: Page, name: str, url: str) -> None:
    await page.click("summary:text-is('Create an endpoint')")
    await page.fill("details [name=name]", name)
    await page.fill("details [name=url]", url)
    await page.click("button:text-is('Create the endpoint')")


async def test_an_endpoint_is_made_tested_changed_rotated_and_deleted(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, receiver: WebhookReceiver
) -> None:
    path = new_path()
    page = await signed_in(browser, api, await key_of(api, "webhooks-acme"), "webhooks")
    await page.waits_for("text=Your key has no endpoints yet.")
    await page.waits_for("text=Nothing was sent yet.")
    await is_sound(page)
    await create_endpoint(page, "mine", "http://10.0.0.1/hook")
    await page.waits_for("details .problem:has-text('private')")
    await page.fill("details [name=url]", receiver.url(path))
    await page.do("uncheck", "details input[value='response.cancelled']")
    await page.click("button:text-is('Create the endpoint')")
    assert (await page.text("[data-testid=new-secret]")).startswith("whsec_")
    await is_sound(page)
    await page.click("button:text-is('I have stored it')")
    row = "[data-testid=endpoints] tr:has-text('mine')"
    await page.waits_for(f"{row}:has-text('not used lately'):has-text('response.awaiting_approval')")
    await page.click(f"{row} >> button:has-text('Test')")
    await is_sound(page)
    await page.click("dialog button:text-is('Send the event')")
    await page.waits_for("main [role=status]:has-text('answered the test event with 200')")
    assert len(await received(receiver, path)) == 1
    await page.waits_for(f"{row} .status-delivered")
    await page.click(f"{row} >> button:has-text('Rotate')")
    await is_sound(page)
    await page.click("dialog button:text-is('Rotate the secret')")
    await page.waits_for("[data-testid=new-secret]")
    await page.click(f"{row} >> button:has-text('Change')")
    await page.fill("dialog [name=name]", "renamed")
    await is_sound(page)
    await page.click("dialog button:text-is('Save')")
    row = "[data-testid=endpoints] tr:has-text('renamed')"
    await page.waits_for(row)
    await is_sound(page)
    await fits_a_phone(page)
    await page.click(f"{row} >> button:has-text('Delete')")
    await page.click("dialog button:text-is('Delete the endpoint')")
    await page.waits_for("text=Your key has no endpoints yet.")


async def test_a_receiver_that_fails_stands_out_and_its_event_is_replayed(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream, receiver: WebhookReceiver
) -> None:
    path = new_path()
    receiver.answers(path, 410, 200)
    key = await key_of(api, "webhooks-beta")
    page = await signed_in(browser, api, key, "webhooks")
    await create_endpoint(page, "gone", receiver.url(path))
    await page.waits_for("[data-testid=new-secret]")
    upstream.says("console hooks", Script(words=2))
    body = {"model": "fake", "input": "console hooks", "background": True}
    response = (await api.post("/v1/responses", json=body, headers=bearer(key))).json()["id"]
    await delivery_of(api, response, "failed", **bearer(key))
    await page.waits_for(f"[data-testid=failing]:has-text('{path}'):has-text('410')")
    await page.waits_for("[data-testid=endpoints] tr:has-text('gone') .status-failed:text-is('disabled')")
    row = f"[data-testid=deliveries] tr:has-text('{response}')"
    await page.waits_for(f"{row}:has-text('response.completed'):has-text('1 attempt')")
    await is_sound(page)
    await fits_a_phone(page)
    await page.click("[data-testid=endpoints] tr:has-text('gone') button:has-text('Enable')")
    await page.waits_for("[data-testid=endpoints] tr:has-text('gone') .status-failed:text-is('failed')")
    await page.do("selectOption", "[name=status]", "delivered")
    await page.waits_for("text=No delivery matches.")
    assert "status=delivered" in await page.evaluates("location.hash")
    await page.click("text=Clear")
    await page.click(f"{row} >> th a")
    await page.waits_for("main .problem:has-text('wants no more events')")
    await page.waits_for("[data-testid=attempts] tr:has-text('410')")
    await is_sound(page)
    await page.click("button:text-is('Replay')")
    await page.waits_for("main .status-delivered")
    await page.waits_for("[data-testid=attempts] tr:has-text('answered 200')")
    first, again = await received(receiver, path, 2)
    assert first.id == again.id
    await is_sound(page)
    await page.click("a:text-is('All deliveries')")
    await page.waits_for(row)
    await page.waits_for("[data-testid=failing]", state="detached")


async def test_a_key_of_the_file_and_a_server_without_keys_say_where_endpoints_are(
    browser: Browser, api: httpx.AsyncClient, stack: Stack
) -> None:
    page = await signed_in(browser, api, FILED, "webhooks")
    await page.waits_for("[data-testid=endpoints-elsewhere]:has-text('[[api_keys.webhooks]]')")
    await page.waits_for("[data-testid=endpoints] tr:has-text('/of-the-file'):has-text('in the file')")
    await page.waits_for("summary:text-is('Create an endpoint')", state="detached")
    await is_sound(page)
    await page.click("[data-testid=endpoints] button:has-text('Test')")
    await page.click("dialog button:text-is('Send the event')")
    await page.waits_for("dialog .problem")
    open_page = Page(browser, stack.api_url, "open")
    await open_page.open("webhooks")
    await open_page.waits_for("[data-testid=endpoints-elsewhere]:has-text('this server has none')")
    await is_sound(open_page)
    await open_page.do("close")
