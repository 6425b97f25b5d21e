"""The `openai` SDK unchanged, in front of a chat provider and of Anthropic's format: files, searches, code and agents.

Each event and item is one of the SDK's own types, a worker dies in the middle of each tool, and a later response reads
the results in the provider's format.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, AsyncStream
from openai.types import responses as openai_types
from openai.types.responses.response_code_interpreter_tool_call import OutputLogs
from openai.types.responses.response_function_web_search import ActionSearch
from openai.types.responses.response_output_text import AnnotationFileCitation, AnnotationURLCitation
from pydantic import BaseModel, TypeAdapter

from tests.support.documents import docx_of, pdf_of
from tests.support.fake_upstream import Upstream
from tests.support.fake_vendors import Vendors
from tests.support.odd_site import OddSite
from tests.support.small_stack import small_stack
from tests.support.stack import Stack, until
from tests.support.wires import AnthropicWire, ChatWire, Turn, Wire

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(300)]

_CONFIG = """
[[providers]]
name = "claude"
adapter = "anthropic"
base_url = "http://127.0.0.1:{vendors}/anthropic"
[[routes]]
model = "claude"
provider = "claude"
upstream_model = "claude-sonnet-4-6"
[file_search]
[web_search]
backend = "searxng"
url = "http://{site}"
private_hosts = ["{site}"]
[code_interpreter]
[programmatic_tool_calling]
[[tools]]
name = "wait_until"
wait = {{}}
[[tools]]
name = "chat_agent"
description = "Finds things out."
[tools.agent]
model = "fake"
instructions = "You research."
tools = ["get_weather"]
[[tools]]
name = "claude_agent"
description = "Finds things out."
[tools.agent]
model = "claude"
instructions = "You research."
tools = ["get_weather"]
"""
_CATS = "Cats sleep for sixteen hours a day, and are most active at dawn."
_LAW = "The tenant pays the rent on the first working day of each month."
_EVENT: TypeAdapter[Any] = TypeAdapter(openai_types.ResponseStreamEvent)
_INCLUDE: Any = [
    "file_search_call.results",
    "code_interpreter_call.outputs",
    "web_search_call.action.sources",
    "web_search_call.results",
]
_PYTHON: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
_WIRES = ["fake", "claude"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site() -> AsyncIterator[OddSite]:
    async with OddSite() as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def own_stack(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, vendors: Vendors, site: OddSite
) -> AsyncIterator[Stack]:
    tail = _CONFIG.format(vendors=vendors.port, site=site.host)
    async with small_stack(tmp_path_factory.mktemp("sdk"), upstream, tail=tail) as stack:
        yield stack


@pytest_asyncio.fixture
async def stack(own_stack: Stack) -> Stack:
    await own_stack.heal()
    return own_stack


@pytest_asyncio.fixture
async def sdk(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    # OpenAI's forms: with those of the specification, the SDK would meet events that it does not know.
    async with AsyncOpenAI(base_url=f"{stack.api_url}/openai/v1", api_key="none", max_retries=0) as sdk:
        yield sdk


@pytest.fixture(params=_WIRES)
def wire(request: pytest.FixtureRequest, upstream: Upstream, vendors: Vendors) -> Wire:
    return ChatWire(upstream, "fake") if request.param == "fake" else AnthropicWire(vendors, "claude")


@dataclass(frozen=True)
class Library:
    """A vector store with a PDF and a DOCX."""

    store: str
    cats: str
    law: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def library(own_stack: Stack) -> Library:
    async with AsyncOpenAI(base_url=f"{own_stack.api_url}/openai/v1", api_key="none", max_retries=0) as sdk:
        cats = await sdk.files.create(file=("cats.pdf", pdf_of(_CATS)), purpose="assistants")
        store = await sdk.vector_stores.create(name="library")
        read = await sdk.vector_stores.files.create_and_poll(
            cats.id, vector_store_id=store.id, attributes={"topic": "animals"}, poll_interval_ms=50
        )
        assert (read.status, read.last_error) == ("completed", None)
        law = await sdk.vector_stores.files.upload_and_poll(
            vector_store_id=store.id, file=("law.docx", docx_of(_LAW)), poll_interval_ms=50
        )
        found = await sdk.vector_stores.retrieve(store.id)
        assert (found.status, found.file_counts.completed) == ("completed", 2)
        return Library(store.id, cats.id, law.id)


@dataclass(frozen=True)
class Asked:
    """A request for one tool: what the model does, and the check of the response and of what the model has read."""

    tools: Any
    turns: Sequence[Turn]
    text: str
    kinds: Sequence[str]
    check: Callable[[Any], None]
    reads: str


def file_search(library: Library) -> Asked:
    def check(response: Any) -> None:
        search, message = response.output
        assert isinstance(search, openai_types.ResponseFileSearchToolCall)
        assert (search.status, search.queries) == ("completed", ["sleep of cats"])
        best = (search.results or [])[0]
        assert (best.file_id, best.filename, best.attributes) == (library.cats, "cats.pdf", {"topic": "animals"})
        assert _CATS in (best.text or "")
        assert 0.3 < (best.score or 0) <= 1
        (cited,) = message.content[0].annotations
        assert isinstance(cited, AnnotationFileCitation)
        assert (cited.file_id, cited.filename, cited.index) == (library.cats, "cats.pdf", len("Sixteen hours"))

    return Asked(
        tools=[{"type": "file_search", "vector_store_ids": [library.store]}],
        turns=[Turn(calls=[("file_search", {"queries": ["sleep of cats"]})]), Turn("Sixteen hours【1:1】.")],
        text="Sixteen hours.",
        kinds=["file_search_call", "message"],
        check=check,
        reads=_CATS,
    )


def web_search(site: OddSite) -> Asked:
    url = site.at("/article")
    link = f"([127.0.0.1]({url}))"

    def check(response: Any) -> None:
        search, opened, message = response.output
        assert isinstance(search, openai_types.ResponseFunctionWebSearch)
        assert isinstance(search.action, ActionSearch)
        assert (search.status, search.action.queries) == ("completed", ["durable workflows"])
        assert [source.url for source in search.action.sources or []] == [url]
        results = (search.model_extra or {})["results"]
        assert [(one["type"], one["url"], one["title"]) for one in results] == [
            ("text_result", url, "Durable workflows")
        ]
        assert (opened.action.type, opened.action.url) == ("open_page", url)
        (part,) = message.content
        (cited,) = part.annotations
        assert isinstance(cited, AnnotationURLCitation)
        assert (cited.url, cited.title) == (url, "Durable workflows")
        assert part.text[cited.start_index : cited.end_index] == link

    return Asked(
        tools=[{"type": "web_search"}],
        turns=[
            Turn(calls=[("web_search", {"query": "durable workflows"})]),
            Turn(calls=[("open_page", {"url": url})]),
            Turn("They survive 【2:1】."),
        ],
        text=f"They survive {link}.",
        kinds=["web_search_call", "web_search_call", "message"],
        check=check,
        reads="survives the death of its worker",
    )


def code(_: object = None) -> Asked:
    def check(response: Any) -> None:
        ran, _ = response.output
        assert isinstance(ran, openai_types.ResponseCodeInterpreterToolCall)
        assert (ran.status, ran.code) == ("completed", "x = 6 * 7\nx")
        assert ran.container_id.startswith("cntr_")
        assert ran.outputs == [OutputLogs(type="logs", logs="42\n")]

    return Asked(
        tools=[_PYTHON],
        turns=[Turn(calls=[("code_interpreter", {"code": "x = 6 * 7\nx"})]), Turn("It is 42.")],
        text="It is 42.",
        kinds=["code_interpreter_call", "message"],
        check=check,
        reads="42",
    )


@pytest.fixture(params=["file_search", "web_search", "code_interpreter"])
def asked(request: pytest.FixtureRequest, library: Library, site: OddSite) -> Asked:
    if request.param == "file_search":
        return file_search(library)
    return web_search(site) if request.param == "web_search" else code()


async def read(stream: AsyncStream[Any], stop: Callable[[Any], bool] | None = None) -> list[Any]:
    """The events up to the last, or to the first for which `stop` is true."""
    events = []
    with contextlib.suppress(StopAsyncIteration):
        while not events or stop is None or not stop(events[-1]):
            events.append(await anext(stream))
    return events


def whole(events: Sequence[Any], text: str) -> Any:
    """The response of a stream without a gap, all of whose events are of the SDK's types."""
    assert [event.sequence_number for event in events] == [*range(len(events))]
    for event in events:
        is_typed(event)
    (*_, last) = events
    assert last.type == "response.completed", last.to_json()
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == text
    assert last.response.output_text == text
    return last.response


