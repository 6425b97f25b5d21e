"""The API keys in force: those of the configuration file, and those that operators made at run time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from open_responses.api_keys.state import StoredKey
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.webhooks.endpoints import WebhookTarget


@dataclass(frozen=True, slots=True)
class RingKey:
    """A key, and its record if it was made at run time."""

    config: ApiKeyConfig
    stored: StoredKey | None = None

    @property
    def end(self) -> str | None:
        """Why the key is not accepted any more: `revoked`, `expired`, or None."""
        if self.stored is None:
            return None
        if self.stored.revoked_at is not None:
            return "revoked"
        return "expired" if self.stored.expires_at is not None and self.stored.expires_at <= time.time() else None

    def webhook_targets(self, *, with_disabled: bool = False) -> list[WebhookTarget]:
        """The endpoints of the key: those of the file, then those that were created at run time."""
        key_id = self.config.id
        in_file = [
            WebhookTarget(endpoint_id=hook.id_for(key_id), key_id=key_id, url=hook.url, events=list(hook.events))
            for hook in self.config.webhooks
        ]
        stored = [] if self.stored is None else self.stored.webhooks
        return in_file + [
            WebhookTarget(endpoint_id=one.id, key_id=key_id, url=one.url, events=one.event_types)
            for one in stored
            if with_disabled or one.disabled_at is None
        ]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by their SHA-256. A lookup is by the hash of the sent key, so its time reveals nothing of other keys.

    `is_complete`: the keys that were made at run time have been read, once at least.
    """

    by_hash: Mapping[str, RingKey] = field(default_factory=dict)
    is_complete: bool = True

    def find(self, sha256: str) -> RingKey | None:
        return self.by_hash.get(sha256)


def ring_of(file: Sequence[ApiKeyConfig], stored: Sequence[StoredKey], *, is_complete: bool) -> KeyRing:
    """A key of the file replaces one of the same hash that was made at run time."""
    keys: dict[str, RingKey] = {}
    for key in stored:
        # A later version may have made it, with values that this one does not have.
        with contextlib.suppress(ValueError):
            keys[key.sha256] = RingKey(key.config(), key)
    return KeyRing({**keys, **{key.sha256: RingKey(key) for key in file}}, is_complete)
