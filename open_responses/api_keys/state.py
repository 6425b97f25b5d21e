"""The state machine of the API keys that operators make at run time.

One workflow has them all (`workflows/api_keys.py`). Its rules are here, without Temporal, so that they can be tested
alone. What they prevent: a key that comes back after it was revoked, a change that cannot be traced to its maker, and a
state that grows until its workflow cannot pass it on.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Literal

from pydantic import Field, JsonValue

from open_responses.api_keys.limits import LIMITS
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.json_types import JsonObject
from open_responses.schema.payload import Payload
from open_responses.webhooks.endpoints import StoredEndpoint

API_KEYS_WORKFLOW = "ApiKeysWorkflow"
API_KEYS_ID = "api-keys"
"""The id of the one workflow."""
CREATE, CHANGE, REVOKE = "create", "change", "revoke"
"""Its updates."""

KEYS_FULL = "api_keys_full"
KEY_NOT_FOUND = "not_found"
KEY_REVOKED = "api_key_revoked"
KEY_KNOWN = "api_key_known"
INVALID_VALUE = "invalid_value"

MAX_KEYS = 1000
"""The most keys that are not revoked."""
MAX_CHARACTERS = 4_000_000
"""The most characters of all keys as JSON. Each run of the workflow passes them on to the next."""
_MOST_REVOKED = 1000
_MOST_CHANGES = 500
# Less than the 128 KiB above which the result of a query goes to a file (io/temporal/large_payloads.py).
_PAGE_CHARACTERS = 64 * 1024
_PREFIX_CHARACTERS = 8


class Refused(Exception):
    """A change that the keys reject. `code` is one of the names above."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class StoredKey(Payload):
    """A key as the workflow has it: its hash, and never the key itself.

    Attributes:
        id: As `ApiKeyConfig.id`.
        sha256: The SHA-256 of the key, in hexadecimal.
        prefix: The first characters of the key, by which its holder recognises it.
        tenant: As in `[[api_keys]]`; so are the scopes, models, tools and weight.
        name: The operator's name for the key.
        limits: Name -> value of the limits that were set. Any other has the default of `[[api_keys]]`.
        created_at: Unix seconds.
        expires_at: Unix seconds from which on the key is refused; None for a key that does not expire.
        revoked_at: Unix seconds; None for a key that was not revoked.
        webhooks: The endpoints that get the events of the key's responses.
    """

    id: str
    sha256: str
    prefix: str
    tenant: str
    name: str | None = None
    scopes: list[str] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)
    tools: list[str] = Field(default_factory=list)
    limits: dict[str, int | float | str] = Field(default_factory=dict)
    weight: float = 1.0
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    webhooks: list[StoredEndpoint] = Field(default_factory=list)

    def config(self) -> ApiKeyConfig:
        """Return the key as an `[[api_keys]]` table has it. Raises ValueError for one that no table could have."""
        return ApiKeyConfig.model_validate(
            {
                "tenant": self.tenant,
                "sha256": self.sha256,
                "scopes": self.scopes,
                "models": self.models,
                "tools": self.tools,
                "weight": self.weight,
                **{name: value for name, value in self.limits.items() if name in LIMITS},
            }
        )


class ChangeRecord(Payload):
    """A line of the audit log.

    Attributes:
        id: Unique among the changes.
        at: Unix seconds.
        action: What was done.
        key_id: The key that was changed.
        tenant: Its tenant.
        by: The id of the operator's key that made the change.
        fields: The names of the changed fields, such as `limits.budget_tokens`.
        values: Field -> new value.
    """

    id: str
    at: int
    action: Literal["created", "changed", "revoked"]
    key_id: str
    tenant: str
    by: str
    fields: list[str] = Field(default_factory=list)
    values: dict[str, JsonValue] = Field(default_factory=dict)


class ApiKeysState(Payload):
    """The whole state: the input of each run of the workflow.

    Attributes:
        revision: Grows with each change; the time of the change in milliseconds, unless that would not be larger. So
            it also grows where an operator reset the workflow to an earlier state.
        keys: The keys, in the order of their creation.
        changes: The newest changes, oldest first.
        changes_per_run: The changes after which the workflow continues as a new run.
        renew_seconds: The longest time that a run rests (`conversations/state.py`).
    """

    revision: int = 0
    keys: list[StoredKey] = Field(default_factory=list)
    changes: list[ChangeRecord] = Field(default_factory=list)
    changes_per_run: int = 200
    renew_seconds: float = 20 * 24 * 3600.0


