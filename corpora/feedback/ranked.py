"""Pairs from answers with scores: which answers of a prompt are held against which.

Answers that stand in rows of their own, as single star ratings do, are brought together by their prompt; an answer
that was rated more than once has the mean of its ratings. In memory are about 150 bytes for each such prompt, and
the answers of prompts whose last row has not come yet.
"""

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeVar

from corpora.formats.items import Answer, Preference
from corpora.tables.tables import KeptRows, place_of
from lineage.hashing import fingerprint
from models.messages import Message, plain_messages
from recipes.mixtures import Against, PairRule

T = TypeVar("T")


def ranked_pairs(rows: KeptRows, rule: PairRule, left_out: dict[str, int]) -> Iterator[tuple[Preference, float, str]]:
    """Each pair with the difference of its scores and the place of its (last) row. Those that differ less than the rule
    asks are counted."""
    for prompt, tools, answers, place in _by_prompt(rows):
        for better, worse in held(_merged(answers), rule.against):
            margin = better["score"] - worse["score"]
            if margin > 0 and margin >= rule.min_gap:
                yield Preference(prompt, better["messages"], worse["messages"], tools), margin, place
            else:
                left_out["small_gap"] += 1


def held(answers: list[T], against: Against) -> Iterator[tuple[T, T]]:
    """Which of the answers, best first, are held against which."""
    if against == "next":
        return itertools.pairwise(answers)
    others = answers[1:] if against == "rest" else answers[1:][-1:]
    return ((answers[0], other) for other in others)


def _by_prompt(rows: KeptRows) -> Iterator[tuple[list[Message], str | None, list[Answer], str]]:
    """Prompts with their functions and their answers: of one row, or of all rows with one answer each."""
    expected = Counter(_key(row) for row in _read(rows) if len(row["answers"]) == 1)
    waiting: dict[str, list[Answer]] = {}
    for row in _read(rows):
        if len(row["answers"]) > 1:
            yield row["prompt"], row["tools"], row["answers"], row["place"]
            continue
        key = _key(row)
        waiting.setdefault(key, []).extend(row["answers"])
        if len(waiting[key]) == expected[key]:
            yield row["prompt"], row["tools"], waiting.pop(key), row["place"]


def _read(rows: KeptRows) -> Iterator[dict[str, Any]]:
    for row in rows:
        answers = [Answer(messages=plain_messages(a["messages"]), score=a["score"]) for a in row["answers"]]
        prompt = plain_messages(row["prompt"])
        yield {"prompt": prompt, "tools": row["tools"], "answers": answers, "place": place_of(row)}


def _key(row: dict[str, Any]) -> str:
    return fingerprint([row["prompt"], row["tools"]])


def _merged(answers: list[Answer]) -> list[Answer]:
    """Different answers, best first; of equally good ones in an order that does not depend on that of the rows."""
    scores: dict[str, list[float]] = {}
    messages: dict[str, list[Message]] = {}
    for answer in answers:
        key = fingerprint(answer["messages"])
        messages.setdefault(key, answer["messages"])
        scores.setdefault(key, []).append(answer["score"])
    means = {key: statistics.fmean(of_answer) for key, of_answer in scores.items()}
    return [
        Answer(messages=messages[key], score=means[key]) for key in sorted(means, key=lambda key: (-means[key], key))
    ]
