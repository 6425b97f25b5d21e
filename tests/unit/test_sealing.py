"""Secrets of a request are unreadable outside our processes, and open only where they belong."""

from __future__ import annotations

import base64
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_responses.io.sealing import SealBroken, Sealer, load_sealer
from open_responses.io.settings import ConfigError

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
SECRET = b"Bearer hunter2"
VARIABLE = "OPEN_RESPONSES_ENCRYPTION_KEYS"


def encoded(*keys: bytes) -> str:
    return ",".join(base64.b64encode(key).decode() for key in keys)


# --- sealing


@given(st.binary(), st.text(alphabet=st.characters(codec="utf-8")))
def test_what_is_sealed_opens_for_the_one_it_is_bound_to(plain: bytes, bound_to: str) -> None:
    sealer = Sealer([NEW])
    assert sealer.unseal(sealer.seal(plain, bound_to=bound_to), bound_to=bound_to) == plain


def test_a_sealed_text_shows_version_and_key_id_and_nothing_of_the_content() -> None:
    sealed = Sealer([NEW]).seal(SECRET, bound_to="resp_1")
    name, version, key_id, body = sealed.split(":")
    assert (name, version) == ("sealed", "v1")
    assert len(key_id) == 8
    assert bytes.fromhex(key_id) != NEW[:4]
    assert SECRET not in base64.urlsafe_b64decode(body)
    assert len(base64.urlsafe_b64decode(body)) == 12 + len(SECRET) + 16


def test_the_same_text_is_sealed_differently_each_time() -> None:
    sealer = Sealer([NEW])
    assert len({sealer.seal(SECRET, bound_to="resp_1") for _ in range(100)}) == 100


def test_a_sealed_text_does_not_open_elsewhere() -> None:
    sealer = Sealer([NEW])
    with pytest.raises(SealBroken, match="changed, or belongs elsewhere"):
        sealer.unseal(sealer.seal(SECRET, bound_to="resp_1"), bound_to="resp_2")


def test_every_changed_bit_is_noticed() -> None:
    sealer = Sealer([NEW])
    prefix, _, body = sealer.seal(SECRET, bound_to="resp_1").rpartition(":")
    raw = base64.urlsafe_b64decode(body)
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken, match="changed, or belongs elsewhere"):
            sealer.unseal(f"{prefix}:{base64.urlsafe_b64encode(changed).decode()}", bound_to="resp_1")


def test_every_shortened_text_is_noticed() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal(SECRET, bound_to="resp_1")
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            sealer.unseal(sealed[:length], bound_to="resp_1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Bearer hunter2",
        "sealed:v1:",
        "sealed:v2:00000000:AAAA",
        "sealed:v1:{id}:",
        "sealed:v1:{id}:AAAA",
        "sealed:v1:{id}:AAAAAAAAAAAAAAAAAAAA",
        "sealed:v1:{id}:hunter2 ",
        "sealed:v1:{id}:hünter2",
        "sealed:v1:{id}:A:A",
    ],
)
def test_what_was_never_sealed_is_refused_without_repeating_it(text: str) -> None:
    sealer = Sealer([NEW])
    key_id = sealer.seal(b"", bound_to="").split(":")[2]
    with pytest.raises(SealBroken) as caught:
        sealer.unseal(text.replace("{id}", key_id), bound_to="resp_1")
    assert "nter2" not in str(caught.value)


# --- rotation


def test_after_a_rotation_old_texts_open_and_new_ones_use_the_new_key() -> None:
    before, during, after = Sealer([OLD]), Sealer([NEW, OLD]), Sealer([NEW])
    old, new = before.seal(SECRET, bound_to="resp_1"), during.seal(SECRET, bound_to="resp_1")
    assert during.unseal(old, bound_to="resp_1") == SECRET
    assert after.unseal(new, bound_to="resp_1") == SECRET
    with pytest.raises(SealBroken, match=f"does not have.*{VARIABLE}"):
        after.unseal(old, bound_to="resp_1")


