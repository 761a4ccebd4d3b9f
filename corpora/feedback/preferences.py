"""Preferences, tokenised: pairs of a better and a worse answer, or single answers that are good or bad.

What the rows are is said by the recipe's rules (`rules`); here they are tokenised, put on the side of the split where
they belong, drawn by the seed, and written. The checks are in `checks`; how a trainer uses
the rows is left to it.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpora import splits as splitting
from corpora.cleaning.content import content_id
from corpora.feedback.candidates import LEFT_OUT, Measured, candidate_pairs
from corpora.feedback.checks import check_pairs, check_unpaired
from corpora.feedback.ranked import agreement
from corpora.feedback.rules import Found, Row, judged_by
from corpora.formats.answers import load_answers
from corpora.formats.items import Preference, Unpaired
from corpora.splits import SIDES, Side, side_of
from corpora.tables.tables import (
    HELD_OUT,
    PAIRS,
    UNPAIRED,
    VALIDATION,
    KeptRows,
    pairs_schema,
    unpaired_schema,
    writing,
)
from lineage.errors import CorpusError
from lineage.hashing import fingerprint, text_digest
from models.messages import Message
from models.template import OTHER_TEMPLATE, ChatTemplate
from models.turns import thinks
from recipes.cleaning import Splits
from recipes.mixtures import CandidateRule, PairRule, Preferences, UnpairedRule
from recipes.sources import Source

VERSION = 7

Rule = PairRule | CandidateRule | UnpairedRule

_REASONS = (
    *("overlong", "control_tokens", "tools", "template", "same_answer", "small_gap", "repeated", "near_duplicate"),
    *("conflict", "alone", "by_chance"),
)
"""Why rows are left out, in the order of counting."""
EXPLAINED = {
    "overlong": "whose prompt and longer answer have more tokens than max_length",
    "control_tokens": "whose words spell a token of the template",
    "tools": "with functions or calls, which the template cannot express",
    "template": "that the template refuses or changes",
    "same_answer": "whose answers are the same, to the reader or in tokens",
    "small_gap": "whose answers are equally good, or differ less than min_gap",
    "alone": "answers that are the only one to their prompt",
    "repeated": "that were said before: the first counts, and names beside it whoever said it again",
    "near_duplicate": "of which another row says nearly the same",
    "conflict": "of which others, or an earlier rule, say the opposite",
    "by_chance": "judgements of annotators who agree with the others no more than by chance",
    "cut": "answers that reached max_new_tokens",
    "empty": "answers without words",
    "no_signal": "answers that a signal has no number for",
    "over_per_prompt": "beyond per_prompt of one prompt",
}
"""Why something is left out, in words."""

_TRAINED_ON = {"pairs": PAIRS, "unpaired": UNPAIRED}
_KEPT_APART: dict[Side, str] = {"validation": VALIDATION, "held_out": HELD_OUT}


@dataclass
class _Drawn:
    """The rows of one rule by side, what was left out of them, and how many there were to train on before a limit.

    refused: where the first is that the template refused, and what it said. By the id of a row, said: how often it was
    found; weighed: what that counts together; said_by: where; opposed: how often the opposite was said in judgements
    that it is made of. agreement: of pairs that were judged more than once.
    """

    rows: dict[Side, list[Row]]
    said: Counter[str] = field(default_factory=Counter)
    weighed: dict[str, float] = field(default_factory=dict)
    said_by: dict[str, list[str]] = field(default_factory=dict)
    agreement: dict[str, int] = field(default_factory=lambda: {"pairs": 0, "judgements": 0, "agreeing": 0})
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_REASONS, 0))
    available: int = 0
    refused: str | None = None
    opposed: Counter[str] = field(default_factory=Counter)


def versions() -> dict[str, int]:
    """The algorithms that decide the bytes: part of their identity."""
    return {"preferences": VERSION, "splits": splitting.VERSION}


def build_preferences(
    preferences: Preferences,
    clean: dict[str, Path],
    sources: dict[str, Source],
    checkpoint: Path,
    folder: Path,
    work: Path,
    *,
    removed: Mapping[str, Path] | None = None,
    splits: Splits | None = None,
    candidates: Mapping[str, Measured] | None = None,
) -> dict[str, Any]:
    """Write the rows to train on, in an order drawn by the seed, into `work` and return the metrics.

    They are in pairs.parquet or unpaired.parquet; what `splits` keeps from training lies in validation.parquet and
    held_out.parquet. clean: clean folder by source. checkpoint: whose tokenizer and template are used. folder: of
    the recipe, for its files of answers. removed: by source, a table of the ids of rows to leave out. candidates: by
    name. Raises CorpusError if a source has the wrong kind of rows, or a rule gives none.
    """
    template, splits = ChatTemplate.load(checkpoint), splits or Splits()
    kept = {name: KeptRows(path, (removed or {}).get(name)) for name, path in clean.items()}
    agreed = {name: agreement(rows) for name, rows in kept.items()}

    def found_by(rule: Rule, left_out: dict[str, int]) -> Iterator[Found]:
        if isinstance(rule, CandidateRule):
            return _of_candidates(rule, (candidates or {})[rule.candidates], left_out)
        left_out["near_duplicate"] = kept[rule.source].duplicates
        answers = None if rule.answers is None else load_answers(folder / rule.answers)
        return judged_by(rule, kept[rule.source], sources[rule.source], answers, agreed.get(rule.source), left_out)

    decided: dict[str, str] = {}
    taken: set[str] = set()
    drawn = [
        _draw(number, rule, preferences, found_by, template, splits, decided, taken)
        for number, rule in enumerate(preferences.rules)
    ]
    holds = preferences.holds
    files: dict[Side, str] = {"train": _TRAINED_ON[holds], **_apart(splits)}
    written = {side: _write(work / file, side, preferences, drawn, template) for side, file in files.items()}
    train, named = work / files["train"], {name: found for name, found in agreed.items() if found is not None}
    return {
        holds: written["train"],
        "rules": [
            {
                **_named(rule),
                "rule": rule.rule,
                holds: len(of_rule.rows["train"]),
                "available": of_rule.available,
                "left_out": of_rule.left_out,
                **({"agreement": of_rule.agreement} if preferences.holds == "pairs" else {}),
                **({"refused": of_rule.refused} if of_rule.refused else {}),
            }
            for rule, of_rule in zip(preferences.rules, drawn, strict=True)
        ],
        "annotators": {name: found.facts for name, found in named.items()},
        "splits": {side: written[side] for side in _apart(splits)},
        "template_digest": template.digest,
        **(check_pairs(train, template, named) if holds == "pairs" else check_unpaired(train, template)),
    }


def _apart(splits: Splits) -> dict[Side, str]:
    """Files of the sides that are not trained on, as far as the recipe has them."""
    shares: dict[Side, float] = {"validation": splits.validation, "held_out": splits.held_out}
    return {side: file for side, file in _KEPT_APART.items() if shares[side]}


def _write(path: Path, side: Side, preferences: Preferences, drawn: list[_Drawn], template: ChatTemplate) -> int:
    """Write the rows of one side, of all rules mixed; returns how many they are."""
    rows = [row for of_rule in drawn for row in of_rule.rows[side]]
    rows.sort(key=lambda row: _rank(preferences.seed, "order", row["signal"], row["id"]))
    schema = pairs_schema() if preferences.holds == "pairs" else unpaired_schema()
    with writing(path, schema, {"template_digest": template.digest}) as table:
        for row in rows:
            table.add(row)
    return len(rows)


def _draw(
    number: int,
    rule: Rule,
    preferences: Preferences,
    found_by: Callable[[Rule, dict[str, int]], Iterator[Found]],
    template: ChatTemplate,
    splits: Splits,
    decided: dict[str, str],
    taken: set[str],
) -> _Drawn:
    """The rule's rows that fit `max_length`; with a limit, that many of those to train on, by the seed.

    decided: the better of two answers to a prompt, as earlier rules have it; gets what this one says. taken: ids of the
    rows of earlier rules; gets those of this one.
    """
    drawn = _Drawn({side: [] for side in SIDES})
    if isinstance(rule, CandidateRule):
        drawn.left_out |= dict.fromkeys(LEFT_OUT, 0)
    found = found_by(rule, drawn.left_out)
    for item, row in _usable(found, preferences.max_length, template, drawn, taken):
        drawn.rows[side_of({"messages": item.prompt}, splits)].append(row)
    if preferences.holds == "pairs":
        _settle(drawn, decided)
    drawn.available = len(drawn.rows["train"])
    if not drawn.available:
        [(field, name)] = _named(rule).items()
        apart = sum(len(drawn.rows[side]) for side in _KEPT_APART)
        kept_apart = f"; {apart} are in validation and held_out" if apart else ""
        refused = f"; the first that the template refused: {drawn.refused}" if drawn.refused else ""
        raise CorpusError(
            f"preferences: rule '{rule.rule}' of {field} '{name}' gives no {_NAMES[preferences.holds]} "
            f"({_why(drawn.left_out)}{kept_apart}; max_length is {preferences.max_length}{refused})"
        )
    lost, kept = drawn.left_out["template"], sum(map(len, drawn.rows.values()))
    if lost > kept:
        [(field, name)] = _named(rule).items()
        raise CorpusError(
            f"preferences: of {field} '{name}' the chat template refuses {lost} {_NAMES[preferences.holds]} and "
            f"takes {kept}; the first is {drawn.refused}. {OTHER_TEMPLATE}"
        )
    drawn.rows["train"] = heapq.nsmallest(
        rule.limit or drawn.available,
        drawn.rows["train"],
        key=lambda row: _rank(preferences.seed, f"draw/{number}", *_named(rule).values(), row["id"]),
    )
    taken |= {row["id"] for rows in drawn.rows.values() for row in rows}
    return drawn


def _why(left_out: Mapping[str, int]) -> str:
    """What was left out and why, in words."""
    told = ", ".join(f"{rows} {EXPLAINED[why]}" for why, rows in left_out.items() if rows)
    return f"left out: {told}" if told else "nothing was found that one could be made of"


def _settle(drawn: _Drawn, decided: dict[str, str]) -> None:
    """Leave out the pairs that others contradict: of one rule those that were said less often, or both where each was
    said as often; whatever earlier rules have decided otherwise. Who says it counts as the rule weighs annotators."""
    votes: dict[str, Counter[str]] = {}
    weights: dict[str, dict[str, float]] = {}
    keys = {row["id"]: _pair_of(row) for rows in drawn.rows.values() for row in rows}
    opposed: Counter[str] = Counter()
    for id_, (pair, better) in keys.items():
        votes.setdefault(pair, Counter())[better] += drawn.said[id_]
        for_pair = weights.setdefault(pair, {})
        for_pair[better] = for_pair.get(better, 0.0) + drawn.weighed[id_]
        opposed[pair] += drawn.opposed[id_]
    for pair, said in votes.items():
        ordered = said.most_common(2)
        if (times := said.total() + opposed[pair]) > 1:
            found = {"pairs": 1, "judgements": times, "agreeing": ordered[0][1]}
            drawn.agreement = {name: drawn.agreement[name] + count for name, count in found.items()}
        heaviest = sorted(weights[pair], key=lambda better: -weights[pair][better])
        decisive = len(heaviest) == 1 or not math.isclose(*(weights[pair][better] for better in heaviest))
        if pair not in decided and decisive:
            decided[pair] = heaviest[0]
    for side, rows in drawn.rows.items():
        kept = [row for row in rows if decided.get(keys[row["id"]][0]) == keys[row["id"]][1]]
        drawn.left_out["conflict"] += len(rows) - len(kept)
        drawn.rows[side] = kept


def _pair_of(row: Row) -> tuple[str, str]:
    """Which two answers to which prompt a pair holds against each other, and the better one."""
    better, worse = (fingerprint(row[name]) for name in ("chosen", "rejected"))
    return fingerprint([row["prompt"], row["tools"], sorted((better, worse))]), better


def _named(rule: Rule) -> dict[str, str]:
    """What a rule reads, by the field that names it."""
    return {"candidates": rule.candidates} if isinstance(rule, CandidateRule) else {"source": rule.source}


def _of_candidates(rule: CandidateRule, candidates: Measured, left_out: dict[str, int]) -> Iterator[Found]:
    for one in candidate_pairs(candidates, rule, left_out):
        about = {"source": one.prompt["source"], "signal": one.signal, "sensitive": one.prompt["sensitive"]}
        better, worse = one.places
        place = f"candidates/{rule.candidates}, prompt {one.prompt['id']}, answer {better} over {worse}"
        yield Found(one.pair, {"margin": one.margin, "differences": one.differences, **about}, [place])


_NAMES = {"pairs": "pairs", "unpaired": "answers"}


def _usable(
    found: Iterator[Found], max_length: int, template: ChatTemplate, drawn: _Drawn, taken: set[str]
) -> Iterator[tuple[Preference | Unpaired, Row]]:
    left_out = drawn.left_out
    for one in found:
        item, id_ = one.item, content_id(one.item)
        before, drawn.said[id_] = drawn.said[id_], drawn.said[id_] + one.judged[1]
        drawn.weighed[id_] = drawn.weighed.get(id_, 0.0) + one.judged[1] * one.weight
        drawn.said_by.setdefault(id_, []).extend(one.said_by)
        drawn.opposed[id_] += one.judged[0] - one.judged[1]
        if before or id_ in taken:
            left_out["repeated"] += 1
            continue
        answers = _answers(item)
        whole = [[*item.prompt, *answer] for answer in answers.values()]
        reason = next((why for turns in whole if (why := template.left_out(turns, item.tools)) is not None), None)
        if reason is None and isinstance(item, Preference) and item.chosen == item.rejected:
            reason = "same_answer"
        ids = {}
        if reason is None:
            try:
                ids = _tokenised(item, answers, template)
            except CorpusError as error:
                said = "its words, and so the template's about them, are not shown" if one.about["sensitive"] else error
                reason, drawn.refused = "template", drawn.refused or f"{one.said_by[0]}: {said}"
        if ids and isinstance(item, Preference) and ids["chosen_ids"] == ids["rejected_ids"]:
            reason = "same_answer"
        elif ids and len(ids["prompt_ids"]) + max(len(ids[f"{name}_ids"]) for name in answers) > max_length:
            reason = "overlong"
        if reason is not None:
            left_out[reason] += 1
            continue
        yield item, {"id": id_, **vars(item), **one.about, "said_by": drawn.said_by[id_], **ids}


def _answers(item: Preference | Unpaired) -> dict[str, list[Message]]:
    if isinstance(item, Preference):
        return {"chosen": item.chosen, "rejected": item.rejected}
    return {"completion": item.completion}


def _tokenised(
    item: Preference | Unpaired, answers: Mapping[str, list[Message]], template: ChatTemplate
) -> dict[str, list[int]]:
    """Ids of the prompt up to where the answer begins, and of each answer up to its end-of-turn token."""
    thinking = any(map(thinks, answers.values()))
    prompt = template.prompt_ids(item.prompt, item.tools, thinking)
    ids = {
        f"{name}_ids": template.answer_ids(item.prompt, answer[0], prompt, item.tools, thinking)
        for name, answer in answers.items()
    }
    return {"prompt_ids": prompt, **ids}


def _rank(seed: int, *key: str) -> str:
    return text_digest("/".join((str(seed), *key)))
