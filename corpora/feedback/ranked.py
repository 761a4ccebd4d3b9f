"""Pairs from answers with scores: which answers of a prompt are held against which. A good one has 1, a bad one 0.

Answers that stand in rows of their own, as single star ratings do, are brought together by their prompt, and rows of
the same two answers, as votes are, by these: an answer that was rated more than once has the mean of its ratings, or
its share of the votes. Who judges by name has one voice, the mean of what they say of an answer. In memory are about
150 bytes for each such prompt, and for each pair of answers that someone named judged, and the answers of prompts whose
last row has not come yet.
"""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from corpora.feedback.annotators import Agreement, Judgements, agreement_of
from corpora.formats.items import Preference
from corpora.tables.tables import ROWS, KeptRows, batches_of, place_of
from lineage.hashing import fingerprint
from models.messages import Message, plain_messages
from recipes.mixtures import Against, PairRule

T = TypeVar("T")


class _Rated(NamedTuple):
    """An answer with its score, where the rows are that give it, who gave it, and what that counts."""

    messages: list[Message]
    score: float
    said_by: list[str]
    annotator: str | None
    weight: float = 1.0


class RankedPair(NamedTuple):
    """A pair with the difference of its scores, the places of its rows, and, where several rows judged the same two
    answers, how many did, and how many of them as most did; weight: what each of these counts, in the mean."""

    pair: Preference
    margin: float
    said_by: list[str]
    judged: tuple[int, int]
    weight: float


def agreement(rows: KeptRows) -> Agreement | None:
    """Of those who judged by name; None if nobody did."""
    judgements = Judgements()
    if rows.kind != "ranking" or all(
        batch.column(0).null_count == len(batch) for batch in batches_of(rows.folder / ROWS, ["annotator"])
    ):
        return None
    for prompt, tools, answers in _by_prompt(rows):
        asked = fingerprint([prompt, tools])
        named = {one.annotator for one in answers if one.annotator is not None}
        for name in named:
            scores = _scores([one for one in answers if one.annotator == name])
            in_any_order = sorted(scores, key=lambda key: fingerprint([asked, key]))
            for one, other in itertools.combinations(in_any_order, 2):
                sign = (scores[one] > scores[other]) - (scores[one] < scores[other])
                judgements.add(fingerprint([asked, one, other]), name, sign)
    return agreement_of(judgements)


def _scores(answers: list[_Rated]) -> dict[str, float]:
    """The mean score of each different answer."""
    found: dict[str, list[float]] = {}
    for answer in answers:
        found.setdefault(fingerprint(answer.messages), []).append(answer.score)
    return {key: _mean(scores) for key, scores in found.items()}


def ranked_pairs(
    rows: KeptRows, rule: PairRule, agreed: Agreement | None, left_out: dict[str, int]
) -> Iterator[RankedPair]:
    """Each pair. Those that differ less than the rule asks are counted, and judgements that count nothing.

    agreed: of `agreement`, which the rule may weigh by.
    """
    weights = agreed.weight if agreed is not None and rule.annotators == "agreement" else lambda name: 1.0
    for prompt, tools, found in _by_prompt(rows):
        answers = [one._replace(weight=weights(one.annotator)) for one in found]
        left_out["by_chance"] += len({one.said_by[0] for one in answers if not one.weight})
        answers = [one for one in answers if one.weight]
        merged = _merged(answers)
        left_out["alone"] += len(merged) == 1
        for better, worse in held(merged, rule.against):
            margin = better.score - worse.score
            if margin > 0 and margin >= rule.min_gap:
                said_by = list(dict.fromkeys([*better.said_by, *worse.said_by]))
                pair = Preference(prompt, better.messages, worse.messages, tools)
                judged = _judged(answers) if len(merged) == 2 else (1, 1)
                yield RankedPair(pair, margin, said_by, judged, _mean([better.weight, worse.weight]))
            else:
                left_out["small_gap"] += 1