def is_typed(event: Any) -> None:
    """The SDK parses without validation: an event of an unknown type, or with wrong members, would pass unseen."""
    if event.type == "keepalive":
        # Of OpenAI's API, and of none of the SDK's types.
        return
    strict = _EVENT.validate_python(event.to_dict())
    assert type(strict) is type(event), event.to_json()


def without_ids(response: Any) -> Any:
    """The items, compared with those of another response to the same request."""
    found = [item.to_dict() for item in response.output]
    for item in found:
        item.pop("id")
        item.pop("container_id", None)
        for name in ("results",) if item["type"] == "file_search_call" else ():
            # Scores are equal as far as a float goes.
            item[name] = [one["file_id"] for one in item[name] or []]
    return found


async def test_each_tool_is_the_sdks_item_streamed_and_not_and_a_later_response_reads_its_result(
    sdk: AsyncOpenAI, wire: Wire, asked: Asked
) -> None:
    prompt = f"{asked.kinds[0]} by the sdk on {wire.model}"
    wire.says(prompt, *asked.turns)
    body: Any = {"model": wire.model, "input": prompt, "tools": asked.tools, "include": _INCLUDE}
    plain = await sdk.responses.create(**body)
    assert (plain.status, [item.type for item in plain.output]) == ("completed", asked.kinds), plain.to_json()
    assert plain.output_text == asked.text
    asked.check(plain)
    streamed = whole(await read(await sdk.responses.create(**body, stream=True)), asked.text)
    asked.check(streamed)
    assert without_ids(streamed) == without_ids(plain)
    assert (await sdk.responses.retrieve(streamed.id)).output == streamed.output
    again = whole(await read(await sdk.responses.retrieve(streamed.id, stream=True)), asked.text)
    assert again.output == streamed.output

    bare = await sdk.responses.create(**{**body, "include": []})
    assert "results" not in str(bare.to_dict(exclude_none=True)["output"])
    asked.check(await sdk.responses.retrieve(bare.id, include=_INCLUDE))

    later = f"and then, {prompt}"
    wire.says(later, Turn("As I said."))
    followed = await sdk.responses.create(
        model=wire.model, input=later, previous_response_id=streamed.id, tools=asked.tools
    )
    assert followed.output_text == "As I said."
    made = wire.read_calls(wire.newest(later))
    wanted = [one for turn in asked.turns for one in turn.calls]
    assert [(one.name, one.arguments) for one in made] == wanted
    assert asked.reads in made[-1].output


