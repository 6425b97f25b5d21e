"""The state of the keys that are made at run time, and the keys that a request is compared with."""

from __future__ import annotations

import hashlib
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import HTTPConnection

from api.app_state import AppState
from api.auth import valid_key
from api.key_ring import KeyRing, ring_of
from open_responses.api_keys import state as keys_state
from open_responses.api_keys.state import (
    ApiKeys,
    ApiKeysState,
    ChangeKey,
    ChangesQuery,
    CreateKey,
    KeysQuery,
    Refused,
    RevokeKey,
    StoredKey,
    new_secret,
)
from open_responses.config_tables.api_keys import ApiKeyConfig, key_id
from open_responses.errors import Unauthorized, Unavailable


def key(number: int, **values: Any) -> StoredKey:
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return StoredKey(
        **{"id": key_id(sha256), "sha256": sha256, "prefix": "or-", "tenant": "t", "created_at": number, **values}
    )


def create(keys: ApiKeys, made: StoredKey, at: float = 1.0) -> StoredKey:
    call = CreateKey(key=made, by="key_admin", at=at)
    keys.check_creation(call)
    return keys.create(call)


def change(keys: ApiKeys, made: StoredKey, **values: Any) -> StoredKey:
    call = ChangeKey(id=made.id, values=values, by="key_admin", at=2.0)
    keys.check_change(call)
    return keys.change(call)


def test_a_new_key_is_random_and_its_hash_is_of_the_whole() -> None:
    (key, sha256, prefix), (another, *_) = new_secret(), new_secret()
    assert key != another
    assert hashlib.sha256(key.encode()).hexdigest() == sha256
    assert key.startswith(prefix)
    assert len(prefix) < 10


def test_a_change_merges_limits_and_keeps_what_it_does_not_name() -> None:
    keys = ApiKeys(ApiKeysState())
    made = create(keys, key(1, limits={"requests_per_minute": 5, "max_concurrent": 2}, models=["a"]))
    changed = change(keys, made, limits={"requests_per_minute": None, "budget_tokens": 7}, weight=2.0)
    assert changed.limits == {"max_concurrent": 2, "budget_tokens": 7}
    assert (changed.models, changed.weight, changed.tenant) == (["a"], 2.0, "t")
    assert keys.state.keys == [changed]


@pytest.mark.parametrize("values", [{"tenant": "another"}, {"sha256": "0" * 64}, {"id": "key_x"}, {"revoked_at": None}])
def test_no_change_reaches_whom_a_key_identifies(values: dict[str, Any]) -> None:
    keys = ApiKeys(ApiKeysState())
    made = create(keys, key(1))
    assert change(keys, made, **values) == made
    assert len(keys.state.changes) == 1, "nothing has changed"


def test_a_revoked_key_cannot_be_changed_and_is_revoked_once() -> None:
    keys = ApiKeys(ApiKeysState())
    made = create(keys, key(1))
    revoked = keys.revoke(RevokeKey(id=made.id, by="a", at=5.0))
    assert keys.revoke(RevokeKey(id=made.id, by="b", at=9.0)) == revoked
    assert revoked.revoked_at == 5
    with pytest.raises(Refused, match="final"):
        change(keys, made, name="x")
    assert [record.action for record in keys.state.changes] == ["created", "revoked"]


def test_what_no_table_of_the_file_could_have_is_refused() -> None:
    keys = ApiKeys(ApiKeysState())
    with pytest.raises(Refused):
        create(keys, key(1, limits={"requests_per_minute": -1}))
    made = create(keys, key(2))
    with pytest.raises(Refused):
        change(keys, made, scopes=["root"])
    assert keys.state.keys == [made]


