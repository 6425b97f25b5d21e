"""Checks that each compaction in a request was made by this server for the same tenant."""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.context.compaction import owner
from open_responses.errors import InvalidRequest
from open_responses.io.sealing import SealBroken, Sealer
from open_responses.schema.items import Compaction, InputItem


def check_compactions(items: Sequence[InputItem], sealer: Sealer, tenant: str, *, path: str = "input") -> None:
    """Raises InvalidRequest for what this server did not write for this tenant."""
    for index, item in enumerate(items):
        if isinstance(item, Compaction):
            try:
                sealer.unseal(item.encrypted_content, bound_to=owner(tenant))
            except SealBroken as error:
                raise InvalidRequest(
                    f"This compaction cannot be read: {error}. Send one that this server made for your API key's "
                    "tenant, and send it unchanged.",
                    param=f"{path}[{index}].encrypted_content",
                    code="invalid_value",
                ) from None