async def the_search_is_held(site: OddSite, _: Stack) -> None:
    async with asyncio.timeout(60):
        await site.searching.wait()


async def an_engine_of_a_worker_runs(_: OddSite, stack: Stack) -> None:
    """It starts with the first search of a worker, and loads its model for a second."""
    await until(lambda: has_child(stack, b"open_responses.io.files.engine_process"))


async def an_interpreter_of_a_worker_runs(_: OddSite, stack: Stack) -> None:
    await until(lambda: has_child(stack, b"monty\0subprocess"))


async def has_child(stack: Stack, command: bytes) -> bool:
    """Whether a worker has a process with this in its command line, itself or as a child of one."""
    workers = {stack.processes[name].pid for name in stack.processes if name.startswith("worker-")}
    parents: dict[int, int] = {}
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            pid = int(folder.name)
            parents[pid] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if command in (folder / "cmdline").read_bytes():
                found.append(pid)
    for pid in found:
        while pid in parents and pid not in workers:
            pid = parents[pid]
        if pid in workers:
            return True
    return False


_Middle = Callable[[OddSite, Stack], Awaitable[None]]
_KILLS: list[tuple[str, _Middle]] = [
    ("web_search_call", the_search_is_held),
    ("file_search_call", an_engine_of_a_worker_runs),
    ("code_interpreter_call", an_interpreter_of_a_worker_runs),
]


