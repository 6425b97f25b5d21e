"""The parts of temporalio's client outside its public interface. No other module uses them.

What this prevents: an upgrade that moves one of them, so that a call fails in use instead of in a test.
`tests/unit/test_half_public_parts.py` checks each; `pyproject.toml` bounds the version.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message
from temporalio.service import ServiceClient
from typing_extensions import override

NOT_CONNECTED = "Failed client connect"
"""The beginning of the message of the `RuntimeError` that the SDK raises until it has been connected once
(`temporalio.bridge.client.Client.connect`)."""

_LONG_POLLS = frozenset({"update_workflow_execution", "poll_workflow_execution_update", "execute_multi_operation"})


class DelegatingServiceClient(ServiceClient):
    """The SDK's service client. Each of its calls goes through `call`, which a subclass overrides."""

    def __init__(self, inner: ServiceClient) -> None:
        super().__init__(inner.config)
        self._inner = inner

    async def call(
        self, send: Callable[[timedelta | None], Awaitable[Any]], *, given: timedelta | None, is_long_poll: bool
    ) -> Any:
        """Make one call, with `send`, and return its reply.

        Args:
            send: Makes the call, with a timeout.
            given: The timeout of the caller. Without one, the SDK waits for 30 seconds. It does not cover the time for
                which a call waits for the first connection, which is 30 seconds for each call that tries it.
            is_long_poll: Temporal delays the reply until something happens.
        """
        return await send(given)

    def send_through(self, other: DelegatingServiceClient) -> None:
        """Send the calls over the connection of another client from now on. Each of them still goes through `call`."""
        self._inner = other.inner

    @property
    def inner(self) -> ServiceClient:
        """The SDK's own."""
        return self._inner

    @property
    def is_connected(self) -> bool:
        """Whether the SDK has been connected once. Until then it has sent no call."""
        return getattr(self._inner, "_bridge_client", None) is not None

    @property
    def worker_service_client(self) -> Any:
        """The client of a worker's own calls. They do not go through `call`: the SDK retries them."""
        return self._inner.worker_service_client

    @override
    def update_rpc_metadata(self, metadata: Mapping[str, str | bytes]) -> None:
        self._inner.update_rpc_metadata(metadata)

    @override
    def update_api_key(self, api_key: str | None) -> None:
        self._inner.update_api_key(api_key)

    async def _rpc_call(self, rpc: str, req: Message, resp_type: type[Any], **options: Any) -> Any:
        given = options.pop("timeout")
        return await self.call(
            lambda timeout: self._inner._rpc_call(rpc, req, resp_type, timeout=timeout, **options),
            given=given,
            is_long_poll=rpc in _LONG_POLLS or getattr(req, "wait_new_event", False),
        )
