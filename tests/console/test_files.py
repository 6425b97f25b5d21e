"""The console's files and vector stores in real Chromium. `make test-all`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.api_with_keys import bearer, key_block
from tests.support.console_browser import KEEPS_WHAT_IS_SAVED, Browser, fits_a_phone, is_sound, signed_in
from tests.support.stack import Stack, another_api

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

ACME, BETA, NARROW = "acme-of-the-files", "beta-of-the-files", "narrow-of-the-files"
KEYS = [
    key_block("files-acme", ACME),
    key_block("files-beta", BETA),
    key_block("files-narrow", NARROW, 'tools = ["get_weather"]'),
]
CATS = "Cats sleep for sixteen hours a day, and are most active at dawn."
LAW = "The tenant pays the rent on the first working day of each month."
HOSTILE = "<img src=x onerror=alert(1)>.txt"
_HALF_SENT = """(() => {
    XMLHttpRequest.prototype.send = function () {
        this.upload.onprogress({lengthComputable: true, loaded: 1, total: 2});
        this.abort = () => this.onabort();
    };
})()"""


@pytest_asyncio.fixture(scope="module")
async def api(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    await session_stack.heal()
    async with another_api(session_stack, tail="\n".join(KEYS)) as client:
        yield client


@pytest_asyncio.fixture(scope="module")
async def browser(api: httpx.AsyncClient) -> AsyncIterator[Browser]:
    async with Browser.launched() as browser:
        yield browser


def on_disk(folder: Path, contents: dict[str, str | bytes]) -> list[str]:
    """Files with these names. Returns their paths."""
    for name, content in contents.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [str(folder / name) for name in contents]


async def uploaded(api: httpx.AsyncClient, key: str, name: str, content: str) -> str:
    form: Any = {"data": {"purpose": "assistants"}, "files": {"file": (name, content.encode())}}
    answer = await api.post("/v1/files", headers=bearer(key), **form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def row(name: str, table: str = "files") -> str:
    return f"[data-testid={table}] tr:has(th:has-text('{name}'))"


async def test_files_are_uploaded_downloaded_and_deleted_and_no_other_tenant_sees_them(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, tmp_path: Path
) -> None:
    page = await signed_in(browser, api, ACME, "files")
    await page.waits_for("text=There are no files yet.")
    await is_sound(page)
    await page.do("selectOption", "label:has-text('Expires') >> select", "86400")
    paths = on_disk(tmp_path, {"cats.txt": CATS, HOSTILE: LAW, "large.bin": b"\x00" * 500_000})
    await page.do("setInputFiles", "#upload", paths)
    await page.waits_for(".upload:has-text('cats.txt'):has-text('uploaded')")
    await page.waits_for(".upload:has-text('large.bin') .problem:has-text('400000 bytes')")
    await page.waits_for(f"{row('cats.txt')}:has-text('{len(CATS)} B'):has-text('assistants')")
    assert await page.text(f"{row('onerror')} >> th") == HOSTILE
    assert await page.evaluates("document.querySelectorAll('table img').length") == 0
    stored = (await api.get("/v1/files", headers=bearer(ACME))).json()["data"]
    assert [file["expires_at"] - file["created_at"] for file in stored] == [86400, 86400]
    await is_sound(page)
    await fits_a_phone(page)
    await page.evaluates(KEEPS_WHAT_IS_SAVED)
    await page.click(f"{row('cats.txt')} >> button:has-text('Download')")
    await page.waits_until("window.saved === given", CATS)
    other = await signed_in(browser, api, BETA, "files", name="beta")
    await other.waits_for("text=There are no files yet.")
    await other.do("close")
    await page.click(f"{row('cats.txt')} >> button:has-text('Delete')")
    await page.waits_for("dialog:has-text('Delete cats.txt?')")
    await is_sound(page)
    await page.click("dialog button:text-is('Keep it')")
    await page.waits_for(row("cats.txt"))
    await page.click(f"{row('cats.txt')} >> button:has-text('Delete')")
    await page.click("dialog button:text-is('Delete the file')")
    await page.waits_for(row("cats.txt"), state="detached")
    await page.click("button:text-is('Clear this list')")
    await page.waits_for(".upload", state="detached")


async def test_an_upload_shows_how_far_it_is_and_is_stopped(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, tmp_path: Path
) -> None:
    page = await signed_in(browser, api, BETA, "files")
    await page.evaluates(_HALF_SENT)
    await page.do("setInputFiles", "#upload", on_disk(tmp_path, {"first.txt": CATS, "second.txt": LAW}))
    await page.waits_for(".upload:has-text('first.txt'):has-text('50 %') progress[value='0.5']")
    await page.waits_for(".upload:has-text('second.txt'):has-text('waits')")
    await is_sound(page)
    await page.go("responses")
    await page.waits_for("h1:has-text('Responses')")
    await page.go("files")
    for name in ("second.txt", "first.txt"):
        await page.click(f".upload:has-text('{name}') >> button:has-text('Stop')")
        await page.waits_for(f".upload:has-text('{name}'):has-text('stopped')")
    assert (await api.get("/v1/files", headers=bearer(BETA))).json()["data"] == []


async def test_a_store_is_made_filled_and_searched_and_says_why_a_file_was_not_read(
    browser: Browser, api: httpx.AsyncClient, stack: Stack, tmp_path: Path
) -> None:
    page = await signed_in(browser, api, ACME, "stores")
    await page.waits_for("text=There are no vector stores yet.")
    await page.waits_for("[data-testid=search-is-off]", state="detached")
    await is_sound(page)
    await page.click("summary:text-is('Create a vector store')")
    await page.fill("[name=name]", "Handbook <b>")
    await page.fill("[name=days]", "7")
    await page.click("button:text-is('Create the store')")
    await page.waits_for("h1:text-is('Handbook <b>')")
    await page.waits_for("text=This store has no files.")
    await page.click("summary:text-is('Add files')")
    await page.fill("details textarea", "topic = animals\nyear = 2024")
    await page.do("setInputFiles", "#upload", on_disk(tmp_path, {"cats.txt": CATS, "odd.bin": b"\x00\x01" * 100}))
    await page.waits_for(
        f"{row('cats.txt', 'store-files')}:has-text('completed'):has-text('topic = animals, year = 2024')"
    )
    await page.waits_for(f"{row('odd.bin', 'store-files')}:has-text('failed'):has-text('unsupported_file')")
    law = await uploaded(api, ACME, "law.txt", LAW)
    await page.do("reload")
    await page.click("summary:text-is('Add files')")
    await page.do("selectOption", "[name=file_id]", law)
    await page.click("button:text-is('Attach the file')")
    await page.waits_for(f"{row('law.txt', 'store-files')}:has-text('completed')")
    await page.waits_for("[data-testid=store-facts]:has-text('2 ready, 1 failed')")
    await page.click(f"{row('law.txt', 'store-files')} >> button:has-text('Attributes')")
    await page.fill("dialog textarea", "topic = law\nno attribute")
    await is_sound(page)
    await page.click("dialog button:text-is('Save')")
    await page.waits_for("dialog .problem:has-text('is no attribute')")
    await page.fill("dialog textarea", 'topic = law\nfirst = true\nnumber = "5"')
    await page.click("dialog button:text-is('Save')")
    await page.waits_for(f"{row('law.txt', 'store-files')}:has-text('first = true, number = \"5\"')")
    await is_sound(page)
    await page.fill("[name=query]", "How long do cats sleep?")
    await page.click("button:text-is('Search')")
    await page.waits_for("[data-testid=passages] section:first-child:has-text('cats.txt'):has-text('sixteen hours')")
    assert 0.3 < float((await page.text("[data-testid=passages] section:first-child .score")).strip()) <= 1
    await is_sound(page)
    await fits_a_phone(page)
    await page.fill("[name=key]", "topic")
    await page.fill("[name=value]", "law")
    await page.click("button:text-is('Search')")
    await page.waits_for("[role=status]:has-text('1 passage for')")
    await page.waits_for("[data-testid=passages] section:has-text('law.txt')")
    await page.click(f"{row('cats.txt', 'store-files')} >> button:has-text('Text')")
    await page.waits_for(f"dialog pre:has-text('{CATS}')")
    await is_sound(page)
    await page.click("dialog button:text-is('Close')")
    await page.click(f"{row('odd.bin', 'store-files')} >> button:has-text('Remove')")
    await page.click("dialog button:text-is('Take it out')")
    await page.waits_for(row("odd.bin", "store-files"), state="detached")
    await page.go("stores")
    await page.waits_for(f"{row('Handbook', 'stores')}:has-text('2 ready'):has-text('completed')")
    await is_sound(page)
    await fits_a_phone(page)
    await page.click("[data-testid=stores] th >> a")
    await page.click("button:text-is('Delete')")
    await page.click("dialog button:text-is('Delete the store')")
    await page.waits_for("text=There are no vector stores yet.")


async def test_a_store_shows_how_many_of_its_files_have_been_read(
    browser: Browser, api: httpx.AsyncClient, stack: Stack
) -> None:
    page = await signed_in(browser, api, BETA, "stores")
    found = await page.evaluates(_SHOWN_COUNTS)
    assert found == ["3 of 5", "2 ready, 2 being read, 1 failed"]


_SHOWN_COUNTS = """(async () => {
    const { html, render } = await import("/console/ui.js");
    const { FileCounts } = await import("/console/vector_stores.js");
    const place = document.createElement("div");
    render(html`<${FileCounts} counts=${{in_progress: 2, completed: 2, failed: 1, cancelled: 0, total: 5}} />`, place);
    const bar = place.querySelector("progress");
    return [`${bar.value} of ${bar.max}`, place.textContent.trim()];
})()"""


async def test_a_key_without_file_search_reads_that_its_models_cannot_search(
    browser: Browser, api: httpx.AsyncClient, stack: Stack
) -> None:
    page = await signed_in(browser, api, NARROW, "stores")
    await page.waits_for("[data-testid=search-is-off]:has-text('[file_search]')")
    await is_sound(page)
    await page.go("play")
    await page.waits_for("[data-testid=not-enabled]:has-text('web_search, code_interpreter')")
    await is_sound(page)
    await page.go("stores/vs_that_is_not_there")
    await page.waits_for(".problem:has-text('not found')")
    await is_sound(page)
