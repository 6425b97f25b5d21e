"""The servers of a long campaign: everything of a deployment, with links that can be cut between its parts."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from temporalio.client import Client

from dev import services
from dev.services import Service
from open_responses.io.ports import is_taken
from tests.campaigns.full_disk import SmallDisk
from tests.campaigns.replicated_redis import ReplicatedRedis
from tests.campaigns.tcp_proxy import Links
from tests.support.fake_upstream import Upstream
from tests.support.mcp_token import TOKEN
from tests.support.stack import Stack
from tests.support.webhook_receiver import WebhookReceiver

CLIENTS_OF_REDIS = ("api", "worker-0", "worker-1")
WORKERS = ("worker-0", "worker-1")
_CONFIG = """
[[providers]]
name = "fake"
adapter = "openai-chat"
base_url = "http://127.0.0.1:{fake}/v1"
[[routes]]
model = "fake"
provider = "fake"
[[tools]]
name = "get_weather"
target = "tests.support.hosted_tools:get_weather"
[[tools]]
name = "once"
target = "tests.support.hosted_tools:append_line"
max_attempts = 10
[[tools]]
name = "wait_until"
wait = {{}}
[[tools]]
name = "researcher"
description = "Finds things out, and reports."
[tools.agent]
model = "fake"
instructions = "You research."
tools = ["get_weather"]
[[mcp_servers]]
label = "calc"
url = "http://127.0.0.1:{mcp}/mcp"
headers_env = {{ Authorization = "CALC_AUTH" }}
timeout_seconds = 5
[web_search]
backend = "searxng"
url = "http://127.0.0.1:{web}"
private_hosts = ["127.0.0.1:{web}"]
max_attempts = 10
[code_interpreter]
processes = 2
max_attempts = 10
[programmatic_tool_calling]
processes = 2
max_attempts = 10
[file_search]
max_attempts = 10
[webhooks]
retry_seconds = 0.5
trusted_urls = ["http://127.0.0.1:{hooks}/"]
"""


@dataclass
class Servers:
    """A stack, and what some faults need beside it; a fault that needs more than there is, is left out."""

    stack: Stack
    receiver: WebhookReceiver
    page_url: str = "https://www.example.com/"
    """A page that a model may open."""
    links: Links | None = None
    redis: ReplicatedRedis | None = None
    disk: SmallDisk | None = None
    _temporal: Client | None = None

    def left_out(self) -> list[str]:
        """The kinds of faults for which something is missing."""
        needs = {"cuts and slow links": self.links, "failover of Redis": self.redis, "full disk": self.disk}
        return [name for name, needed in needs.items() if needed is None]

    async def temporal(self) -> Client:
        """A client of Temporal. Raises RuntimeError and RPCError while Temporal is away."""
        if self._temporal is None:
            self._temporal = await Client.connect(self.stack.temporal_address)
        return self._temporal

    async def heal(self) -> None:
        """Undo what a fault may have left, and start again what it has ended."""
        if self.links is not None:
            await self.links.set_mode("pass", *self.links.ports)
        if self.disk is not None:
            self.disk.free()
        await self.stack.heal()


@asynccontextmanager
async def campaign_servers(data: Path, upstream: Upstream, receiver: WebhookReceiver) -> AsyncIterator[Servers]:
    """Temporal, three Redis and a Sentinel, two workers, the API and an MCP server, with a link for each dependency."""
    ports = {name: services.free_port() for name in ("temporal", "api", "mcp", "web")}
    targets = {"redis": services.free_port(), "temporal": ports["temporal"]}
    given = {
        f"{client}-{server}": (services.free_port(), target)
        for client in CLIENTS_OF_REDIS
        for server, target in targets.items()
    }
    data.mkdir(parents=True, exist_ok=True)
    (data / "hosted").mkdir()
    config = data / "open_responses.toml"
    config.write_text(_CONFIG.format(fake=upstream.port, mcp=ports["mcp"], web=ports["web"], hooks=receiver.port))
    disk = SmallDisk(data / "disk")
    disk.mount()
    try:
        async with Links(given) as links:
            stack = Stack(data)
            stack.temporal_address = f"127.0.0.1:{ports['temporal']}"
            stack.api_url = f"http://127.0.0.1:{ports['api']}"
            stack.env = {
                "OPEN_RESPONSES_CONFIG": str(config),
                "OPEN_RESPONSES_KEEPALIVE_SECONDS": "1",
                "OPEN_RESPONSES_DATA_DIR": str(data),
                "OPEN_RESPONSES_BLOB_DIR": str(disk.folder / "blobs"),
                "OPEN_RESPONSES_FILES_DIR": str(disk.folder / "files"),
                "HOSTED_TOOLS_DIR": str(data / "hosted"),
                "CALC_AUTH": f"Bearer {TOKEN}",
            }
            stack.own_env = {client: _addresses(links, client) for client in CLIENTS_OF_REDIS}
            stack.services = {
                "temporal": services.temporal(ports["temporal"], data),
                "mcp": _mcp(ports["mcp"], {"HOSTED_TOOLS_DIR": str(data / "hosted")}),
                "web": _web(ports["web"]),
                "api": services.api(ports["api"], {**stack.env, **stack.own_env["api"]}),
            }
            redis = ReplicatedRedis(stack, links, tuple(f"{client}-redis" for client in CLIENTS_OF_REDIS))
            try:
                await redis.start()
                for name in ("temporal", "mcp", "web", *WORKERS, "api"):
                    await stack.start(name)
                page_url = f"http://127.0.0.1:{ports['web']}/pages/durability"
                yield Servers(stack, receiver, page_url, links, redis, disk if disk.can_be_filled else None)
            finally:
                await redis.stop()
                await stack.stop()
    finally:
        disk.unmount()


def _addresses(links: Links, client: str) -> dict[str, str]:
    return {
        "REDIS_URL": f"redis://127.0.0.1:{links.ports[f'{client}-redis']}/0",
        "TEMPORAL_ADDRESS": f"127.0.0.1:{links.ports[f'{client}-temporal']}",
    }


def _web(port: int) -> Service:
    async def ready() -> bool:
        return is_taken(port)

    return Service("web", (sys.executable, "-m", "examples.local_web", str(port)), ready)


def _mcp(port: int, env: dict[str, str]) -> Service:
    async def ready() -> bool:
        return is_taken(port)

    return Service("mcp", (sys.executable, "-m", "tests.support.mcp_server", str(port), "streamable"), ready, env)
