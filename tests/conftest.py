"""Real servers, started once per session on free ports; what a test kills is started again for the next."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import hypothesis
import pytest
import pytest_asyncio

from dev import services
from dev.services import Service
from open_responses.context.compaction import ORDER
from open_responses.io.ports import is_taken
from open_responses.io.redis.client import Redis, connect
from tests.support.fake_upstream import Upstream
from tests.support.fake_vendors import Vendors
from tests.support.lasting_keys import check_lasting_keys
from tests.support.mcp_token import TOKEN
from tests.support.stack import Stack, http_client
from tests.support.vendor_configuration import configuration
from tests.support.webhook_receiver import WebhookReceiver

# The processes of pytest-xdist (`gw0`, `gw1`, …) choose ports from ranges of their own; what they start inherits that.
_first_port = 20_000 + 3_000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 4)
os.environ["FREE_PORTS"] = f"{_first_port}-{_first_port + 3_000}"

# How long one example takes says something about the machine, and nothing about the code.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

_STACK = pytest.StashKey[Stack]()
_VENDORS = pytest.StashKey[Vendors]()

_CONFIG = """
[[providers]]
name = "fake"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{fake}/v1"
[[providers]]
name = "no-resume"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{fake}/v1"
resume = "none"
[[providers]]
name = "impatient"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{fake}/v1"
timeout_seconds = 0.5
[[providers]]
name = "local"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{llama}/v1"
[[routes]]
model = "fake"
provider = "fake"
[[routes]]
model = "no-resume"
provider = "no-resume"
[[routes]]
model = "impatient"
provider = "impatient"
[[routes]]
model = "smollm2"
provider = "local"
[[providers]]
name = "down"
adapter = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
[[routes]]
model = "down"
provider = "down"
[[routes]]
model = "falls-back"
provider = "down"
fallbacks = ["keyed", "fake"]
[[routes]]
model = "breaks"
provider = "fake"
fallbacks = ["no-resume"]
[[providers]]
name = "keyed"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{fake}/v1"
api_key_env = "A_KEY_THAT_IS_NOT_SET"
[[routes]]
model = "keyed"
provider = "keyed"
[[providers]]
name = "parley"
adapter = "examples.custom_provider:Adapter"
base_url = "http://127.0.0.1:{parley}"
[[routes]]
model = "parley-*"
provider = "parley"
[[routes]]
model = "vendor/*"
provider = "fake"
[[routes]]
model = "fake-small"
provider = "fake"
context_window = 400
[[middleware]]
target = "open_responses.middleware.audit_log:AuditLog"
options = {{path = "{audit}"}}
[[middleware]]
target = "open_responses.middleware.content_guard:ContentGuard"
options = {{pattern = "unspeakable|word7 word8 word9 word10 word11 guarded", message = "Not here."}}
[[middleware]]
target = "open_responses.middleware.token_budget:TokenBudget"
options = {{per_response = 1_000_000, per_tenant = 1_000_000_000}}
[[middleware]]
target = "tests.support.hosted_tools:Interfering"
[[tools]]
name = "get_weather"
target = "tests.support.hosted_tools:get_weather"
[[tools]]
name = "calls_out"
target = "tests.support.hosted_tools:calls_out"
[[tools]]
name = "slow"
target = "tests.support.hosted_tools:slow"
max_attempts = 5
[[tools]]
name = "flaky"
target = "tests.support.hosted_tools:flaky"
retry_seconds = 0.05
[[tools]]
name = "stumbles"
target = "tests.support.hosted_tools:stumbles"
retry_seconds = 0.05
[[tools]]
name = "fails"
target = "tests.support.hosted_tools:fails"
[[tools]]
name = "times_out"
target = "tests.support.hosted_tools:hangs"
timeout_seconds = 1
max_attempts = 1
[[tools]]
name = "once"
target = "tests.support.hosted_tools:append_line"
[[tools]]
name = "delete_all"
target = "tests.support.hosted_tools:delete_all"
require_approval = true
[[tools]]
name = "big"
target = "tests.support.hosted_tools:big"
[[tools]]
name = "fleet_tool"
task_queue = "another-fleet"
description = "Adds two numbers."
parameters = {{ type = "object", properties = {{ a = {{ type = "number" }}, b = {{ type = "number" }} }} }}
[[tools]]
name = "word_count"
description = "Counts words, and says which are the most frequent."
parameters = {{type = "object", properties = {{text = {{type = "string"}}}}, required = ["text"]}}
task_queue = "typescript"
timeout_seconds = 10
max_attempts = 2
[[tools]]
name = "researcher"
description = "Finds things out, and reports."
[tools.agent]
model = "fake"
instructions = "You research."
tools = ["get_weather", "slow"]
max_calls = 2
[[tools]]
name = "wait_until"
wait = {{ max_seconds = 3600 }}
[[tools]]
name = "talks"
target = "tests.support.hosted_tools:talks"
[[tools]]
name = "talks_in_a_thread"
target = "tests.support.hosted_tools:talks_in_a_thread"
[[tools]]
name = "returns_parts"
target = "tests.support.hosted_tools:returns_parts"
[[tools]]
name = "ends"
target = "tests.support.hosted_tools:ends"
retry_seconds = 0.05
[file_search]
[files]
max_file_bytes = 400_000
max_inline_bytes = 300_000
[web_search]
target = "tests.support.built_in_engines:Search"
retry_seconds = 0.05
[code_interpreter]
run_seconds = 2
memory_mb = 64
processes = 2
max_files_mb = 1
[programmatic_tool_calling]
run_seconds = 2
memory_mb = 64
processes = 2
[[mcp_servers]]
label = "calc"
url = "http://127.0.0.1:{mcp}/mcp"
headers_env = {{ Authorization = "CALC_AUTH" }}
timeout_seconds = 30
[[mcp_servers]]
label = "hurried"
url = "http://127.0.0.1:{mcp}/mcp"
headers_env = {{ Authorization = "CALC_AUTH" }}
timeout_seconds = 5
[[mcp_servers]]
label = "old"
url = "http://127.0.0.1:{mcp_sse}/sse"
headers_env = {{ Authorization = "CALC_AUTH" }}
[[mcp_servers]]
label = "down"
url = "http://127.0.0.1:9/mcp"
[[mcp_servers]]
label = "odd"
url = "http://127.0.0.1:{odd_mcp}/mcp"
[webhooks]
retry_seconds = 0.1
trusted_urls = ["http://127.0.0.1:{hooks}/"]
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file of campaigns alone is not imported where they are left out: the SDKs of clients and of MCP that such files
    import take seconds in each process."""
    if config.option.markexpr != "not campaign" or collection_path.suffix != ".py":
        return None
    return "\npytestmark = pytest.mark.campaign\n" in collection_path.read_text(encoding="utf-8") or None


@pytest_asyncio.fixture(scope="session")
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as fake:
        yield fake


@pytest_asyncio.fixture(scope="session")
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver() as fake:
        yield fake


@pytest.fixture(autouse=True)
def no_notes_for_another_test(upstream: Upstream) -> Iterator[None]:
    """Summaries are asked for in the same words by every test."""
    yield
    upstream.scripts.pop(ORDER, None)


@pytest_asyncio.fixture(scope="session")
async def vendors(request: pytest.FixtureRequest) -> AsyncIterator[Vendors]:
    async with Vendors() as fakes:
        request.config.stash[_VENDORS] = fakes
        yield fakes


@pytest.fixture(scope="module", autouse=True)
def no_script_for_another_file(request: pytest.FixtureRequest, upstream: Upstream) -> Iterator[None]:
    """Files may use the same prompts. A held answer to one would hold up the test of another file for ever."""
    yield
    for fake in (upstream, request.config.stash.get(_VENDORS, None)):
        if fake is not None:
            fake.forget_scripts()


def _mcp(name: str, port: int, *arguments: str, module: str = "tests.support.mcp_server", folder: str = "") -> Service:
    async def ready() -> bool:
        return is_taken(port)

    return Service(name, (sys.executable, "-m", module, str(port), *arguments), ready, {"HOSTED_TOOLS_DIR": folder})


@pytest_asyncio.fixture(scope="session")
async def session_stack(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    upstream: Upstream,
    vendors: Vendors,
    receiver: WebhookReceiver,
) -> AsyncIterator[Stack]:
    data: Path = tmp_path_factory.mktemp("data")
    names = ("valkey", "temporal", "llama", "api", "mcp", "mcp_sse", "odd_mcp", "parley")
    ports = {name: services.free_port() for name in names}
    ours = _CONFIG.format(fake=upstream.port, hooks=receiver.port, audit=data / "audit.jsonl", **ports)
    env = {
        "OPEN_RESPONSES_RETRY_WINDOW_SECONDS": "20",
        "OPEN_RESPONSES_KEEPALIVE_SECONDS": "1",
        "OPEN_RESPONSES_MAX_BODY_BYTES": "1000000",
        "CALC_AUTH": f"Bearer {TOKEN}",
    }
    stack = Stack.at(data, ports, ours + configuration(vendors.port, ports["llama"]), env)
    stack.services |= {
        "temporal": services.temporal(ports["temporal"], data, can_pause=True),
        "llama": services.llama(ports["llama"]),
        "mcp": _mcp("mcp", ports["mcp"], "streamable", folder=str(data / "hosted")),
        "mcp-sse": _mcp("mcp-sse", ports["mcp_sse"], "sse", folder=str(data / "hosted")),
        "odd-mcp": _mcp("odd-mcp", ports["odd_mcp"], module="tests.support.odd_mcp_server"),
    }
    stack.mcp_url = f"http://127.0.0.1:{ports['mcp']}/mcp"
    stack.metrics_ports = {name: services.free_port() for name in ("worker-0", "worker-1")}
    request.config.stash[_STACK] = stack
    try:
        await asyncio.gather(*(stack.start(name) for name in ("valkey", "temporal", "mcp", "mcp-sse", "odd-mcp")))
        await asyncio.gather(*(stack.start(name) for name in ("worker-0", "worker-1", "api")))
        yield stack
    finally:
        await stack.stop()


@pytest.fixture(scope="module", autouse=True)
def every_key_has_a_time_to_live(request: pytest.FixtureRequest) -> Iterator[None]:
    """Looks at the suite's Redis at the end of each file of tests, and of the session, where it runs."""
    yield
    stack = request.config.stash.get(_STACK, None)
    if stack is not None:
        check_lasting_keys(stack)


@pytest_asyncio.fixture
async def stack(session_stack: Stack) -> AsyncIterator[Stack]:
    """Every server runs at the start of each test. The local model runs once a test has called `start_local_model`."""
    await session_stack.heal()
    yield session_stack


@pytest_asyncio.fixture
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(stack.api_url) as client:
        yield client


@pytest_asyncio.fixture
async def redis(stack: Stack) -> AsyncIterator[Redis]:
    """A client of the stack's Redis, as the server makes its own."""
    client = connect(stack.redis_url)
    yield client
    await client.aclose()
