"""The preference report: one HTML page for whoever answers for what a model is to prefer, and its tables as Markdown.

Who or what decided and how surely, whether longer answers simply win, what was set aside and why, and pairs side by
side. Made of what was written alone. Everything is inside the file: no script, no font, no image from elsewhere; text
from data is escaped by the template engine, and none of it comes from a sensitive source.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from corpora.data_report.lengths import Histogram, histogram
from corpora.feedback.checks import cohens_d
from corpora.feedback.preferences import EXPLAINED
from corpora.pages import markdown_table, number, percent, rendered_page
from corpora.tables.tables import PAIRS, UNPAIRED, rows_of
from lineage.hashing import fingerprint
from models.messages import plain_messages

PREFERENCE_REPORT = "preference_report.html"

_SHOWN = 3
"""Examples of each source and signal."""
_BARS = 24
_LEAST_SPAN = 1e-9
Row = dict[str, Any]


@dataclass(frozen=True)
class Example:
    """A pair, or a single answer that was judged (`rejected` is None). why: it is shown, and not another."""

    row: Row
    why: str

    @property
    def asked(self) -> str:
        return _text(self.row["prompt"])

    @property
    def answers(self) -> list[tuple[str, str]]:
        """What each answer is, and its words."""
        if "completion" in self.row:
            return [("good" if self.row["label"] else "bad", _text(self.row["completion"][-1:]))]
        return [(name, _text(self.row[name][-1:])) for name in ("chosen", "rejected")]


@dataclass(frozen=True)
class Bar:
    """Pairs whose margin is from `low` to below `high` (the last bar's to `high`); `height` against the highest bar."""

    low: float
    high: float
    pairs: int
    height: float


@dataclass
class Group:
    """The rows of one source that one rule or signal decided. Of single answers the good stand as `better`, the bad as
    `worse`: tokens of each answer. examples: what may be shown of them."""

    source: str
    signal: str
    better: list[int] = field(default_factory=list)
    worse: list[int] = field(default_factory=list)
    margins: list[float] = field(default_factory=list)
    prompts: set[str] = field(default_factory=set)
    judged: int = 0
    examples: list[Example] = field(default_factory=list)

    @cached_property
    def longer_wins(self) -> tuple[int, int]:
        """In how many pairs the longer answer is the better one, of how many whose answers differ in length."""
        differing = [one > other for one, other in zip(self.better, self.worse, strict=True) if one != other]
        return sum(differing), len(differing)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval (Wilson 1927) of the share in which the longer answer wins."""
        from statsmodels.stats.proportion import proportion_confint

        wins, of = self.longer_wins
        low, high = proportion_confint(wins, of, method="wilson") if of else (0.0, 1.0)
        return float(low), float(high)

    @property
    def length_bias(self) -> float:
        return cohens_d(self.better, self.worse)

    @property
    def median_margin(self) -> float | None:
        return statistics.median(self.margins) if self.margins else None

    @property
    def bars(self) -> list[Bar]:
        """The margins, drawn as a few bars; none where all are the same but for rounding, or beyond all measure."""
        import numpy as np

        span = max(self.margins, default=0.0) - min(self.margins, default=0.0)
        if not math.isfinite(span) or span <= _LEAST_SPAN * max(map(abs, self.margins), default=0.0):
            return []
        counts, edges = np.histogram(self.margins, bins=min(_BARS, len(set(self.margins))))
        pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        return [Bar(low, high, count, count / max(counts.tolist())) for low, high, count in pairs]


@dataclass
class Facts:
    """All figures. said: by signal on candidates, how often it says what decided, the opposite, and nothing."""

    holds: str
    groups: list[Group]
    said: dict[str, Counter[str]]
    lengths: dict[str, Histogram]

    @property
    def rows(self) -> int:
        return sum(group.judged for group in self.groups)

    @property
    def prompts(self) -> int:
        return len(set().union(*(group.prompts for group in self.groups)))

    @property
    def longer_wins(self) -> float | None:
        """Share of all pairs of unlike lengths in which the longer answer is the better one."""
        wins, of = map(sum, zip(*(group.longer_wins for group in self.groups), strict=True))
        return wins / of if of else None


def write_report(recipe: str, name: str, folder: Path, metrics: Mapping[str, Any], seed: int) -> Path:
    """Write the page beside the rows of preferences and return its path. metrics: of `build_preferences`."""
    path = folder / PREFERENCE_REPORT
    facts = gather(folder)
    page = rendered_page(
        "preference_report.html.jinja",
        recipe=recipe,
        name=name,
        metrics=metrics,
        facts=facts,
        agreement=agreement(metrics),
        reasons=_reasons(metrics),
        set_aside=sum(sum(rule["left_out"].values()) for rule in metrics["rules"]),
        explained=EXPLAINED,
        named=_named,
        seed=seed,
    )
    path.write_text(page, encoding="utf-8")
    return path


def gather(folder: Path) -> Facts:
    """Read the rows to train on, once. Memory: some 100 bytes a row, and the rows shown."""
    holds = "pairs" if (folder / PAIRS).is_file() else "unpaired"
    groups: dict[tuple[str, str], Group] = {}
    said: dict[str, Counter[str]] = {}
    counts: dict[str, Counter[int]] = {}
    for row in rows_of(folder / (PAIRS if holds == "pairs" else UNPAIRED)):
        group = groups.setdefault((row["source"], row["signal"]), Group(row["source"], row["signal"]))
        group.judged += 1
        group.prompts.add(fingerprint([plain_messages(row["prompt"]), row["tools"]]))
        for what, side in _lengths(row):
            counts.setdefault(what, Counter())[side] += 1
        if holds == "pairs":
            group.better.append(len(row["chosen_ids"]))
            group.worse.append(len(row["rejected_ids"]))
            group.margins += [] if row["margin"] is None else [row["margin"]]
            for one in row["differences"] or ():
                said.setdefault(one["signal"], Counter())[_says(one["by"])] += 1
        else:
            (group.better if row["label"] else group.worse).append(len(row["completion_ids"]))
        if not row["sensitive"]:
            _show(group, row)
    ordered = sorted(groups.values(), key=lambda group: (group.source, group.signal))
    return Facts(holds, ordered, said, {what: _histogram(held) for what, held in counts.items()})


def agreement(metrics: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """Of each rule, pairs that were judged more than once, and the share of judgements that say what most say."""
    found = [(_named(rule), rule.get("agreement", {"pairs": 0})) for rule in metrics["rules"]]
    return [(name, held["pairs"], held["agreeing"] / held["judgements"]) for name, held in found if held["pairs"]]


def tables(folder: Path) -> dict[str, str]:
    """The main table as Markdown, by name."""
    facts = gather(folder)
    head = ("source", "decided by", "rows", "prompts", "longer wins", "length bias (d)")
    rows = [
        f"| {one.source} | {one.signal} | {number(one.judged)} | {number(len(one.prompts))} | "
        f"{_share(one) if facts.holds == 'pairs' else ''} | {one.length_bias:.2f} |"
        for one in facts.groups
    ]
    return {"judged": markdown_table(head, rows)}


def _share(group: Group) -> str:
    wins, of = group.longer_wins
    return f"{percent(wins / of, 0)} of {number(of)}" if of else "–"


def _reasons(metrics: Mapping[str, Any]) -> list[str]:
    """Why some row was left out, in the order of counting."""
    return list(dict.fromkeys(why for rule in metrics["rules"] for why, rows in rule["left_out"].items() if rows))


def _named(rule: Mapping[str, Any]) -> str:
    return f"{rule.get('source') or 'candidates/' + rule['candidates']} ({rule['rule']})"


def _says(difference: float) -> str:
    return "same" if difference > 0 else "opposite" if difference < 0 else "nothing"


def _lengths(row: Row) -> Iterator[tuple[str, int]]:
    for name in ("prompt", "chosen", "rejected", "completion"):
        if f"{name}_ids" in row:
            yield name, len(row[f"{name}_ids"])


def _histogram(counts: Counter[int]) -> Histogram:
    import numpy as np

    by_length = np.zeros(max(counts) + 1, np.int64)
    by_length[[*counts]] = [*counts.values()]
    return histogram(by_length)


def _show(group: Group, row: Row) -> None:
    """Keep the row if it says more of its group than one that is held: the widest margin and the narrowest, else those
    of the lowest ids, which nobody chose."""
    margins = {"the widest margin": max, "the narrowest margin": min}
    if row.get("margin") is None:
        held = sorted([*group.examples, Example(row, "drawn")], key=lambda one: one.row["id"])
        group.examples = held[:_SHOWN]
        return
    of_all = [*(one.row for one in group.examples), row]
    chosen = {why: pick(of_all, key=lambda one: (one["margin"], one["id"])) for why, pick in margins.items()}
    chosen["drawn"] = min(of_all, key=lambda one: one["id"])
    by_id = {one["id"]: Example(one, why) for why, one in reversed(chosen.items())}
    group.examples = sorted(by_id.values(), key=lambda one: -one.row["margin"])


def _text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The words of messages, of several with their roles; an answer's calls are its words."""
    said = [(one["role"], one["content"] or one.get("tool_calls") or "") for one in messages]
    return said[0][1] if len(said) == 1 else "\n\n".join(f"{role}: {words}" for role, words in said)
