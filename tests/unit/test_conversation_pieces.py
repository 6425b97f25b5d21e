"""A conversation's turns are stored once, however many responses read them, and each reads what it was begun with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from api.conversation_entries import KnownEntries
from open_responses.conversations.payloads import ConversationPart, ConversationState, Entry, PartQuery
from open_responses.conversations.snapshot import remembered
from open_responses.conversations.state import Conversation
from open_responses.errors import PreviousResponseNotFound
from open_responses.ids import new_id
from open_responses.io.store.conversation_pieces import ConversationPieces
from open_responses.io.temporal.large_payloads import ClaimBroken, forget_payloads
from open_responses.loop.payloads.start import Remembered, RememberedExchange

CONVERSATION = new_id("conv_")
KEY = b"k" * 32


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of small files, each of which is synced."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def turn(number: int, *, text: str = "") -> RememberedExchange:
    said = {"type": "message", "role": "user", "content": text or f"turn {number}: {'word ' * 60}{number * 7919}"}
    return RememberedExchange(input=[{**said, "id": f"msg_{number}"}], output=[{**said, "id": f"msg_a{number}"}])


def folder_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (directory / CONVERSATION).iterdir()}


@pytest.mark.parametrize("keys", [(), (KEY,)])
@pytest.mark.parametrize("count", [15, 16, 17, 256, 300, 4500])
async def test_what_a_response_reads_comes_back_in_its_order(
    tmp_path: Path, keys: tuple[bytes, ...], count: int
) -> None:
    given = Remembered(turns=[turn(number) for number in range(count)])
    referenced = await ConversationPieces(tmp_path, keys).referenced(CONVERSATION, given)
    assert referenced.turns == []
    assert len(referenced.pieces) <= 3 * 15 + 1
    assert await ConversationPieces(tmp_path, keys).expanded(referenced) == given
    more = referenced.model_copy(update={"turns": [turn(9999)]})
    found = await ConversationPieces(tmp_path, keys).expanded(more)
    assert found is not None
    assert found.turns == [*given.turns, turn(9999)]


async def test_a_short_conversation_stays_in_the_start(tmp_path: Path) -> None:
    given = Remembered(turns=[turn(1)])
    assert await ConversationPieces(tmp_path).referenced(CONVERSATION, given) == given
    assert list(tmp_path.iterdir()) == []


async def test_storage_grows_with_the_turns_and_not_with_their_square(tmp_path: Path) -> None:
    """2,000 items in 1,000 turns: about twice what 1,000 items take. Carried in each start it was four times as much.

    Each 8th turn is begun, and counted for eight.
    """
    pieces, turns, starts, carried = ConversationPieces(tmp_path), [], 0, 0
    sizes = {}
    for number in range(1, 1001):
        turns.append(turn(number))
        if number % 8 == 0:
            starts += 8 * len((await pieces.referenced(CONVERSATION, Remembered(turns=turns))).model_dump_json())
        carried += number * len(turns[0].model_dump_json())
        if number in (500, 1000):
            files = sum(path.stat().st_size for path in (tmp_path / CONVERSATION).iterdir())
            sizes[2 * number] = (starts + files, carried)
    by_reference = sizes[2000][0] / sizes[1000][0]
    in_each_start = sizes[2000][1] / sizes[1000][1]
    print(f"bytes(2000 items) / bytes(1000 items): {by_reference:.2f} by reference, {in_each_start:.2f} in each start")
    assert by_reference < 2.3
    assert in_each_start > 3.9
    assert sizes[2000][0] < sizes[2000][1] / 50


async def test_what_is_there_is_touched_and_not_written(tmp_path: Path) -> None:
    """The sweep spares what a conversation still uses."""
    pieces, given = ConversationPieces(tmp_path, [KEY]), Remembered(turns=[turn(number) for number in range(40)])
    first = await pieces.referenced(CONVERSATION, given)
    written = folder_of(tmp_path)
    for path in (tmp_path / CONVERSATION).iterdir():
        os.utime(path, (0, 0))
    assert await ConversationPieces(tmp_path, [KEY]).referenced(CONVERSATION, given) == first
    assert folder_of(tmp_path) == written
    assert all(path.stat().st_mtime > 0 for path in (tmp_path / CONVERSATION).iterdir())


async def test_an_item_that_is_deleted_writes_no_other_turn_again(tmp_path: Path) -> None:
    pieces, turns = ConversationPieces(tmp_path), [turn(number) for number in range(100)]
    await pieces.referenced(CONVERSATION, Remembered(turns=turns))
    before = folder_of(tmp_path)
    turns[50] = RememberedExchange(input=turns[50].input, output=[])
    after = await pieces.referenced(CONVERSATION, Remembered(turns=turns))
    assert len(folder_of(tmp_path)) == len(before) + 1, "the 16 turns that it was among"
    found = await ConversationPieces(tmp_path).expanded(after)
    assert found is not None
    assert found.turns == turns


async def test_encrypted_pieces_and_their_names_tell_nothing(tmp_path: Path) -> None:
    given = Remembered(turns=[turn(number, text=f"secret {number} " * 50) for number in range(9)])
    plain = await ConversationPieces(tmp_path / "plain").referenced(CONVERSATION, given)
    sealed = await ConversationPieces(tmp_path / "sealed", [KEY]).referenced(CONVERSATION, given)
    assert set(plain.pieces).isdisjoint(sealed.pieces)
    assert not any(b"secret" in content for content in folder_of(tmp_path / "sealed").values())
    rotated = ConversationPieces(tmp_path / "sealed", [b"n" * 32, KEY])
    assert await rotated.expanded(sealed) == given


async def test_what_went_with_its_conversation_is_gone_from_memory_as_well(tmp_path: Path) -> None:
    pieces = ConversationPieces(tmp_path)
    referenced = await pieces.referenced(CONVERSATION, Remembered(turns=[turn(number) for number in range(40)]))
    assert await pieces.expanded(referenced) is not None
    assert not await pieces.are_gone(referenced)
    await forget_payloads(tmp_path, CONVERSATION)
    assert await pieces.are_gone(referenced)
    with pytest.raises(PreviousResponseNotFound, match="was deleted"):
        await pieces.expanded(referenced)


async def test_a_damaged_piece_and_a_name_that_is_none_are_noticed(tmp_path: Path) -> None:
    referenced = await ConversationPieces(tmp_path).referenced(CONVERSATION, Remembered(turns=[turn(0)] * 9))
    (tmp_path / CONVERSATION / referenced.pieces[0]).write_bytes(b"\nnonsense")
    with pytest.raises(ClaimBroken, match="damaged"):
        await ConversationPieces(tmp_path).expanded(referenced)
    with pytest.raises(ClaimBroken):
        await ConversationPieces(tmp_path).expanded(referenced.model_copy(update={"pieces": ["../../etc/passwd"]}))
    with pytest.raises(ClaimBroken):
        await ConversationPieces(tmp_path).expanded(referenced.model_copy(update={"conversation_id": "../x"}))


# --- entries, read in parts


def conversation(count: int, text: str = "x") -> Conversation:
    entries = [Entry(item={"type": "message", "role": "user", "id": f"msg_{i}", "content": text}) for i in range(count)]
    return Conversation(ConversationState(conversation_id=CONVERSATION, tenant="t", created_at=1, entries=entries))


class Asked:
    """A conversation's workflow, which counts what it tells."""

    def __init__(self, known: Conversation) -> None:
        self.conversation = known
        self.told = 0
        self.parts = 0

    async def part(self, query: PartQuery) -> ConversationPart:
        found = self.conversation.part(query)
        self.told += len(found.entries)
        self.parts += 1
        return found


