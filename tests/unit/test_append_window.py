"""An appender waits for more events only where many come."""

from __future__ import annotations

import asyncio

from open_responses.io.log.append_window import AppendWindow


async def made(*, busy: bool) -> AppendWindow:
    """With a window that no test lasts as long as."""
    window = AppendWindow(seconds=3600)
    while window._is_busy != busy:
        window.sent(100_000 if busy else 0)
        await asyncio.sleep(0.01)
    return window


async def test_it_waits_for_nothing_until_many_batches_were_sent() -> None:
    window = AppendWindow(seconds=3600)
    await window.wait()
    window.sent(3)
    await window.wait()


async def test_what_is_urgent_ends_the_wait_and_the_next_one_waits_again() -> None:
    window = await made(busy=True)
    waiting = asyncio.create_task(window.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    window.close()
    await waiting
    again = asyncio.create_task(window.wait())
    await asyncio.sleep(0)
    assert not again.done()
    again.cancel()


async def test_what_is_urgent_before_the_wait_is_not_waited_for() -> None:
    window = await made(busy=True)
    window.close()
    await window.wait()


async def test_it_ends_by_itself() -> None:
    window = AppendWindow(seconds=0.001)
    window._is_busy = True
    await window.wait()


async def test_a_process_that_becomes_quiet_waits_no_more() -> None:
    window = await made(busy=True)
    while window._is_busy:
        window.sent(0)
        await asyncio.sleep(0.01)
    await window.wait()
