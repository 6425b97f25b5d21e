"""Tools that the server runs for a model: hosted functions, a tool of an MCP server, the web, a wait."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from tests.campaigns.answers import Answer, Misfit, Verdict, check_text
from tests.campaigns.connection import Connection
from tests.campaigns.sessions import Sessions
from tests.support.fake_upstream import calls

_HOSTED = [{"type": "function", "name": "once"}, {"type": "function", "name": "get_weather"}]
_MCP = [{"type": "mcp", "server_label": "calc", "require_approval": "never", "allowed_tools": ["note", "add"]}]


async def hosted_tools(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("hosted tools", background=sessions.draw.random() < 0.3, tools=_HOSTED)
    wanted = (("a", "once", {"text": answer.prompt}), ("b", "get_weather", {"city": "Rome"}))
    sessions.upstream.says(answer.prompt, calls(*wanted, turns=[answer.script]))
    await sessions.settled(connection, [answer], connection.stream(answer))


async def mcp(sessions: Sessions, connection: Connection) -> None:
    answer = sessions.ask("MCP", tools=_MCP)
    sessions.upstream.says(answer.prompt, calls(("a", "note", {"text": answer.prompt}), turns=[answer.script]))
    await sessions.settled(connection, [answer], connection.stream(answer))


async def web_search(sessions: Sessions, connection: Connection) -> None:
    """Two searches side by side, then a page."""
    answer = sessions.ask("web search", tools=[{"type": "web_search"}])
    wanted = [(name, "web_search", {"query": f"{name} in {answer.prompt}"}) for name in ("workers", "tenants")]
    opens = calls(("page", "open_page", {"url": sessions.servers.page_url}))
    # The model reads each search as a turn of its own.
    sessions.upstream.says(answer.prompt, calls(*wanted, turns=[opens, opens, answer.script]))
    done = Counter([*(given["query"] for _, _, given in wanted), sessions.servers.page_url])
    answer.check = partial(check_searches, answer, done)
    await sessions.settled(connection, [answer], connection.stream(answer))


def check_searches(answer: Answer, expected: Counter[str], response: dict[str, Any]) -> None:
    check_text(answer, response)
    found = [item for item in response["output"] if item["type"] == "web_search_call"]
    if failed := [item for item in found if item["status"] != "completed"]:
        raise Misfit(Verdict.LOST, f"{len(failed)} of the calls ended as {failed[0]['status']}: {failed[0]['action']}")
    check_counts(Counter(item["action"].get("query") or item["action"].get("url") for item in found), expected)


async def wait(sessions: Sessions, connection: Connection) -> None:
    """A durable timer that ends in the middle of the faults, and never before its time."""
    answer = sessions.ask("wait", background=True, tools=[{"type": "function", "name": "wait_until"}])
    seconds = sessions.draw.randrange(1, 6)
    sessions.upstream.says(answer.prompt, calls(("w", "wait_until", {"seconds": seconds}), turns=[answer.script]))
    answer.check = partial(check_wait, answer, seconds)
    await sessions.settled(connection, [answer], connection.stream(answer))


def check_wait(answer: Answer, seconds: int, response: dict[str, Any]) -> None:
    check_text(answer, response)
    said = [item["output"] for item in response["output"] if item["type"] == "function_call_output"]
    check_counts(Counter(said), Counter([f"The wait is over: it was for {seconds} s."]))
    # Both times are whole seconds.
    took = response["completed_at"] - response["created_at"]
    if took < seconds - 1:
        raise Misfit(Verdict.WRONG, f"a wait of {seconds} s was over after {took} s")


def check_counts(found: Counter[str], expected: Counter[str]) -> None:
    """Each is there as often as it must be. Raises Misfit."""
    if more := found - expected:
        raise Misfit(Verdict.DOUBLED if set(more) <= set(expected) else Verdict.WRONG, f"too many: {dict(more)}")
    if less := expected - found:
        raise Misfit(Verdict.LOST, f"missing: {dict(less)}")
