"""What must be true once, outside of the answers: effects of tools, contexts of chains, items of conversations."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.campaigns.answers import Answer, Misfit, Verdict


def check_effects(answers: list[Answer], folder: Path) -> None:
    """Settle each answer whose tool had no effect, or several.

    The hosted tool `once` writes a line with its idempotency key: lines with one key count as one effect. The MCP tool
    `note` has no such key; the product calls it once at most, and says in the call's item if its outcome is unknown.
    """
    hosted, noted = _effects(folder / "lines"), _notes(folder / "notes")
    for answer in answers:
        if answer.response is None:
            continue
        kinds = [item["type"] for item in answer.response["output"]]
        if answer.kind == "hosted tools" and "function_call_output" in kinds:
            _settle(answer, len(hosted[answer.prompt]), is_known=True)
        elif answer.kind == "program":
            _settle_program(answer, hosted, noted)
        elif answer.kind == "MCP" and "mcp_call" in kinds:
            call = next(item for item in answer.response["output"] if item["type"] == "mcp_call")
            _settle(answer, noted[answer.prompt], is_known=call.get("error") is None)


def _settle_program(answer: Answer, hosted: dict[str, set[str]], noted: dict[str, int]) -> None:
    """Each record of the program's loop has one effect of each tool, where the program was told that it has."""
    assert answer.response is not None
    said = [item["result"] for item in answer.response["output"] if item["type"] == "program_output"]
    known = {line for text in said for line in text.splitlines()}
    records = {text for text in (*hosted, *noted) if text.startswith(f"{answer.tag} ")}
    records |= {f"{answer.tag} {line.split()[0]}" for line in known}
    for record in records:
        number = record.split()[-1]
        _settle(answer, len(hosted.get(record, ())), is_known=f"{number} written" in known)
        _settle(answer, noted.get(record, 0), is_known=f"{number} noted" in known)


def _settle(answer: Answer, effects: int, *, is_known: bool) -> None:
    if effects > 1:
        answer.settle(Verdict.DOUBLED, f"{effects} effects of one tool call")
    elif effects == 0 and is_known and not answer.was_ended_by_operator:
        answer.settle(Verdict.LOST, "the tool call has a result, and had no effect")


def _effects(file: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for line in file.read_text().splitlines() if file.exists() else ():
        key, _, text = line.partition(" ")
        found[text].add(key)
    return found


def _notes(file: Path) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for line in file.read_text().splitlines() if file.exists() else ():
        found[line] += 1
    return found


def check_context(answer: Answer, earlier: list[Answer]) -> None:
    """The model was sent all of the earlier turns once, in their order. Raises Misfit."""
    sent = "\n".join(str(message["content"]) for message in answer.script.messages)
    place = 0
    for one in earlier:
        for what, text in (("prompt", one.prompt), ("answer", f"{one.tag}.")):
            found = sent.find(text, place)
            if found < 0:
                raise Misfit(Verdict.LOST, f"the model was not sent the {what} {text!r} of an earlier turn")
            place = found
        if sent.count(one.prompt) > 1:
            raise Misfit(Verdict.DOUBLED, f"the model was sent {one.prompt!r} twice")


def check_conversation(items: list[dict[str, Any]], turns: list[Answer]) -> None:
    """A conversation's items are its turns' inputs and outputs, once each. Raises Misfit."""
    expected = [text for turn in turns for text in (turn.prompt, f"{turn.tag}.")]
    texts = ["".join(part.get("text", "") for part in item["content"]) for item in items if item["type"] == "message"]
    is_same_length = len(texts) == len(expected)
    if not is_same_length or not all(text.startswith(want) for text, want in zip(texts, expected, strict=True)):
        verdict = Verdict.DOUBLED if len(texts) > len(expected) else Verdict.LOST
        raise Misfit(verdict, f"the conversation's items begin with {[text[:30] for text in texts]}")
