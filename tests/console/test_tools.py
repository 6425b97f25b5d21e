"""The console's view of tools, agents, waits and steering in real Chromium. `make test-all`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.api_with_keys import bearer, key_block
from tests.support.built_in_engines import SOURCE
from tests.support.console_browser import KEEPS_WHAT_IS_SAVED, Browser, fits_a_phone, is_sound, signed_in
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import HOSTED, script
from tests.support.stack import Stack, another_api

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

ACME = "acme-of-the-tools"
ROUTE = '[[routes]]\nmodel = "tools-priced"\nprovider = "fake"\nprice = { input = 1000, output = 2000 }'
CODE = "numbers = [1, 2, 3]\n_ = open('sum.txt', 'w').write('It is six.')\nsum(numbers)"
_SENDS_ELSEWHERE = """(() => {
    const usual = fetch;
    const gone = "/v1/responses/resp_none/steer";
    window.keys = [];
    window.fetch = (path, options) => {
        if (!path.endsWith("/steer")) return usual(path, options);
        window.keys.push(options.headers["Idempotency-Key"]);
        return usual(gone, options);
    };
})()"""
PROGRAM = 'print((await get_weather(city="Berlin"))["city"])'


@pytest_asyncio.fixture(scope="module")
async def api(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    await session_stack.heal()
    async with another_api(session_stack, tail="\n".join([key_block("tools-acme", ACME), ROUTE])) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def browser(api: httpx.AsyncClient) -> AsyncIterator[Browser]:
    async with Browser.launched() as browser:
        yield browser


async def start(api: httpx.AsyncClient, prompt: str, **body: Any) -> str:
    """Starts a background response. Returns its id."""
    request = {"model": "fake", "input": prompt, "background": True, **body}
    answer = await api.post("/v1/responses", json=request, headers=bearer(ACME))
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def test_an_agent_is_linked_with_its_caller_and_shows_its_status_and_tokens(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    research = upstream.says("console, research it", Script(words=4, hold_after=2))
    script(
        upstream, "console asks an agent", calls(("r", "researcher", {"task": "console, research it"})), Script(words=2)
    )
    parent = await start(api, "console asks an agent", tools=HOSTED)
    page = await signed_in(browser, api, ACME, f"responses/{parent}")
    row = "[data-testid=agents] tr:has-text('researcher')"
    await page.waits_for(f"{row} .status-in_progress")
    await page.waits_for("[data-testid=timeline] li:has-text('researcher'):has-text('running')")
    await is_sound(page)
    await page.click(f"{row} >> a")
    await page.waits_for(f"[data-testid=caller] a:text-is('{parent}')")
    await asyncio.wait_for(research.held.wait(), 50)
    await is_sound(page)
    await page.click("[data-testid=caller] a")
    await page.waits_for(f"h1:text-is('{parent}')")
    research.released.set()
    await page.waits_for(f"{row} .status-completed")
    await page.waits_for("main > p .status-completed")
    cells = await page.evaluates(
        "[...document.querySelectorAll('[data-testid=agents] tbody td')].map(one => one.textContent)"
    )
    assert cells[2] == "fake"
    assert all(int(tokens) > 0 for tokens in cells[4:6]), cells
    await page.waits_for(
        "section:has-text('Output of researcher'):has-text('w0 w1 w2 w3') a[href^='#/responses/resp_']"
    )
    await is_sound(page)
    await fits_a_phone(page)


async def test_a_wait_shows_until_when_and_a_message_from_the_page_ends_it(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script(upstream, "console waits", calls(("w", "wait_until", {"seconds": 1800})))
    upstream.says("Go on <b>now</b>.", Script(words=3))
    response = await start(api, "console waits", tools=HOSTED)
    page = await signed_in(browser, api, ACME, f"responses/{response}")
    await page.waits_for("[data-testid=wait]:has-text('Waits until'):has-text('29 min')")
    await page.waits_for("[data-testid=timeline] li:has-text('for 30 min')")
    await is_sound(page)
    await fits_a_phone(page)
    await page.fill("[data-testid=steer] textarea", "Go on <b>now</b>.")
    await page.click("button:text-is('Send to the response')")
    steered = "section.item-steered:has-text('Message of the user, while it ran')"
    await page.waits_for(f"{steered} pre:has-text('Go on <b>now</b>.')")
    await page.waits_for("main > p .status-completed")
    await page.waits_for("[data-testid=wait]", state="detached")
    await page.waits_for("[data-testid=steer]", state="detached")
    await is_sound(page)


async def test_a_message_that_comes_too_late_is_refused_in_the_apis_words(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = upstream.says("console is late", Script(words=3, hold_after=1))
    response = await start(api, "console is late")
    page = await signed_in(browser, api, ACME, f"responses/{response}")
    await page.fill("[data-testid=steer] textarea", "A message")
    # The page does not know yet that the response has ended.
    await page.evaluates(_SENDS_ELSEWHERE)
    await page.click("button:text-is('Send to the response')")
    await page.waits_for("[data-testid=steer] .problem")
    assert await page.evaluates("document.querySelector('[data-testid=steer] textarea').value") == "A message"
    for message in ("A message", "Another message"):
        await page.fill("[data-testid=steer] textarea", message)
        await page.click("button:text-is('Send to the response')")
        await page.waits_for("[data-testid=steer] button:not([disabled])")
    first, again, other = await page.evaluates("window.keys")
    assert first == again != other, "a message that is sent again is the same submission"
    held.released.set()


async def test_calls_of_built_in_tools_are_shown_as_what_they_are(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script(
        upstream,
        "console uses tools",
        calls(("s", "web_search", {"query": "lakes of Berlin"})),
        calls(("c", "code_interpreter", {"code": CODE})),
        calls(("p", "run_program", {"code": PROGRAM})),
        Script(literal="It has lakes【1:1】 & <b>more</b>."),
    )
    response = await start(
        api,
        "console uses tools",
        tools=[
            {"type": "web_search"},
            {"type": "code_interpreter", "container": {"type": "auto"}},
            {"type": "programmatic_tool_calling"},
            {"type": "function", "name": "get_weather"},
        ],
        include=["web_search_call.action.sources", "code_interpreter_call.outputs"],
    )
    page = await signed_in(browser, api, ACME, f"responses/{response}")
    await page.waits_for("main > p .status-completed")
    found = "section:has(h3:has-text('{}'))"
    link = f".sources a[href='{SOURCE['url']}'][rel*=noreferrer]"
    await page.waits_for(f"{found.format('Searches the web')}:has-text('lakes of Berlin') {link}")
    await page.waits_for(f"{found.format('Runs Python')} pre.code:has-text('sum(numbers)')")
    await page.waits_for(f"{found.format('Runs Python')}:has-text('Output') pre.code:has-text('6')")
    await page.waits_for(f"{found.format('Runs a program that calls tools')} pre.code:has-text('get_weather')")
    await page.click("[data-testid=container-files] summary")
    await page.waits_for(
        "[data-testid=container-files] li:has-text('/mnt/data/sum.txt'):has-text('written by the code')"
    )
    await page.evaluates(KEEPS_WHAT_IS_SAVED)
    await page.click("[data-testid=container-files] button:has-text('Download')")
    await page.waits_until("window.saved === given", "It is six.")
    await page.waits_for("h3:has-text('Calls get_weather, for the program')")
    await page.waits_for(f"{found.format('Output of the program')} pre.code:has-text('Berlin')")
    await page.waits_for(f"{found.format('Answer')}:has-text('& <b>more</b>') .sources a:text-is('Berlin')")
    await is_sound(page)
    await fits_a_phone(page)


async def test_the_playground_sends_built_in_tools_and_searches_the_chosen_store(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    form: Any = {
        "data": {"purpose": "assistants"},
        "files": {"file": ("cats.txt", b"Cats sleep for sixteen hours a day.")},
    }
    file = (await api.post("/v1/files", headers=bearer(ACME), **form)).json()["id"]
    body = {"name": "Animals", "file_ids": [file]}
    store = (await api.post("/v1/vector_stores", json=body, headers=bearer(ACME))).json()["id"]
    page = await signed_in(browser, api, ACME, f"stores/{store}")
    await page.waits_for("[data-testid=store-facts]:has-text('1 ready')")
    answer = Script(literal="Sixteen hours【1:1】, all in all.", hold_after=2)
    script(upstream, "console sleeps", calls(("f", "file_search", {"queries": ["sleep of cats"]})), answer)
    await page.go("play")
    await page.waits_for("#model")
    await page.do("check", "label:has-text('Search vector stores') input")
    await page.waits_for("text=Choose a store.")
    await page.do("check", "label:has-text('Animals') input")
    await is_sound(page)
    await page.fill("#model", "fake")
    await page.fill("#input", "console sleeps")
    await page.click("button:text-is('Send')")
    call = "section:has(h2:has-text('Searches files'))"
    await page.waits_for(f"{call}:has-text('sleep of cats') summary:has-text('One passage')")
    await page.click(f"{call} >> summary")
    await page.waits_for(f"{call} pre:has-text('sixteen hours a day')")
    await page.waits_for("[data-testid=steer] textarea")
    await is_sound(page)
    await page.fill("[data-testid=steer] textarea", "console wakes")
    upstream.says("console wakes", Script(words=2))
    await page.click("button:text-is('Send to the response')")
    await page.waits_for("[data-testid=steer] [role=status]:has-text('console wakes')")
    answer.released.set()
    await page.waits_for("section.item-steered:has-text('console wakes')")
    await page.waits_for(".turn[aria-busy=false] .status-completed")
    await page.waits_for(
        "section:has(h2:has-text('Answer')):has-text('Sixteen hours, all in all.') .sources:has-text('cats.txt')"
    )
    await is_sound(page)
