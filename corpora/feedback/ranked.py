"""Pairs from answers with scores: which answers of a prompt are held against which. A good one has 1, a bad one 0.

Rows are brought together by their prompt. Answers that stand in rows of their own, as single ratings do, have the mean
of what is said of them. Of answers that share rows, as in votes and rankings, each row says for every two which is
better and by how much: the pair is the one that most say, its margin the mean, and where as many say the opposite, or
the mean does, there is none. Which pairs a rule holds is chosen of the answers of a row by the order that all rows give
them. Who judges by name has one voice, the mean of what they say. In memory are about 150 bytes for each prompt of
several rows, and for each pair of answers that someone named judged, and the answers of prompts whose last row has not
come yet.
"""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from corpora.feedback.annotators import Agreement, Judgements, agreement_of
from corpora.formats.items import Preference
from corpora.tables.tables import ROWS, KeptRows, batches_of, place_of
from lineage.hashing import fingerprint
from models.messages import Message, plain_messages
from recipes.mixtures import Against, PairRule

T = TypeVar("T")
_NAMING = ("ranking", "unpaired")
"""Kinds of rows that may say who judged."""


class _Judgement(NamedTuple):
    """What one row says: the scores of its answers, by what these say; where the row is, and who judged."""

    scores: dict[str, float]
    place: str
    annotator: str | None


@dataclass
class _Judged:
    """A prompt with its answers, by what they say, and all judgements of them."""

    prompt: list[Message]
    tools: str | None
    answers: dict[str, list[Message]] = field(default_factory=dict)
    judgements: list[_Judgement] = field(default_factory=list)


class _Voice(NamedTuple):
    """Judgements that are one person's, or those of a row of nobody's, and what they count."""

    judgements: list[_Judgement]
    weight: float

    def score(self, answer: str) -> float | None:
        """Of an answer in rows of its own."""
        scores = [one.scores[answer] for one in self.judgements if [*one.scores] == [answer]]
        return _mean(scores) if scores else None

    def difference(self, one: str, other: str) -> float | None:
        """By how much an answer is better than another in rows that have both."""
        both = (judgement.scores for judgement in self.judgements if {one, other} <= judgement.scores.keys())
        found = [scores[one] - scores[other] for scores in both]
        return _mean(found) if found else None


class _Compared(NamedTuple):
    """Two answers as all see them. margin: by how much the first is better, in the mean; heads: what those count who
    say so less what those count who say the opposite; judged, agreeing: of voices that tell them apart, how many there
    are and how many say what most do, `weight` in the mean of these."""

    margin: float
    heads: float
    said_by: list[str]
    judged: int = 1
    agreeing: int = 1
    weight: float = 1.0


class RankedPair(NamedTuple):
    """A pair with the difference of its scores, the places of its rows, and how many judged these two answers in rows
    that have both, and how many of them say so; weight: what each of these counts, in the mean."""

    pair: Preference
    margin: float
    said_by: list[str]
    judged: tuple[int, int]
    weight: float


def agreement(rows: KeptRows) -> Agreement | None:
    """Of those who judged by name; None if nobody did."""
    if rows.kind not in _NAMING:
        return None
    names = (batch.column(0) for batch in batches_of(rows.folder / ROWS, ["annotator"]))
    if all(batch.null_count == len(batch) for batch in names):
        return None
    judgements = Judgements()
    for one in _by_prompt(rows):
        asked = fingerprint([one.prompt, one.tools])
        in_any_order = sorted(one.answers, key=lambda key: fingerprint([asked, key]))
        for voice in _voices(one.judgements, lambda name: 1.0):
            if (name := voice.judgements[0].annotator) is None:
                continue
            for better, worse in itertools.combinations(in_any_order, 2):
                if (by := _difference(voice, better, worse)) is not None:
                    judgements.add(fingerprint([asked, better, worse]), name, _sign(by))
    return agreement_of(judgements)


def ranked_pairs(
    rows: KeptRows, rule: PairRule, agreed: Agreement | None, left_out: dict[str, int]
) -> Iterator[RankedPair]:
    """Each pair. Those that differ less than the rule asks are counted, those that as many contradict, and judgements
    that count nothing.

    agreed: of `agreement`, which the rule may weigh by.
    """
    weights = agreed.weight if agreed is not None and rule.annotators == "agreement" else lambda name: 1.0
    for one in _by_prompt(rows):
        heard = [judgement for judgement in one.judgements if weights(judgement.annotator)]
        left_out["by_chance"] += len(one.judgements) - len(heard)
        voices = _voices(heard, weights)
        left_out["alone"] += len({answer for judgement in heard for answer in judgement.scores}) == 1
        for better, worse, found in (*_of_their_own(voices, rule), *_of_shared_rows(voices, rule)):
            if found.margin == 0 or 0 < found.margin < rule.min_gap:
                left_out["small_gap"] += 1
            elif found.margin < 0 or found.heads <= 0:
                left_out["conflict"] += 1
            else:
                pair = Preference(one.prompt, one.answers[better], one.answers[worse], one.tools)
                judged = found.judged, found.agreeing
                yield RankedPair(pair, found.margin, found.said_by, judged, found.weight)


def held(answers: Sequence[T], against: Against) -> Iterator[tuple[T, T]]:
    """Which of the answers, best first, are held against which."""
    if against == "all":
        return itertools.combinations(answers, 2)
    if against == "next":
        return itertools.pairwise(answers)
    others = answers[1:] if against == "rest" else answers[1:][-1:]
    return ((answers[0], other) for other in others)