async def test_the_workers_die_in_the_middle_of_each_tool_of_one_response(
    stack: Stack, sdk: AsyncOpenAI, wire: Wire, library: Library, site: OddSite
) -> None:
    url, prompt = site.at("/article"), f"all of them, killed, on {wire.model}"
    slow = "import time\ntime.sleep(2)\nn = 41 + 1\nn"
    wire.says(
        prompt,
        Turn(calls=[("web_search", {"query": "durable workflows"})]),
        Turn(calls=[("file_search", {"queries": ["sleep of cats"]})]),
        Turn(calls=[("code_interpreter", {"code": slow})]),
        Turn("A web 【1:1】, a file【2:1】, and 42."),
    )
    site.hold(1)
    before = len(site.searches)
    # Fresh processes: none has an engine or an interpreter yet.
    await replace_workers(stack)
    tools: Any = [{"type": "web_search"}, {"type": "file_search", "vector_store_ids": [library.store]}, _PYTHON]
    stream = await sdk.responses.create(model=wire.model, input=prompt, tools=tools, include=_INCLUDE, stream=True)
    events: list[Any] = []
    for kind, is_in_the_middle in _KILLS:
        words = (f"response.{kind}.searching", f"response.{kind}.interpreting")
        events += await read(stream, lambda event, words=words: event.type in words)
        await is_in_the_middle(site, stack)
        await replace_workers(stack)
    events += await read(stream)
    response = whole(events, f"A web ([127.0.0.1]({url})), a file, and 42.")
    assert [(item.type, item.status) for item in response.output] == [
        *((kind, "completed") for kind, _ in _KILLS),
        ("message", "completed"),
    ]
    _, found, ran, message = response.output
    assert found.results[0].file_id == library.cats
    assert ran.outputs == [OutputLogs(type="logs", logs="42\n")]
    assert [type(note) for note in message.content[0].annotations] == [AnnotationURLCitation, AnnotationFileCitation]
    assert len(site.searches) - before == 2, "the search was made again, once"
    later = f"and then, {prompt}"
    wire.says(later, Turn("As I said."))
    await sdk.responses.create(model=wire.model, input=later, previous_response_id=response.id, tools=tools)
    made = wire.read_calls(wire.newest(later))
    assert [one.name for one in made] == ["web_search", "file_search", "code_interpreter"]
    assert ["A workflow survives." in made[0].output, _CATS in made[1].output, made[2].output] == [True, True, "42\n"]


async def replace_workers(stack: Stack) -> None:
    await asyncio.gather(stack.kill_seen("worker-0"), stack.kill_seen("worker-1"))
    await asyncio.gather(stack.start("worker-0"), stack.start("worker-1"))


def called(event: Any) -> str | None:
    """The function whose call an event is about."""
    return getattr(getattr(event, "item", None), "name", None)