def _judged(answers: list[_Rated]) -> tuple[int, int]:
    """How many rows of two answers held these against each other, and how many of them as most did."""
    rows: dict[str, list[_Rated]] = {}
    for answer in answers:
        rows.setdefault(answer.said_by[0], []).append(answer)
    both = (sorted(row, key=lambda answer: fingerprint(answer.messages)) for row in rows.values() if len(row) == 2)
    signs = Counter((one.score > other.score) - (one.score < other.score) for one, other in both)
    judged = signs.total() - signs[0]
    return (judged, max(signs[1], signs[-1])) if judged > 1 else (1, 1)


def held(answers: list[T], against: Against) -> Iterator[tuple[T, T]]:
    """Which of the answers, best first, are held against which."""
    if against == "next":
        return itertools.pairwise(answers)
    others = answers[1:] if against == "rest" else answers[1:][-1:]
    return ((answers[0], other) for other in others)


def _by_prompt(rows: KeptRows) -> Iterator[tuple[list[Message], str | None, list[_Rated]]]:
    """Prompts with their functions and their answers: of one row, of all rows with one answer each, or of all rows with
    the same two answers."""
    expected = Counter(key for row in _read(rows) if (key := _key(row)) is not None)
    waiting: dict[str, list[_Rated]] = {}
    for row in _read(rows):
        key = _key(row)
        if key is None:
            yield row["prompt"], row["tools"], row["answers"]
            continue
        waiting.setdefault(key, []).extend(row["answers"])
        expected[key] -= 1
        if not expected[key]:
            yield row["prompt"], row["tools"], waiting.pop(key)


def _read(rows: KeptRows) -> Iterator[dict[str, Any]]:
    for row in rows:
        place = [place_of(row)]
        own = row.get("annotator")
        rated = row["answers"] if "answers" in row else [{"messages": row["completion"], "score": float(row["label"])}]
        answers = [_Rated(plain_messages(a["messages"]), a["score"], place, own) for a in rated]
        yield {"prompt": plain_messages(row["prompt"]), "tools": row["tools"], "answers": answers}


def _key(row: dict[str, Any]) -> str | None:
    """What rows are brought together by; None of one that stands alone, as a ranking of many does."""
    answers = row["answers"]
    if len(answers) == 1:
        return fingerprint([row["prompt"], row["tools"]])
    if len(answers) > 2:
        return None
    return fingerprint([row["prompt"], row["tools"], sorted(fingerprint(answer.messages) for answer in answers)])


def _mean(scores: list[float]) -> float:
    try:
        return statistics.fmean(scores)
    except OverflowError:  # of numbers that are no ratings
        return sum(score / len(scores) for score in scores)


def _merged(answers: list[_Rated]) -> list[_Rated]:
    """Different answers, best first; of equally good ones in an order that does not depend on that of the rows."""
    same: dict[str, list[_Rated]] = {}
    for answer in answers:
        same.setdefault(fingerprint(answer.messages), []).append(answer)
    merged = {key: _of_all_voices(found) for key, found in same.items()}
    return [merged[key] for key in sorted(merged, key=lambda key: (-merged[key].score, key))]


def _of_all_voices(found: list[_Rated]) -> _Rated:
    """One answer as all see it: of those with a name one voice each, which counts its weight."""
    voices: dict[Any, list[_Rated]] = {}
    for place, one in enumerate(found):
        voices.setdefault(place if one.annotator is None else one.annotator, []).append(one)
    scores = [(_mean([one.score for one in voice]), voice[0].weight) for voice in voices.values()]
    weights = [weight for _, weight in scores]
    equal = len(set(weights)) == 1
    score = _mean([score for score, _ in scores]) if equal else _weighed(scores)
    return _Rated(found[0].messages, score, [place for one in found for place in one.said_by], None, _mean(weights))


def _weighed(scores: list[tuple[float, float]]) -> float:
    """A mean that does not depend on the order."""
    return math.fsum(score * weight for score, weight in scores) / math.fsum(weight for _, weight in scores)