def test_order_decides_which_key_seals() -> None:
    sealed = [Sealer(keys).seal(SECRET, bound_to="") for keys in ([NEW, OLD], [OLD, NEW])]
    assert len({text.split(":")[2] for text in sealed}) == 2


# --- keys


def test_keys_come_from_the_variable_and_leave_no_file(tmp_path: Path) -> None:
    sealer = load_sealer(f" {encoded(NEW, OLD).replace(',', ' , ')} ", tmp_path)
    assert sealer.unseal(Sealer([OLD]).seal(SECRET, bound_to="x"), bound_to="x") == SECRET
    assert Sealer([NEW]).unseal(sealer.seal(SECRET, bound_to="x"), bound_to="x") == SECRET
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("not base64!", "must be base64"),
        ("schlüssel", "must be base64"),
        (encoded(b"short"), "must have 32 bytes, but has 5"),
        (encoded(NEW) + ",", "must have 32 bytes, but has 0"),
        (encoded(NEW, bytes(16)), "must have 32 bytes, but has 16"),
    ],
)
def test_a_bad_key_is_refused_by_variable_and_reason(tmp_path: Path, value: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        load_sealer(value, tmp_path)
    assert VARIABLE in str(caught.value)
    assert value not in str(caught.value)


@pytest.mark.parametrize("value", [None, ""])
def test_without_the_variable_a_private_key_file_is_made_and_kept(tmp_path: Path, value: str | None) -> None:
    data = tmp_path / "made" / "on demand"
    sealed = load_sealer(value, data).seal(SECRET, bound_to="x")
    assert load_sealer(value, data).unseal(sealed, bound_to="x") == SECRET
    assert [path.name for path in data.iterdir()] == ["secret.key"]
    assert (data / "secret.key").stat().st_mode & 0o777 == 0o600
    assert len(base64.b64decode((data / "secret.key").read_text(), validate=True)) == 32


def test_two_directories_have_two_keys(tmp_path: Path) -> None:
    sealed = load_sealer(None, tmp_path / "one").seal(SECRET, bound_to="x")
    with pytest.raises(SealBroken, match="does not have"):
        load_sealer(None, tmp_path / "two").unseal(sealed, bound_to="x")


@pytest.mark.parametrize("content", [b"", b"AAAA", "schlüssel".encode(), b"\xff" * 44])
def test_a_damaged_key_file_is_named_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret.key").write_bytes(content)
    with pytest.raises(ConfigError, match=r"secret\.key"):
        load_sealer(None, tmp_path)
    assert (tmp_path / "secret.key").read_bytes() == content


def test_a_directory_that_cannot_be_made_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"file/data/secret.key.*{VARIABLE}"):
        load_sealer(None, tmp_path / "file" / "data")


def test_threads_that_race_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        sealers = list(pool.map(lambda _: load_sealer(None, tmp_path / "data"), range(16)))
    sealed = [sealer.seal(SECRET, bound_to="x") for sealer in sealers]
    assert len({text.split(":")[2] for text in sealed}) == 1
    assert os.listdir(tmp_path / "data") == ["secret.key"]


def test_processes_that_race_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    pipes = [context.Pipe() for _ in range(4)]
    children = [context.Process(target=_seal_at_once, args=(tmp_path, barrier, theirs)) for _, theirs in pipes]
    for child in children:
        child.start()
    sealed = [ours.recv() for ours, _ in pipes]
    for child in children:
        child.join()
    opener = load_sealer(None, tmp_path)
    assert [opener.unseal(text, bound_to="x") for text in sealed] == [SECRET] * 4
    assert os.listdir(tmp_path) == ["secret.key"]


def _seal_at_once(data: Path, barrier: Barrier, answer: Connection) -> None:
    barrier.wait()
    answer.send(load_sealer(None, data).seal(SECRET, bound_to="x"))
