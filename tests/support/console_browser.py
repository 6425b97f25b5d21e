"""Chromium at the console, driven by Playwright (`tests/console/node/driver.mjs`)."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from tests.support.npm_packages import installed

SOURCE = Path(__file__).parents[1] / "console" / "node"
_WIDER = """(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width + 1) return [];
    const wide = [...document.querySelectorAll("body *")].filter(one => one.getBoundingClientRect().right > width + 1);
    return wide.map(one => one.outerHTML.slice(0, 100));
})()"""
KEEPS_WHAT_IS_SAVED = """(() => {
    const usual = URL.createObjectURL;
    URL.createObjectURL = blob => { blob.text().then(text => { window.saved = text; }); return usual(blob); };
})()"""
"""The page keeps in `saved` the text of what its reader saves as a file."""
# An answer of the driver may hold a page's whole text.
_LONGEST_LINE = 64 * 1024 * 1024


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name)) is not None), None)


def reason_to_skip() -> str | None:
    if chromium() is None:
        return "needs Chromium on the PATH (Debian: apt-get install chromium)"
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "needs Node.js 20 or newer and npm on the PATH"
    return None


class BrowserError(AssertionError):
    """The browser could not do what a test wanted, e.g. the element did not appear in time."""


class Browser:
    """One Chromium with pages by name."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def launched(cls) -> AsyncIterator[Self]:
        """Skips the test where Chromium or npm is missing."""
        reason = reason_to_skip()
        if reason is not None:
            pytest.skip(reason)
        folder = await asyncio.to_thread(installed, SOURCE, "driver.mjs")
        process = await asyncio.create_subprocess_exec(
            "node", "driver.mjs", str(chromium()), cwd=folder, stdin=-1, stdout=-1, limit=_LONGEST_LINE
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                await asyncio.wait_for(process.wait(), 50)
            except TimeoutError:
                process.kill()

    async def call(self, page: str, method: str, *args: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            line = json.dumps({"page": page, "method": method, "args": args})
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
            answer = await self._process.stdout.readline()
        if not answer:
            raise BrowserError("Chromium's driver has ended")
        found = json.loads(answer)
        if "error" in found:
            raise BrowserError(found["error"])
        return found["result"]


class Page:
    """A page at one console. `url` is the API's address."""

    def __init__(self, browser: Browser, url: str, name: str = "main") -> None:
        self._browser, self.url, self._name = browser, url, name

    async def do(self, method: str, *args: Any) -> Any:
        """A method of Playwright's page. Raises BrowserError."""
        return await self._browser.call(self._name, method, *args)

    async def open(self, view: str = "play", **options: Any) -> None:
        """In a browser context of its own, without what another page has stored."""
        await self.do("open", options)
        await self.go(view)

    async def go(self, view: str) -> None:
        await self.do("goto", f"{self.url}/#/{view}")

    async def click(self, selector: str) -> None:
        await self.do("click", selector)

    async def fill(self, selector: str, value: str) -> None:
        await self.do("fill", selector, value)

    async def text(self, selector: str) -> str:
        return str(await self.do("textContent", selector))

    async def waits_for(self, selector: str, state: str = "visible", seconds: float = 40) -> None:
        await self.do("waitForSelector", selector, {"state": state, "timeout": seconds * 1000})

    async def waits_until(self, condition: str, argument: Any = None, seconds: float = 40) -> None:
        """Until this JavaScript is true; `given` in it is the argument."""
        script = f"(given => ({condition}))({json.dumps(argument)})"
        await self.do("until", script, seconds * 1000)

    async def evaluates(self, script: str) -> Any:
        return await self.do("evaluate", script)

    async def violations(self) -> list[str]:
        """What axe finds: rules of WCAG 2.2 A and AA, and its best practices."""
        found: list[str] = await self.do("axe")
        return found

    async def problems(self) -> list[str]:
        """Errors in the browser's console since the last call: exceptions, and what the page's policy blocked."""
        found: list[str] = await self.do("problems")
        return found

    async def wider_than_the_window(self) -> list[str]:
        """The elements because of which the page scrolls sideways."""
        found: list[str] = await self.evaluates(_WIDER)
        return found


async def signed_in(browser: Browser, api: httpx.AsyncClient, key: str, view: str, name: str = "main") -> Page:
    """A page at this view, for which the key has been entered."""
    page = Page(browser, str(api.base_url).rstrip("/"), name)
    await page.open(view, viewport={"width": 1280, "height": 900})
    await page.fill("#key", key)
    await page.click("button:text-is('Open the console')")
    await page.waits_for("nav")
    return page


async def is_sound(page: Page) -> None:
    """Nothing that axe finds, and no complaint of the browser."""
    assert await page.violations() == []
    assert await page.problems() == []


async def fits_a_phone(page: Page) -> None:
    """As `is_sound`, on a phone in the dark, and the page does not scroll sideways. The window is restored."""
    await page.do("setViewportSize", {"width": 360, "height": 740})
    await page.do("emulateMedia", {"colorScheme": "dark"})
    await is_sound(page)
    assert await page.wider_than_the_window() == []
    await page.do("emulateMedia", {"colorScheme": "light"})
    await page.do("setViewportSize", {"width": 1280, "height": 900})
