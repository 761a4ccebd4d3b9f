"""Pairs from candidates: which of a checkpoint's own answers to a prompt are held against which, by signals on them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from corpora.feedback.ranked import held
from corpora.formats.items import Preference
from corpora.tables.tables import CANDIDATES, SIGNAL, rows_of
from lineage.hashing import text_digest
from models.messages import plain_messages
from models.thoughts import joined
from recipes.mixtures import CandidateRule

LEFT_OUT = ("cut", "empty", "no_signal", "over_per_prompt")
"""What is counted of candidates beside what every rule leaves out."""


class Measured(NamedTuple):
    """The folder of candidates, and those of the signals on them by name."""

    folder: Path
    signals: Mapping[str, Path]


class Decided(NamedTuple):
    """A pair, the signal that decided it and by how much, by how much the answers differ by each of the rule's signals,
    the prompt's row, and the places of the two among its answers, from 1."""

    pair: Preference
    signal: str
    margin: float
    differences: list[dict[str, Any]]
    prompt: Mapping[str, Any]
    places: tuple[int, int]


class Judged(NamedTuple):
    """An answer with its numbers, by the rule's signals in their order, and its place among the prompt's, from 1."""

    content: str
    numbers: tuple[float, ...]
    place: int


def candidate_pairs(candidates: Measured, rule: CandidateRule, left_out: dict[str, int]) -> Iterator[Decided]:
    """Every pair of a rule, prompt by prompt. What is left out is counted."""
    columns = [rows_of(candidates.signals[name] / SIGNAL) for name in rule.by]
    for prompt, *measured in zip(rows_of(candidates.folder / CANDIDATES), *columns, strict=True):
        asked = plain_messages(prompt["prompt"])
        answers = judged_of(prompt, [column["values"] for column in measured], left_out)
        found = []
        for better, worse in held(answers, rule.against):
            place, margin = _difference(better, worse)
            if margin > 0 and margin >= rule.min_gap:
                chosen, rejected = ([{"role": "assistant", "content": one.content}] for one in (better, worse))
                differences = [
                    {"signal": name, "by": one - other}
                    for name, one, other in zip(rule.by, better.numbers, worse.numbers, strict=True)
                ]
                pair = Preference(asked, chosen, rejected, None)
                places = better.place, worse.place
                found.append(Decided(pair, rule.by[place], margin, differences, prompt, places))
            else:
                left_out["small_gap"] += 1
        found.sort(key=lambda one: (rule.by.index(one.signal), -one.margin))
        kept = found[: rule.per_prompt]
        left_out["over_per_prompt"] += len(found) - len(kept)
        yield from kept


def judged_of(prompt: Mapping[str, Any], columns: list[list[float | None]], left_out: dict[str, int]) -> list[Judged]:
    """The different answers that may be in a pair, best first; of equally good ones an order that is nobody's."""
    found: dict[str, Judged] = {}
    for place, (answer, *numbers) in enumerate(zip(prompt["answers"], *columns, strict=True), start=1):
        if answer["finish"] != "stop":
            left_out["cut"] += 1
        elif not answer["text"].strip():
            left_out["empty"] += 1
        elif None in numbers:
            left_out["no_signal"] += 1
        elif (content := _content(answer)) in found:
            left_out["same_answer"] += 1
        else:
            found[content] = Judged(content, tuple(numbers), place)
    return sorted(found.values(), key=lambda one: ([-number for number in one.numbers], text_digest(one.content)))


def _content(answer: Mapping[str, Any]) -> str:
    """An answer with what was thought before it."""
    words: str = answer["text"]
    return joined(answer["thoughts"], words) if answer["thoughts"] else words


def _difference(better: Judged, worse: Judged) -> tuple[int, float]:
    """The place of the first signal by which the answers differ, and by how much; 0 where none does."""
    pairs = enumerate(zip(better.numbers, worse.numbers, strict=True))
    return next(((place, a - b) for place, (a, b) in pairs if a != b), (0, 0.0))
