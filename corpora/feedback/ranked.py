"""Pairs from answers with scores: which answers of a prompt are held against which.

Answers that stand in rows of their own, as single star ratings do, are brought together by their prompt; an answer
that was rated more than once has the mean of its ratings. In memory are about 150 bytes for each such prompt, and
the answers of prompts whose last row has not come yet.
"""

import itertools
import statistics
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

from corpora.formats.items import Preference
from corpora.tables.tables import KeptRows, place_of
from lineage.hashing import fingerprint
from models.messages import Message, plain_messages
from recipes.mixtures import Against, PairRule

T = TypeVar("T")


class _Rated(NamedTuple):
    """An answer with its score, and where the rows are that give it."""

    messages: list[Message]
    score: float
    said_by: list[str]


def ranked_pairs(
    rows: KeptRows, rule: PairRule, left_out: dict[str, int]
) -> Iterator[tuple[Preference, float, list[str]]]:
    """Each pair with the difference of its scores and the places of its rows. Those that differ less than the rule asks
    are counted."""
    for prompt, tools, answers in _by_prompt(rows):
        merged = _merged(answers)
        left_out["alone"] += len(merged) == 1
        for better, worse in held(merged, rule.against):
            margin = better.score - worse.score
            if margin > 0 and margin >= rule.min_gap:
                said_by = list(dict.fromkeys([*better.said_by, *worse.said_by]))
                yield Preference(prompt, better.messages, worse.messages, tools), margin, said_by
            else:
                left_out["small_gap"] += 1


def held(answers: list[T], against: Against) -> Iterator[tuple[T, T]]:
    """Which of the answers, best first, are held against which."""
    if against == "next":
        return itertools.pairwise(answers)
    others = answers[1:] if against == "rest" else answers[1:][-1:]
    return ((answers[0], other) for other in others)


def _by_prompt(rows: KeptRows) -> Iterator[tuple[list[Message], str | None, list[_Rated]]]:
    """Prompts with their functions and their answers: of one row, or of all rows with one answer each."""
    expected = Counter(_key(row) for row in _read(rows) if len(row["answers"]) == 1)
    waiting: dict[str, list[_Rated]] = {}
    for row in _read(rows):
        if len(row["answers"]) > 1:
            yield row["prompt"], row["tools"], row["answers"]
            continue
        key = _key(row)
        waiting.setdefault(key, []).extend(row["answers"])
        if len(waiting[key]) == expected[key]:
            yield row["prompt"], row["tools"], waiting.pop(key)


def _read(rows: KeptRows) -> Iterator[dict[str, Any]]:
    for row in rows:
        place = [place_of(row)]
        answers = [_Rated(plain_messages(a["messages"]), a["score"], place) for a in row["answers"]]
        yield {"prompt": plain_messages(row["prompt"]), "tools": row["tools"], "answers": answers}


def _key(row: dict[str, Any]) -> str:
    return fingerprint([row["prompt"], row["tools"]])


def _merged(answers: list[_Rated]) -> list[_Rated]:
    """Different answers, best first; of equally good ones in an order that does not depend on that of the rows."""
    same: dict[str, list[_Rated]] = {}
    for answer in answers:
        same.setdefault(fingerprint(answer.messages), []).append(answer)
    merged = {
        key: _Rated(
            found[0].messages,
            statistics.fmean(one.score for one in found),
            [place for one in found for place in one.said_by],
        )
        for key, found in same.items()
    }
    return [merged[key] for key in sorted(merged, key=lambda key: (-merged[key].score, key))]