def _of_their_own(voices: list[_Voice], rule: PairRule) -> Iterator[tuple[str, str, _Compared]]:
    """Of answers in rows of their own, by their scores."""
    own = [one for voice in voices for one in voice.judgements if len(one.scores) == 1]
    places: dict[str, list[str]] = {}
    for judgement in own:
        places.setdefault(next(iter(judgement.scores)), []).append(judgement.place)
    scores, weights = {}, {}
    for answer in places:
        said = [(score, voice.weight) for voice in voices if (score := voice.score(answer)) is not None]
        scores[answer], weights[answer] = _weighed(said), _mean([weight for _, weight in said])
    ordered = sorted(scores, key=lambda answer: (-scores[answer], answer))
    for better, worse in held(ordered, rule.against) if ordered else ():
        margin = scores[better] - scores[worse]
        said_by = list(dict.fromkeys([*places[better], *places[worse]]))
        yield better, worse, _Compared(margin, margin, said_by, weight=_mean([weights[better], weights[worse]]))


def _of_shared_rows(voices: list[_Voice], rule: PairRule) -> Iterator[tuple[str, str, _Compared]]:
    """Of answers that share rows: which is better as most say. Chosen of those of each row by the order of all."""
    sets = {tuple(sorted(one.scores)) for voice in voices for one in voice.judgements if len(one.scores) > 1}
    shared = {pair for answers in sets for pair in itertools.combinations(answers, 2)}
    compared = {pair: _compared(voices, *pair) for pair in sorted(shared)}
    wins: Counter[str] = Counter()
    for (one, other), found in compared.items():
        decided = _sign(found.heads) if _sign(found.heads) == _sign(found.margin) else 0
        wins[one] += decided
        wins[other] -= decided
    chosen = (
        tuple(sorted(pair))
        for answers in sorted(sets)
        for pair in held(sorted(answers, key=lambda answer: (-wins[answer], answer)), rule.against)
    )
    for one, other in dict.fromkeys(chosen):
        found = compared[one, other]
        if found.heads < 0 or (found.heads == 0 and found.margin < 0):
            one, other, found = other, one, found._replace(margin=-found.margin, heads=-found.heads)
        yield one, other, found


def _compared(voices: list[_Voice], one: str, other: str) -> _Compared:
    said = [(by, voice) for voice in voices if (by := voice.difference(one, other)) is not None]
    margin = _weighed([(by, voice.weight) for by, voice in said])
    heads = math.fsum(_sign(by) * voice.weight for by, voice in said)
    places = [j.place for _, voice in said for j in voice.judgements if {one, other} <= j.scores.keys()]
    told = [(_sign(by), voice.weight) for by, voice in said if by]
    agreeing = [weight for sign, weight in told if sign == (_sign(heads) or 1)]
    if len(told) < 2 or not agreeing:
        return _Compared(margin, heads, places, weight=_mean([weight for _, weight in told] or [1.0]))
    return _Compared(margin, heads, places, len(told), len(agreeing), _mean(agreeing))


def _difference(voice: _Voice, one: str, other: str) -> float | None:
    """By how much someone holds an answer better than another, in rows of both and in rows of one."""
    scores = voice.score(one), voice.score(other)
    apart = scores[0] - scores[1] if scores[0] is not None and scores[1] is not None else None
    found = [by for by in (voice.difference(one, other), apart) if by is not None]
    return math.fsum(map(_sign, found)) if found else None


def _voices(judgements: Iterable[_Judgement], weights: Callable[[str | None], float]) -> list[_Voice]:
    found: dict[str | int, list[_Judgement]] = {}
    for place, one in enumerate(judgements):
        found.setdefault(place if one.annotator is None else one.annotator, []).append(one)
    return [_Voice(own, weights(own[0].annotator)) for own in found.values()]


def _by_prompt(rows: KeptRows) -> Iterator[_Judged]:
    """Prompts with their functions and all judgements of answers to them."""
    expected = Counter(fingerprint([row["prompt"], row["tools"]]) for row in _read(rows))
    waiting: dict[str, _Judged] = {}
    for row in _read(rows):
        key = fingerprint([row["prompt"], row["tools"]])
        one = waiting.setdefault(key, _Judged(row["prompt"], row["tools"]))
        scores: dict[str, list[float]] = {}
        for messages, score in row["answers"]:
            one.answers[answer := fingerprint(messages)] = messages
            scores.setdefault(answer, []).append(score)
        judged = {answer: _mean(found) for answer, found in scores.items()}
        one.judgements.append(_Judgement(judged, place_of(row), row.get("annotator")))
        expected[key] -= 1
        if not expected[key]:
            yield waiting.pop(key)


def _read(rows: KeptRows) -> Iterator[dict[str, Any]]:
    """Rows with their answers as messages and scores."""
    for row in rows:
        rated = row["answers"] if "answers" in row else [{"messages": row["completion"], "score": float(row["label"])}]
        answers = [(plain_messages(answer["messages"]), answer["score"]) for answer in rated]
        yield {**row, "prompt": plain_messages(row["prompt"]), "answers": answers}


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)


def _mean(scores: list[float]) -> float:
    try:
        return statistics.fmean(sorted(scores))
    except OverflowError:  # of numbers that are no ratings
        return sum(score / len(scores) for score in sorted(scores))


def _weighed(scores: list[tuple[float, float]]) -> float:
    """A mean that does not depend on the order."""
    if len({weight for _, weight in scores}) == 1:
        return _mean([score for score, _ in scores])
    return math.fsum(score * weight for score, weight in scores) / math.fsum(weight for _, weight in scores)
