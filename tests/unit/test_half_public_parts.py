"""The parts of dependencies that we use and they do not promise to keep.

Each stands in one module, has an upper bound in `pyproject.toml`, and is checked here, so that an upgrade fails with a
sentence instead of under load.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import inspect
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import aiohttp
import httpcore2
import httpx2
import pytest
import uvicorn
from httpx_aiohttp.transport import AIOHTTP_EXC_MAP, AiohttpResponseStream
from packaging.requirements import Requirement
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.exceptions import TimeoutError
from starlette.types import Message
from starlette.websockets import WebSocket
from temporalio.bridge.worker import Worker as BridgeWorker
from temporalio.client import Client
from temporalio.service import ServiceClient
from temporalio.worker import Worker, WorkflowInstance
from uvicorn.protocols.http import httptools_impl
from websockets.server import ServerProtocol

from activities.tools.httpx2_pool import connect_through
from api.connections.uvicorn_protocols import (
    HttpToolsProtocol,
    WebSocketsSansIOProtocol,
    protocol_behind,
    receive_of,
    transport_behind,
)
from dev.services import free_port
from open_responses.io.redis.client import NoScriptError, RedisDown, connect
from open_responses.io.redis.redis_py_pool import NoticingRetry, reply_error
from open_responses.io.temporal.sdk_client import NOT_CONNECTED
from tests.support.sources import nodes_of

ROOT = Path(__file__).parents[2]
OURS = ("open_responses", "workflows", "activities", "api", "dev", "processes", "worker.py")

ADAPTERS = {
    "open_responses/io/temporal/sdk_client.py": ("temporalio",),
    "open_responses/io/temporal/sdk_worker.py": ("temporalio",),
    "open_responses/io/redis/redis_py_pool.py": ("redis",),
    "activities/providers/shared/httpx_aiohttp_parts.py": ("httpx-aiohttp",),
    "activities/tools/httpx2_pool.py": ("httpx2",),
    "api/connections/uvicorn_protocols.py": ("uvicorn", "starlette"),
    # Its base class has the connection of websockets in it, whose reader it empties.
    "api/connections/websocket.py": ("websockets",),
}
"""The modules that use such parts, and what of. One module of ours for each dependency, and two for Temporal's: the API
needs no worker."""

_ADAPTED = {"redis": "redis.asyncio.retry", "uvicorn": "uvicorn.protocols", "httpx_aiohttp": "httpx_aiohttp.transport"}
"""Modules without an underscore that are none of the dependency's promises either."""


def _imports(path: Path) -> Iterator[str]:
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_half_public(name: str) -> bool:
    package = name.split(".")[0]
    if package in ("open_responses", "workflows", "activities", "api", "dev", "processes", "__future__"):
        return False
    if package in _ADAPTED and name.startswith(_ADAPTED[package]):
        return True
    return name.startswith("temporalio.bridge") or any(part.startswith("_") for part in name.split("."))


def _sources() -> Iterator[Path]:
    for name in OURS:
        path = ROOT / name
        yield from [path] if path.is_file() else path.rglob("*.py")


def test_what_a_dependency_does_not_promise_is_imported_by_its_adapter_alone() -> None:
    found = {
        str(path.relative_to(ROOT)): name for path in _sources() for name in _imports(path) if _is_half_public(name)
    }
    strays = {path: name for path, name in found.items() if path not in ADAPTERS}
    assert strays == {}, "import it in an adapter module, and list that in ADAPTERS"
    by_attribute = {
        "activities/tools/httpx2_pool.py",
        "api/connections/websocket.py",
        "open_responses/io/temporal/sdk_client.py",
    }
    assert set(found) == set(ADAPTERS) - by_attribute