class CreateKey(Payload):
    """The update `create`. `at`: Unix seconds, by the API's clock."""

    key: StoredKey
    by: str
    at: float


class ChangeKey(Payload):
    """The update `change`. `values`: name -> new value; in `limits`, None removes a limit.

    In `webhooks`, by their ids, None removes an endpoint, and some members of one change these alone. `only_for_urls`:
    an endpoint's id -> the address that it must have; one that has another by now is not changed.
    """

    id: str
    values: dict[str, JsonValue]
    by: str
    at: float
    only_for_urls: dict[str, str] = Field(default_factory=dict)


class RevokeKey(Payload):
    """The update `revoke`."""

    id: str
    by: str
    at: float


class KeysQuery(Payload):
    """A page of the keys, from this index on."""

    start: int = 0


class KeysPage(Payload):
    """Some of the keys, and the index at which the next page starts; None after the last."""

    revision: int
    keys: list[StoredKey]
    next: int | None = None


class ChangesQuery(Payload):
    """A page of the audit log, newest first. `after`: the id of a change, whose elders are returned."""

    limit: int
    after: str | None = None


class ChangesPage(Payload):
    """Some of the changes, newest first. `knows_after`: the change that the query named as `after` is in the log."""

    changes: list[ChangeRecord]
    has_more: bool
    knows_after: bool = True


def new_secret() -> tuple[str, str, str]:
    """Return a new key of 256 random bits, its SHA-256, and its prefix. Do not use it in workflow code."""
    key = f"or-{secrets.token_urlsafe(32)}"
    return key, hashlib.sha256(key.encode()).hexdigest(), key[:_PREFIX_CHARACTERS]


