"""The report of a campaign: a line for each fault, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.campaigns.answers import KEPT, Answer, Verdict

_COLUMNS = tuple(Verdict)


@dataclass
class FaultRun:
    """One fault as it happened, in seconds of `time.monotonic`. `healed`: when all servers were there again."""

    name: str
    began: float
    healed: float | None = None
    problem: str = ""

    def was_during(self, begin: float, end: float) -> bool:
        return self.began <= end and (self.healed is None or begin <= self.healed)


@dataclass
class Row:
    """What became of the responses that were in flight during one kind of fault."""

    times: int = 0
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    longest_silence: float = 0.0


@dataclass
class Report:
    """What a campaign has seen. `began` is the zero of the times that the report shows."""

    seed: str
    began: float
    seconds: float
    answers: list[Answer]
    faults: list[FaultRun]
    left_out: list[str] = field(default_factory=list)
    lasting_keys: list[str] = field(default_factory=list)
    """Keys of Redis that have no time to live at the end: there may be none."""

    @property
    def broken(self) -> list[Answer]:
        """The answers for which the product's promise was not kept."""
        return [answer for answer in self.answers if answer.verdict not in KEPT]

    @property
    def problems(self) -> list[FaultRun]:
        """Faults that could not be carried out, for which the harness is to blame."""
        return [fault for fault in self.faults if fault.problem]

    def verdicts(self) -> Counter[Verdict]:
        return Counter(answer.verdict or Verdict.HUNG for answer in self.answers)

    def by_fault(self) -> dict[str, Row]:
        """A response counts for each kind of fault that it lived through; a silence for the first fault in it."""
        rows: dict[str, Row] = {fault.name: Row() for fault in self.faults}
        for fault in self.faults:
            rows[fault.name].times += 1
        for answer in self.answers:
            for name in {fault.name for fault in self.met_by(answer)}:
                rows[name].verdicts[answer.verdict or Verdict.HUNG] += 1
            for begin, end in answer.silences:
                first = next((fault for fault in self.faults if fault.was_during(begin, end)), None)
                if first is not None:
                    rows[first.name].longest_silence = max(rows[first.name].longest_silence, end - begin)
        return rows

    def by_kind(self) -> dict[str, Counter[Verdict]]:
        kinds: dict[str, Counter[Verdict]] = {}
        for answer in self.answers:
            kinds.setdefault(answer.kind, Counter())[answer.verdict or Verdict.HUNG] += 1
        return kinds

    def met_by(self, answer: Answer) -> Iterable[FaultRun]:
        end = answer.ended or self.began + self.seconds
        return [fault for fault in self.faults if fault.was_during(answer.began, end)]

    def table(self) -> str:
        """Markdown, with the sums in the last line."""
        head = ["fault", "times", "responses", *_COLUMNS, "longest silence, s"]
        lines = [head, ["---"] + ["--:"] * (len(head) - 1)]
        for name, row in sorted(self.by_fault().items()):
            lines.append([name, row.times, row.verdicts.total(), *_counts(row.verdicts), f"{row.longest_silence:.1f}"])
        longest = max((end - begin for answer in self.answers for begin, end in answer.silences), default=0.0)
        total = self.verdicts()
        lines.append(["all", len(self.faults), total.total(), *_counts(total), f"{longest:.1f}"])
        return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)

    def text(self) -> str:
        """The table, the kinds of clients, and each answer that breaks the promise with the faults that it met."""
        again = sum(max(0, answer.connections - 1) for answer in self.answers)
        operated = sum(answer.was_ended_by_operator for answer in self.answers)
        parts = [
            f"seed {self.seed}: {len(self.answers)} responses and {len(self.faults)} faults in {self.seconds:.0f} s; "
            f"clients connected {again} times more; {operated} responses were ended by an operator",
            self.table(),
            "\n".join(f"  {kind}: {_words(counts)}" for kind, counts in sorted(self.by_kind().items())),
        ]
        if self.left_out:
            parts.append(f"left out, not possible here: {', '.join(self.left_out)}")
        parts += [f"not carried out: {fault.name}: {fault.problem}" for fault in self.problems]
        if self.lasting_keys:
            parts.append(f"keys without a time to live: {', '.join(self.lasting_keys)}")
        parts += [self._told_of(answer) for answer in self.broken]
        return "\n\n".join(parts)

    def _told_of(self, answer: Answer) -> str:
        met = ", ".join(f"{fault.name} at {fault.began - self.began:.1f}" for fault in self.met_by(answer))
        times = f"{answer.began - self.began:.1f} to {(answer.ended or self.began) - self.began:.1f} s"
        ended = f", {answer.operated} by an operator" if answer.operated else ""
        return f"{answer.verdict}: {answer.kind} {answer.id} ({answer.tag}), {times}{ended}\n  {answer.detail}\n  {met}"

    def save(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(self._json(), indent=1) + "\n")

    def _json(self) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "seconds": round(self.seconds, 1),
            "cores": os.cpu_count(),
            "responses": len(self.answers),
            "faults": len(self.faults),
            "verdicts": _json_counts(self.verdicts()),
            "by_fault": {
                name: {
                    "times": row.times,
                    "responses": row.verdicts.total(),
                    "verdicts": _json_counts(row.verdicts),
                    "longest_silence_seconds": round(row.longest_silence, 2),
                }
                for name, row in sorted(self.by_fault().items())
            },
            "by_client": {kind: _json_counts(counts) for kind, counts in sorted(self.by_kind().items())},
            "left_out": self.left_out,
            "not_carried_out": [{"fault": fault.name, "problem": fault.problem} for fault in self.problems],
            "broken": [
                {
                    "id": answer.id,
                    "client": answer.kind,
                    "verdict": answer.verdict,
                    "detail": answer.detail,
                    "operator": answer.operated,
                    "began": round(answer.began - self.began, 1),
                    "faults": [
                        {"name": fault.name, "began": round(fault.began - self.began, 1)}
                        for fault in self.met_by(answer)
                    ],
                }
                for answer in self.broken
            ],
        }


def _counts(verdicts: Counter[Verdict]) -> list[int]:
    return [verdicts[verdict] for verdict in _COLUMNS]


def _json_counts(verdicts: Counter[Verdict]) -> dict[str, int]:
    return {str(verdict): verdicts[verdict] for verdict in _COLUMNS}


def _words(verdicts: Counter[Verdict]) -> str:
    return ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in _COLUMNS if verdicts[verdict])