def test_private_attributes_of_dependencies_are_read_by_their_adapters_alone() -> None:
    """`worker._workflow_worker`, and not `self._ours` or `cls._ours`; a namedtuple's `_replace` is public."""
    found = set()
    for path in _sources():
        for node in nodes_of(path):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                if not is_own and node.attr not in ("_replace", "_exit"):
                    found.add(f"{path.relative_to(ROOT)}: {node.attr}")
    assert found == {
        "open_responses/io/temporal/sdk_worker.py: _workflow_worker",
        "open_responses/io/temporal/sdk_worker.py: _bridge_worker",
        "open_responses/io/temporal/sdk_client.py: _rpc_call",
        "open_responses/io/temporal/sdk_worker.py: _set_running_loop",
        "open_responses/io/redis/redis_py_pool.py: _writer",
        "open_responses/io/redis/redis_py_pool.py: _close",
        "activities/tools/httpx2_pool.py: _pool",
        "activities/providers/shared/httpx_aiohttp_parts.py: _aiohttp_response",
        "api/connections/uvicorn_protocols.py: _receive",
    }


@pytest.mark.parametrize("name", sorted({name for names in ADAPTERS.values() for name in names}))
def test_a_dependency_with_such_parts_has_an_upper_bound(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [Requirement(line) for line in project["optional-dependencies"]["server"]]
    required = next((one for one in listed if one.name == name), None)
    assert required is not None, f"{name} is not listed in pyproject.toml"
    assert any(bound.operator in ("<", "==", "~=") for bound in required.specifier), f"{name} has no upper bound"
    assert version(name) in required.specifier, f"{name} {version(name)} is installed, outside of {required.specifier}"


@pytest.mark.parametrize("path", ADAPTERS)
def test_the_adapter_finds_what_it_imports(path: str) -> None:
    try:
        importlib.import_module(path.removesuffix(".py").replace("/", "."))
    except ImportError as error:
        pytest.fail(f"{path} imports a part that {', '.join(ADAPTERS[path])} has moved or removed: {error}")


# --- temporalio


def test_temporalio_still_sends_each_call_through_rpc_call() -> None:
    """Otherwise no outage of Temporal is recognized: `TemporalAway`."""
    call = getattr(ServiceClient, "_rpc_call", None)
    assert call is not None, "temporalio: ServiceClient._rpc_call is gone"
    assert list(inspect.signature(call).parameters)[:4] == ["self", "rpc", "req", "resp_type"], (
        "temporalio: ServiceClient._rpc_call takes other arguments"
    )
    assert inspect.signature(call).parameters["timeout"].kind is inspect.Parameter.KEYWORD_ONLY, (
        "temporalio: a call's timeout is given in another way"
    )
    assert ServiceClient.__abstractmethods__ == {
        "worker_service_client",
        "update_rpc_metadata",
        "update_api_key",
        "_rpc_call",
    }, "temporalio: ServiceClient has other abstract methods than DelegatingServiceClient implements"


async def test_temporalio_still_says_that_it_could_not_connect() -> None:
    """Otherwise an outage at the start is an unexpected error."""
    with pytest.raises(RuntimeError) as raised:
        await Client.connect(f"127.0.0.1:{free_port()}")
    assert str(raised.value).startswith(NOT_CONNECTED), "temporalio: Client.connect raises with another message"


async def test_temporalio_still_shows_whether_it_has_been_connected() -> None:
    """Otherwise a start that was never sent is reported as one that may have happened."""
    client = await Client.connect(f"127.0.0.1:{free_port()}", lazy=True)
    assert vars(client.service_client).get("_bridge_client", "gone") is None, (
        "temporalio: the service client has no _bridge_client any more"
    )


def test_temporalio_still_evicts_runs_by_request() -> None:
    """Otherwise the cached runs of a worker have no bound on their memory."""
    source = inspect.getsource(Worker)
    assert "self._workflow_worker" in source, "temporalio: Worker._workflow_worker is gone"
    workflow_worker = importlib.import_module("temporalio.worker._workflow")._WorkflowWorker
    assert "self._bridge_worker = " in inspect.getsource(workflow_worker), (
        "temporalio: _WorkflowWorker._bridge_worker is gone"
    )
    evict = getattr(BridgeWorker, "request_workflow_eviction", None)
    assert evict is not None, "temporalio: bridge.worker.Worker.request_workflow_eviction is gone"
    assert list(inspect.signature(evict).parameters) == ["self", "run_id"], (
        "temporalio: request_workflow_eviction takes other arguments"
    )


def test_temporalio_has_no_further_methods_of_a_workflow_instance() -> None:
    """One that `DelegatingInstance` does not pass on would have its default instead of the SDK's own answer."""
    public = {name for name in vars(WorkflowInstance) if not name.startswith("_")}
    assert public == {
        "activate",
        "get_serialization_context",
        "get_external_store_context",
        "get_info",
        "get_thread_id",
    }, "temporalio: WorkflowInstance has other methods than DelegatingInstance passes on"


# --- redis-py


async def test_redis_py_still_calls_each_command_through_the_retry() -> None:
    """Otherwise a silent Redis holds up each command in turn."""
    theirs, ours = (inspect.signature(one.call_with_retry).parameters for one in (Retry, NoticingRetry))
    assert list(theirs) == list(ours), "redis-py: Retry.call_with_retry takes other arguments"

    silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    redis = connect(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0", patience_seconds=0.2)
    try:
        with pytest.raises(TimeoutError):
            await redis.ping()
        with pytest.raises(RedisDown) as raised:
            await redis.ping()
        assert "does not answer" in str(raised.value), "redis-py: commands do not go through Retry.call_with_retry"
    finally:
        await redis.aclose()
        silent.close()


def test_redis_py_still_takes_connections_from_the_pool_as_we_override_it() -> None:
    for name in ("get_connection", "make_connection", "aclose"):
        assert hasattr(BlockingConnectionPool, name), f"redis-py: BlockingConnectionPool.{name} is gone"
    first = list(inspect.signature(BlockingConnectionPool.get_connection).parameters)[:2]
    assert first == ["self", "command_name"], "redis-py: BlockingConnectionPool.get_connection takes other arguments"


def test_redis_py_still_names_the_exception_of_an_error_that_is_a_reply() -> None:
    found = reply_error("NOSCRIPT No matching script.")
    assert isinstance(found, NoScriptError), "redis-py: BaseParser.parse_error does not know the code of an error"


# --- httpx-aiohttp and httpx2


def test_httpx_aiohttp_still_looks_its_errors_up_in_the_table() -> None:
    """Otherwise a connection that breaks in mid-stream is taken for one that was never made."""
    assert aiohttp.ClientConnectionError in AIOHTTP_EXC_MAP, "httpx-aiohttp: AIOHTTP_EXC_MAP has changed"
    module = importlib.import_module("httpx_aiohttp.transport")
    assert "in AIOHTTP_EXC_MAP.items()" in inspect.getsource(module), "httpx-aiohttp: AIOHTTP_EXC_MAP is not read"


def test_httpx_aiohttp_still_keeps_the_answer_whose_body_is_read() -> None:
    """Otherwise no answer of a provider can be read. Its own iteration reads the same body, and maps errors alike."""
    source = inspect.getsource(AiohttpResponseStream)
    assert "self._aiohttp_response.content." in source, "httpx-aiohttp: the body of an answer is elsewhere"
    assert "with map_aiohttp_exceptions():" in source, "httpx-aiohttp: exceptions are mapped elsewhere"


async def test_httpx2_still_opens_its_connections_in_the_pool_that_we_replace() -> None:
    """Otherwise requests reach private addresses: nothing checks where they go."""
    asked = []

    class Asked(httpcore2.AnyIOBackend):
        async def connect_tcp(self, host: str, *_: object, **__: object) -> httpcore2.AsyncNetworkStream:
            asked.append(host)
            raise httpcore2.ConnectError("no further")

    async with httpx2.AsyncHTTPTransport(trust_env=False) as transport:
        connect_through(transport, Asked())
        with pytest.raises(httpx2.ConnectError):
            await transport.handle_async_request(httpx2.Request("GET", "http://example.test"))
    assert asked == ["example.test"], "httpx2: AsyncHTTPTransport does not use its _pool any more"


# --- uvicorn, Starlette and websockets

HTTP = (
    "connection_made connection_lost data_received on_message_begin on_url on_header on_headers_complete on_body "
    "on_message_complete send_400_response timeout_keep_alive_handler"
)
SOCKET = (
    "connection_made connection_lost data_received pause_writing resume_writing receive handle_ping handle_pong "
    "handle_text handle_bytes handle_cont keepalive_timeout run_asgi stop_keepalive"
)


def test_uvicorns_http_protocol_has_what_ours_overrides() -> None:
    """Otherwise headers have no bounds on size and time."""
    missing = [name for name in HTTP.split() if not hasattr(HttpToolsProtocol, name)]
    assert missing == [], "uvicorn: methods of HttpToolsProtocol are gone"
    made = inspect.getsource(HttpToolsProtocol.__init__)
    for name in ("timeout_keep_alive_task", "timeout_keep_alive", "cycle", "transport", "loop"):
        assert f"self.{name}" in made, f"uvicorn: HttpToolsProtocol.{name} is gone"


def test_uvicorns_server_takes_its_signals_in_the_method_that_ours_overrides() -> None:
    assert "capture_signals" in vars(uvicorn.Server)
    assert "self.capture_signals()" in inspect.getsource(uvicorn.Server.serve)


def test_uvicorns_websocket_protocol_has_what_ours_overrides() -> None:
    """Otherwise a client's frames and unfinished messages have no bounds."""
    assert [name for name in SOCKET.split() if not hasattr(WebSocketsSansIOProtocol, name)] == [], (
        "uvicorn: methods are gone"
    )
    made = inspect.getsource(WebSocketsSansIOProtocol.__init__)
    names = "transport queue handshake_complete close_sent disconnected close_timer conn read_paused writable frames"
    for name in names.split():
        assert f"self.{name}" in made, f"uvicorn: WebSocketsSansIOProtocol.{name} is gone"


def test_websockets_still_keeps_what_it_has_not_parsed_in_its_reader() -> None:
    protocol = ServerProtocol()
    assert isinstance(protocol.reader.buffer, bytearray), "websockets: Protocol.reader.buffer is gone"
    assert hasattr(protocol, "send_close"), "websockets: Protocol.send_close is gone"
    assert hasattr(protocol, "data_to_send"), "websockets: Protocol.data_to_send is gone"


async def test_the_connection_behind_a_request_is_found() -> None:
    """Otherwise a client that does not read is never dropped."""

    class Connection:
        transport = asyncio.Transport()

        async def receive(self) -> Message:
            return {"type": "websocket.connect"}

        async def send(self, message: Message) -> None: ...

    connection = Connection()
    websocket = WebSocket({"type": "websocket"}, connection.receive, connection.send)
    receive = receive_of(websocket)
    assert protocol_behind(receive) is connection, "Starlette: WebSocket._receive is not the server's receive"
    assert transport_behind(receive) is connection.transport


def test_uvicorn_still_hands_out_receive_as_a_method_of_its_connection() -> None:
    assert "self.receive" in inspect.getsource(WebSocketsSansIOProtocol.run_asgi), "uvicorn: another receive"
    cycle = httptools_impl.RequestResponseCycle
    assert "self.receive" in inspect.getsource(cycle.run_asgi), "uvicorn: RequestResponseCycle gives another receive"
    assert "self.transport" in inspect.getsource(cycle.__init__), "uvicorn: RequestResponseCycle.transport is gone"