def test_keys_are_bounded_in_number_and_size_and_revoked_ones_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_state, "MAX_KEYS", 2)
    monkeypatch.setattr(keys_state, "_MOST_REVOKED", 1)
    keys = ApiKeys(ApiKeysState())
    first, second = create(keys, key(1)), create(keys, key(2))
    with pytest.raises(Refused, match="Revoke some"):
        create(keys, key(3))
    keys.revoke(RevokeKey(id=first.id, by="a", at=3.0))
    third = create(keys, key(3))
    keys.revoke(RevokeKey(id=second.id, by="a", at=4.0))
    fourth = create(keys, key(4))
    assert [one.id for one in keys.state.keys] == [second.id, third.id, fourth.id], (
        "the first to be revoked is forgotten"
    )
    keys.revoke(RevokeKey(id=third.id, by="a", at=5.0))
    monkeypatch.setattr(keys_state, "MAX_CHARACTERS", 1000)
    with pytest.raises(Refused, match="characters"):
        create(keys, key(5, models=["m" * 100] * 10))


def test_the_audit_log_keeps_the_newest_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_state, "_MOST_CHANGES", 3)
    keys = ApiKeys(ApiKeysState())
    made = [create(keys, key(number)) for number in range(5)]
    page = keys.changes(ChangesQuery(limit=2))
    assert [record.key_id for record in page.changes] == [made[4].id, made[3].id]
    assert page.has_more
    rest = keys.changes(ChangesQuery(limit=2, after=page.changes[-1].id))
    assert ([record.key_id for record in rest.changes], rest.has_more) == ([made[2].id], False)
    assert keys.changes(ChangesQuery(limit=2, after="change_0")).changes == []


def test_the_revision_grows_also_behind_a_state_of_yesterday() -> None:
    keys = ApiKeys(ApiKeysState())
    create(keys, key(1), at=100.0)
    yesterday = keys.state.model_copy(deep=True)
    create(keys, key(2), at=200.0)
    today = keys.state.revision
    again = ApiKeys(yesterday)
    create(again, key(3), at=300.0)
    assert again.state.revision > today
    create(again, key(4), at=250.0)
    assert again.state.revision > 300_000


def test_pages_are_small_and_whole() -> None:
    keys = ApiKeys(ApiKeysState(keys=[key(number, models=["m" * 100] * 50) for number in range(60)]))
    found, start = list[StoredKey](), 0
    while True:
        page = keys.page(KeysQuery(start=start))
        assert len(page.model_dump_json()) < 100 * 1024
        found += page.keys
        if page.next is None:
            break
        start = page.next
    assert found == keys.state.keys


def test_a_key_is_compared_by_its_hash_and_ends_with_its_time_or_its_revocation() -> None:
    now = int(time.time())
    stored = [key(1), key(2, revoked_at=now), key(3, expires_at=now - 1), key(4, expires_at=now + 1000)]
    ring = ring_of([], stored, is_complete=True)
    found = [ring.find(one.sha256) for one in stored]
    assert [one and one.end for one in found] == [None, "revoked", "expired", None]
    assert ring.find("0" * 64) is None


def test_a_key_of_the_file_wins_and_one_of_a_later_version_is_left_out() -> None:
    known, unknown = key(1, revoked_at=5), key(2, scopes=["a scope of a later version"])
    ring = ring_of([ApiKeyConfig(tenant="file", sha256=known.sha256)], [known, unknown], is_complete=True)
    found = ring.find(known.sha256)
    assert found is not None
    assert (found.end, found.config.tenant) == (None, "file")
    assert ring.find(unknown.sha256) is None


def test_a_process_that_has_read_no_keys_says_so_and_accepts_those_of_the_file() -> None:
    """401 would say that the key is wrong, and its holder would throw it away."""
    known = ApiKeyConfig(tenant="t", sha256=hashlib.sha256(b"of the file").hexdigest())
    not_read, read = (ring_of([known], [], is_complete=is_complete) for is_complete in (False, True))
    assert found_in(not_read, "Bearer of the file") == known
    with pytest.raises(Unavailable):
        found_in(not_read, "Bearer unknown")
    with pytest.raises(Unauthorized):
        found_in(read, "Bearer unknown")
    for nothing in ("", "Bearer ", "Basic of the file"):
        with pytest.raises(Unauthorized):
            found_in(not_read, nothing)


def found_in(ring: KeyRing, authorization: str) -> ApiKeyConfig:
    headers = [(b"authorization", authorization.encode())]
    connection = HTTPConnection({"type": "http", "headers": headers})
    return valid_key(cast(AppState, SimpleNamespace(keys=ring)), connection)