class ApiKeys:
    """The keys and their changes.

    Each `check_` method raises Refused, and changes nothing. The others do not check again: what an earlier version
    accepted stays accepted where a later one replays it.
    """

    def __init__(self, state: ApiKeysState) -> None:
        self._state = state

    @property
    def state(self) -> ApiKeysState:
        """The state, as the next run of the workflow gets it."""
        return self._state

    def check_creation(self, call: CreateKey) -> None:
        """Check that there is room for a new key, and that it is new."""
        _check_config(call.key)
        if self._find(call.key.id) is not None:
            raise Refused(KEY_KNOWN, "A key with this hash exists.")
        if sum(key.revoked_at is None for key in self._state.keys) >= MAX_KEYS:
            raise Refused(KEYS_FULL, f"There are {MAX_KEYS} keys, the most that there may be. Revoke some of them.")
        self._check_size(call.key)

    def create(self, call: CreateKey) -> StoredKey:
        """Add a key."""
        self._state.keys.append(call.key)
        self._drop_revoked()
        given = call.key.model_dump(mode="json", exclude={"id", "sha256", "prefix", "created_at", "tenant", "webhooks"})
        self._record(
            "created", call.key, call.by, call.at, _flat({name: value for name, value in given.items() if value})
        )
        return call.key

    def check_change(self, call: ChangeKey) -> None:
        """Check that the key is there and not revoked, and that it may have these values."""
        changed = self._changed(call)
        _check_config(changed)
        self._check_size(changed)

    def change(self, call: ChangeKey) -> StoredKey:
        """Change the key, and return it as it is now."""
        changed, before = self._changed(call), self._known(call.id)
        self._state.keys[self._state.keys.index(before)] = changed
        old, new = (_flat(key.model_dump(mode="json")) for key in (before, changed))
        differing = {name: new.get(name) for name in {**old, **new} if old.get(name) != new.get(name)}
        if "webhooks" in differing:
            # The audit log has no secret, not even a sealed one.
            differing["webhooks"] = [one.shown() for one in changed.webhooks]
        if differing:
            self._record("changed", changed, call.by, call.at, differing)
        return changed

    def check_revocation(self, call: RevokeKey) -> None:
        """Check that the key is there."""
        self._known(call.id)

    def revoke(self, call: RevokeKey) -> StoredKey:
        """Revoke the key for good. One that is revoked already stays as it is."""
        key = self._known(call.id)
        if key.revoked_at is not None:
            return key
        revoked = key.model_copy(update={"revoked_at": int(call.at)})
        self._state.keys[self._state.keys.index(key)] = revoked
        self._record("revoked", revoked, call.by, call.at, {})
        return revoked

    def page(self, query: KeysQuery) -> KeysPage:
        """Return the keys from an index on, as many as fit into one answer, at least one."""
        page, size = list[StoredKey](), 0
        for key in self._state.keys[max(0, query.start) :]:
            size += len(key.model_dump_json())
            if page and size > _PAGE_CHARACTERS:
                return KeysPage(revision=self._state.revision, keys=page, next=query.start + len(page))
            page.append(key)
        return KeysPage(revision=self._state.revision, keys=page)

    def changes(self, query: ChangesQuery) -> ChangesPage:
        """Return a page of the audit log."""
        newest_first = self._state.changes[::-1]
        ids = [change.id for change in newest_first]
        start = ids.index(query.after) + 1 if query.after in ids else 0
        if query.after is not None and not start:
            return ChangesPage(changes=[], has_more=False, knows_after=False)
        page = newest_first[start : start + query.limit]
        return ChangesPage(changes=page, has_more=start + len(page) < len(newest_first))

    def _find(self, id: str) -> StoredKey | None:
        return next((key for key in self._state.keys if key.id == id), None)

    def _known(self, id: str) -> StoredKey:
        found = self._find(id)
        if found is None:
            raise Refused(KEY_NOT_FOUND, "There is no such key.")
        return found

    def _changed(self, call: ChangeKey) -> StoredKey:
        key = self._known(call.id)
        if key.revoked_at is not None:
            raise Refused(KEY_REVOKED, "This key was revoked, which is final. Create another one.")
        values = {name: value for name, value in call.values.items() if name in _CHANGEABLE}
        limits = values.pop("limits", None)
        if isinstance(limits, dict):
            merged = {**key.limits, **limits}
            values["limits"] = {name: value for name, value in merged.items() if value is not None}
        webhooks = values.pop("webhooks", None)
        if isinstance(webhooks, dict):
            moved = {one.id for one in key.webhooks if call.only_for_urls.get(one.id, one.url) != one.url}
            meant = {id: change for id, change in webhooks.items() if id not in moved}
            values["webhooks"] = _merged({one.id: one.model_dump() for one in key.webhooks}, meant)
        return StoredKey.model_validate({**key.model_dump(), **values})

    def _check_size(self, key: StoredKey) -> None:
        others = sum(len(other.model_dump_json()) for other in self._state.keys if other.id != key.id)
        if others + len(key.model_dump_json()) > MAX_CHARACTERS:
            raise Refused(
                KEYS_FULL,
                f"All keys together have more than {MAX_CHARACTERS} characters. Revoke some.",
            )

    def _drop_revoked(self) -> None:
        """Forget those that were revoked first, where there are many. An unknown key is refused as a revoked one is."""
        revoked = sorted((key for key in self._state.keys if key.revoked_at is not None), key=_revoked_at)
        for key in revoked[: max(0, len(revoked) - _MOST_REVOKED)]:
            self._state.keys.remove(key)

    def _record(
        self,
        action: Literal["created", "changed", "revoked"],
        key: StoredKey,
        by: str,
        at: float,
        values: dict[str, JsonValue],
    ) -> None:
        self._state.revision = max(self._state.revision + 1, int(at * 1000))
        record = ChangeRecord(
            id=f"change_{self._state.revision}",
            at=int(at),
            action=action,
            key_id=key.id,
            tenant=key.tenant,
            by=by,
            fields=sorted(values),
            values=values,
        )
        self._state.changes = [*self._state.changes, record][-_MOST_CHANGES:]


_CHANGEABLE = frozenset({"name", "scopes", "models", "tools", "limits", "weight", "expires_at", "webhooks"})


def _merged(endpoints: dict[str, JsonObject], changes: Mapping[str, JsonValue]) -> list[JsonValue]:
    """The endpoints after a change. Some members of an endpoint that was removed meanwhile make none."""
    for id, change in changes.items():
        if not isinstance(change, dict):
            endpoints.pop(id, None)
        elif id in endpoints or "url" in change:
            endpoints[id] = {**endpoints.get(id, {}), **change}
    return list(endpoints.values())


def _check_config(key: StoredKey) -> None:
    try:
        key.config()
    except ValueError:
        raise Refused(INVALID_VALUE, "A key of the configuration file could not have these values.") from None


def _flat(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """`{"limits": {"a": 1}}` -> `{"limits.a": 1}`."""
    limits = values.get("limits")
    named = {f"limits.{name}": value for name, value in limits.items()} if isinstance(limits, dict) else {}
    return {**{name: value for name, value in values.items() if name != "limits"}, **named}


def _revoked_at(key: StoredKey) -> int:
    return key.revoked_at or 0