async def test_a_program_and_an_agent_over_killed_workers(
    stack: Stack, sdk: AsyncOpenAI, wire: Wire, upstream: Upstream
) -> None:
    agent = "chat_agent" if wire.model == "fake" else "claude_agent"
    task, prompt = f"the weather, on {wire.model}", f"a program and an agent on {wire.model}"
    program = (
        "import asyncio\n"
        'cities = await asyncio.gather(*[get_weather(city=name) for name in ("Berlin", "Paris")])\n'
        'print([city["city"] for city in cities])'
    )
    wire.says(task, Turn(calls=[("get_weather", {"city": "Oslo"})]), Turn("Oslo is cold."))
    wire.says(
        prompt,
        Turn(calls=[("run_program", {"code": program})]),
        Turn(calls=[(agent, {"task": task})]),
        Turn("Done."),
    )
    tools: Any = [
        {"type": "programmatic_tool_calling"},
        {"type": "function", "name": "get_weather"},
        {"type": "function", "name": agent},
    ]
    body: Any = {"model": wire.model, "input": prompt, "tools": tools}
    plain = await sdk.responses.create(**body)
    stream = await sdk.responses.create(**body, stream=True)
    # Within the program, and while the agent runs: a kill within the model's own answer leaves one more call.
    events = await read(stream, lambda event: called(event) == "get_weather")
    await replace_workers(stack)
    events += await read(stream, lambda event: called(event) == agent)
    events += await read(stream, lambda event: event.type == "keepalive")
    await replace_workers(stack)
    events += await read(stream)
    response = whole(events, "Done.")
    kinds = [item.type for item in response.output]
    # Calls that are awaited together end in any order.
    assert sorted(kinds) == sorted(item.type for item in plain.output)
    assert [kinds[0], *kinds[-4:]] == ["program", "program_output", "function_call", "function_call_output", "message"]
    ran, output = response.output[0], response.output[-4]
    assert isinstance(ran, BaseModel)
    assert (output.call_id, output.result) == (ran.call_id, "['Berlin', 'Paris']\n")
    asked = [item for item in response.output if item.type == "function_call" and item.name == "get_weather"]
    assert [item.caller.caller_id for item in asked] == [ran.call_id] * 2
    agents_own = await sdk.responses.retrieve((response.output[-2].model_extra or {})["agent_response_id"])
    assert agents_own.output_text == "Oslo is cold."
    later = f"and then, {prompt}"
    wire.says(later, Turn("As I said."))
    await sdk.responses.create(model=wire.model, input=later, previous_response_id=response.id, tools=tools)
    made = wire.read_calls(wire.newest(later))
    assert [(one.name, one.output) for one in made] == [
        ("run_program", "['Berlin', 'Paris']\n"),
        (agent, "Oslo is cold."),
    ]


async def test_a_response_that_sleeps_is_read_on_after_all_workers_and_apis_were_replaced(
    stack: Stack, sdk: AsyncOpenAI, wire: Wire
) -> None:
    prompt = f"sleep, on {wire.model}"
    wire.says(prompt, Turn(calls=[("wait_until", {"seconds": 8})]), Turn("Good morning."))
    stream = await sdk.responses.create(
        model=wire.model,
        input=prompt,
        tools=[{"type": "function", "name": "wait_until"}],  # type: ignore[typeddict-item]
        background=True,
        stream=True,
    )
    # In OpenAI's forms, the progress of a tool is a keepalive.
    events = await read(stream, lambda event: event.type == "keepalive")
    old = [name for name in stack.processes if name.startswith(("worker-", "api"))]
    for name in old:
        stack.processes[name].terminate()
    # An API that leaves cuts the streams of those that go on.
    with contextlib.suppress(openai.APIConnectionError):
        async for event in stream:
            events.append(event)
    for name in old:
        await asyncio.to_thread(stack.processes[name].wait, 60)
    await stack.flush()
    pids = {name: stack.processes[name].pid for name in old}
    for name in old:
        await stack.start(name)
    assert all(stack.processes[name].pid != pid for name, pid in pids.items())
    last = events[-1].sequence_number
    response_id = events[0].response.id
    events += await read(await sdk.responses.retrieve(response_id, stream=True, starting_after=last))
    response = whole(events, "Good morning.")
    output = response.output[1]
    assert (output.type, output.output) == ("function_call_output", "The wait is over: it was for 8 s.")
