"""What each rule of a recipe makes of the rows of a clean corpus: pairs of answers, or single answers with a label.

Recorded pairs are taken as they are. Safety pairs come from answers: a row's own answer to a harmful prompt is the
worse one and a refusal that we wrote the better (`refuse`); for harmless prompts it is the other way round (`comply`),
so that a model which learns to refuse does not learn to refuse everything. Pairs from ranked, rated and voted answers
are made by `ranked`, and of good and bad answers to one prompt. Unpaired answers have their own labels; a recorded pair
gives two of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from corpora.feedback.annotators import Agreement
from corpora.feedback.ranked import ranked_pairs
from corpora.formats.answers import Answers
from corpora.formats.items import Preference, Unpaired
from corpora.tables.tables import KeptRows, place_of
from lineage.errors import CorpusError
from models.messages import plain_messages
from recipes.mixtures import PairRule, UnpairedRule
from recipes.sources import Source

Rule = PairRule | UnpairedRule
Row = dict[str, Any]

_KINDS = {
    "recorded": ("preference",),
    "refuse": ("conversation",),
    "comply": ("conversation",),
    "ranked": ("ranking", "unpaired"),
    "unpaired": ("unpaired", "preference"),
}


@dataclass(frozen=True)
class Found:
    """What a rule found, and what else the row says of it.

    about: the columns `source`, `signal` (what decided) and `sensitive`, and `margin` of pairs, `label` of single
    answers. said_by: where each row is that says so. judged: how many judgements it is made of, and how many of them
    say so; weight: what each of these counts.
    """

    item: Preference | Unpaired
    about: Row
    said_by: list[str]
    judged: tuple[int, int] = (1, 1)
    weight: float = 1.0


def judged_by(
    rule: Rule,
    rows: KeptRows,
    source: Source,
    answers: Answers | None,
    agreed: Agreement | None,
    left_out: dict[str, int],
) -> Iterator[Found]:
    """Everything that a rule finds in a corpus; what it leaves out is counted. agreed: of those who judged by name.

    Raises CorpusError if the corpus has the wrong kind of rows.
    """
    if rows.kind not in _KINDS[rule.rule]:
        needed = f"needs {' or '.join(_KINDS[rule.rule])} rows, source '{rule.source}' has {rows.kind} rows"
        raise CorpusError(f"preferences: rule '{rule.rule}' {needed}")
    about = {"source": rule.source, "signal": rule.rule, "sensitive": source.sensitive}
    if isinstance(rule, UnpairedRule):
        return (Found(item, {"label": item.label, **about}, [place_of(row)]) for row in rows for item in _single(row))
    if rule.rule == "ranked":
        pairs = ranked_pairs(rows, rule, agreed, left_out)
        return (Found(one.pair, {"margin": one.margin, **about}, one.said_by, one.judged, one.weight) for one in pairs)
    return (Found(_pair(rule, row, answers), {"margin": None, **about}, [place_of(row)]) for row in rows)


def _pair(rule: PairRule, row: Row, answers: Answers | None) -> Preference:
    if answers is None:
        prompt, chosen, rejected = (plain_messages(row[name]) for name in ("prompt", "chosen", "rejected"))
        return Preference(prompt, chosen, rejected, row["tools"])
    messages = plain_messages(row["messages"])
    refusal = [{"role": "assistant", "content": answers.choose(messages[-2]["content"], row["category"])}]
    own = messages[-1:]
    chosen, rejected = (refusal, own) if rule.rule == "refuse" else (own, refusal)
    return Preference(messages[:-1], chosen, rejected, row["tools"])


def _single(row: Row) -> Iterator[Unpaired]:
    prompt = plain_messages(row["prompt"])
    if "completion" in row:
        yield Unpaired(prompt, plain_messages(row["completion"]), row["label"], row["tools"])
        return
    for name, label in (("chosen", True), ("rejected", False)):
        yield Unpaired(prompt, plain_messages(row[name]), label, row["tools"])
