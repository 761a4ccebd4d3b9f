"""Preference pairs by stated rules over clean corpora: a prompt, a better and a worse answer, tokenised.

Recorded pairs are taken as they are. Safety pairs come from answers: a row's own answer to a harmful prompt is
the worse one and a refusal that we wrote the better (`refuse`); for harmless prompts it is the other way round
(`comply`), so that a model which learns to refuse does not learn to refuse everything. Pairs from ranked, rated and
voted answers are made by `ranked`. The checks are in `pair_checks`; how a trainer uses the pairs is left to it.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpora.cleaning.content import content_id
from corpora.pairs.kept import KeptRows
from corpora.pairs.pair_checks import check_pairs
from corpora.pairs.ranked import ranked_pairs
from corpora.raw import CorpusError
from corpora.reading.answers import Answers, load_answers
from corpora.reading.items import Preference, plain_messages
from corpora.rendering import ChatTemplate
from corpora.tables import PAIRS, pairs_schema, writing
from lineage.hashing import text_digest
from recipes.preferences import PairRule, Preferences
from recipes.sources import Source

VERSION = 2

_KIND = {"recorded": "preference", "refuse": "conversation", "comply": "conversation", "ranked": "ranking"}
_REASONS = ("overlong", "control_tokens", "tools", "same_answer", "small_gap", "near_duplicate")
Row = dict[str, Any]


@dataclass
class _Drawn:
    """The pairs of one rule, and what was left out of them."""

    pairs: list[Row] = field(default_factory=list)
    available: int = 0
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_REASONS, 0))


def build_pairs(
    preferences: Preferences,
    clean: dict[str, Path],
    sources: dict[str, Source],
    checkpoint: Path,
    folder: Path,
    work: Path,
    *,
    removed: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Write pairs.parquet, in an order drawn by the seed, into `work` and return the metrics.

    clean: clean folder by source. checkpoint: whose tokenizer and template are used. folder: of the recipe, for
    its files of answers. removed: by source, a table of the ids of rows to leave out. Raises CorpusError if a source
    has the wrong kind of rows, or a rule gives no pair.
    """
    template = ChatTemplate.load(checkpoint)
    kept = {name: KeptRows(path, (removed or {}).get(name)) for name, path in clean.items()}
    drawn = [
        _draw(number, rule, preferences, kept[rule.source], sources[rule.source], template, folder)
        for number, rule in enumerate(preferences.pairs)
    ]
    pairs = [pair for of_rule in drawn for pair in of_rule.pairs]
    pairs.sort(key=lambda pair: _rank(preferences.seed, "order", pair["signal"], pair["id"]))
    with writing(work / PAIRS, pairs_schema(), {"template_digest": template.digest}) as table:
        for pair in pairs:
            table.add(pair)
    return {
        "pairs": len(pairs),
        "rules": [
            {
                "source": rule.source,
                "rule": rule.rule,
                "pairs": len(of_rule.pairs),
                "available": of_rule.available,
                "left_out": of_rule.left_out,
            }
            for rule, of_rule in zip(preferences.pairs, drawn, strict=True)
        ],
        "template_digest": template.digest,
        **check_pairs(work / PAIRS, template),
    }


def _draw(
    number: int,
    rule: PairRule,
    preferences: Preferences,
    corpus: KeptRows,
    source: Source,
    template: ChatTemplate,
    folder: Path,
) -> _Drawn:
    """The rule's pairs that fit `max_length`; with a limit, that many of them by the seed."""
    if corpus.kind != _KIND[rule.rule]:
        needed = f"needs {_KIND[rule.rule]} rows, source '{rule.source}' has {corpus.kind} rows"
        raise CorpusError(f"preferences: rule '{rule.rule}' {needed}")
    answers = None if rule.answers is None else load_answers(folder / rule.answers)
    drawn = _Drawn()
    drawn.left_out["near_duplicate"] = corpus.duplicates
    usable = list(_usable(rule, preferences.max_length, corpus, source, template, answers, drawn))
    drawn.available = len(usable)
    if not usable:
        raise CorpusError(
            f"preferences: rule '{rule.rule}' of source '{rule.source}' gives no pairs (left out: {drawn.left_out}; "
            f"max_length is {preferences.max_length})"
        )
    key = f"draw/{number}"
    drawn.pairs = heapq.nsmallest(
        rule.limit or len(usable), usable, key=lambda pair: _rank(preferences.seed, key, rule.source, pair["id"])
    )
    return drawn


def _usable(
    rule: PairRule,
    max_length: int,
    corpus: KeptRows,
    source: Source,
    template: ChatTemplate,
    answers: Answers | None,
    drawn: _Drawn,
) -> Iterator[Row]:
    for pair, margin in _pairs(rule, corpus, answers, drawn.left_out):
        parts = (pair.prompt, pair.chosen, pair.rejected)
        reason = next((found for part in parts if (found := template.left_out(part)) is not None), None)
        if reason is None and pair.chosen == pair.rejected:
            reason = "same_answer"
        ids = {} if reason is not None else _tokenised(pair, template)
        if ids and len(ids["prompt_ids"]) + max(len(ids["chosen_ids"]), len(ids["rejected_ids"])) > max_length:
            reason = "overlong"
        if reason is not None:
            drawn.left_out[reason] += 1
            continue
        about = {"source": rule.source, "signal": rule.rule, "margin": margin, "sensitive": source.sensitive}
        yield {"id": content_id(pair), **about, **vars(pair), **ids}


def _pairs(
    rule: PairRule, rows: KeptRows, answers: Answers | None, left_out: dict[str, int]
) -> Iterator[tuple[Preference, float | None]]:
    """Every pair of a rule, with the margin by which its answers differ, where the rows say so."""
    if rule.rule == "ranked":
        yield from ranked_pairs(rows, rule, left_out)
        return
    for row in rows:
        yield _pair(rule, row, answers), None


def _pair(rule: PairRule, row: Row, answers: Answers | None) -> Preference:
    if answers is None:
        return Preference(*(plain_messages(row[name]) for name in ("prompt", "chosen", "rejected")))
    messages = plain_messages(row["messages"])
    refusal = [{"role": "assistant", "content": answers.choose(messages[-2]["content"], row["category"])}]
    own = messages[-1:]
    chosen, rejected = (refusal, own) if rule.rule == "refuse" else (own, refusal)
    return Preference(messages[:-1], chosen, rejected)


def _tokenised(pair: Preference, template: ChatTemplate) -> dict[str, list[int]]:
    """Ids of the prompt up to where the answer begins, and of each answer up to its end-of-turn token."""
    prompt = template.prompt_ids(pair.prompt)
    return {
        "prompt_ids": prompt,
        "chosen_ids": template.answer_ids(pair.prompt, pair.chosen[0], prompt),
        "rejected_ids": template.answer_ids(pair.prompt, pair.rejected[0], prompt),
    }


def _rank(seed: int, *key: str) -> str:
    return text_digest("/".join((str(seed), *key)))