async def test_a_conversation_is_read_in_parts_that_stay_out_of_files() -> None:
    asked = Asked(conversation(300, "y" * 1000))
    entries = await KnownEntries().read(asked.conversation.summary(), asked.part)
    assert entries == asked.conversation.state.entries
    assert asked.parts == 4
    large = Asked(conversation(3, "z" * 200_000))
    assert await KnownEntries().read(large.conversation.summary(), large.part) == large.conversation.state.entries
    assert large.parts == 3


async def test_only_what_is_new_is_read_until_an_item_is_deleted() -> None:
    asked, known = Asked(conversation(50)), KnownEntries()
    await known.read(asked.conversation.summary(), asked.part)
    asked.told = 0
    asked.conversation.add([{"type": "message", "role": "user", "id": "msg_new", "content": "new"}])
    assert await known.read(asked.conversation.summary(), asked.part) == asked.conversation.state.entries
    assert asked.told == 1
    asked.conversation.delete("msg_7")
    asked.told = 0
    assert await known.read(asked.conversation.summary(), asked.part) == asked.conversation.state.entries
    assert asked.told == 50


async def test_a_conversation_that_changes_while_it_is_read_is_read_again() -> None:
    asked = Asked(conversation(5))
    before = asked.conversation.summary()
    asked.conversation.delete("msg_1")
    assert await KnownEntries().read(before, asked.part) is None


async def test_what_is_known_has_a_bound() -> None:
    known, first = KnownEntries(most_characters=100), Asked(conversation(5))
    summary = first.conversation.summary().model_copy(update={"characters": 101})
    await known.read(summary, first.part)
    first.told = 0
    await known.read(summary, first.part)
    assert first.told == 5


def test_what_is_referenced_is_what_a_model_may_still_read() -> None:
    found = remembered(conversation(3).state)
    assert found is not None
    assert (found.pieces, len(found.turns)) == ([], 1)
