"""The data report of a mixture: one HTML page for whoever answers for the data, and its tables as Markdown.

What is in it and in which shares, what was left out and why, what it shares with the evaluation, how rows look to
the model. Made of the artefacts alone. Everything is inside the file: no script, no font, no image from elsewhere;
text from data is escaped by the template engine, and none of it comes from a sensitive source.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.data_report.facts import Facts, gather
from corpora.data_report.lengths import lengths_of
from corpora.data_report.overlaps import overlaps_of
from corpora.data_report.samples import draw, languages_of, rendered, words_of
from corpora.pages import markdown_table, number, percent, rendered_page
from corpora.tables.tables import MANIFEST, ROWS, facts_of
from models import load

DATA_REPORT = "data_report.html"


@dataclass(frozen=True)
class Corpus:
    """A clean corpus that a mixture takes rows from: its folder, its digest, and the metrics in its record."""

    folder: Path
    digest: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """What a report is on. checks: of the mixture in `folder`. distinct: metrics, if near duplicates were looked for.

    checkpoint: whose tokenizer the mixture was made with.
    """

    recipe: str
    name: str
    folder: Path
    checks: Mapping[str, Any]
    corpora: Mapping[str, Corpus]
    distinct: Mapping[str, Any] | None
    checkpoint: Path

    @property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        return manifest

    @property
    def facts(self) -> Facts:
        metrics = {name: corpus.metrics for name, corpus in self.corpora.items()}
        return gather(self.manifest, metrics, self.checks, self.distinct)


def write_report(made: Made) -> Path:
    """Write the page beside the mixture's rows and return its path."""
    path = made.folder / DATA_REPORT
    path.write_text(render(made), encoding="utf-8")
    return path


def render(made: Made) -> str:
    """The page as HTML; the same mixture gives the same page."""
    tokenizer = load.tokenizer(made.checkpoint)
    manifest, rows = made.manifest, made.folder / ROWS
    origins = {name: facts_of(corpus.folder / ROWS) for name, corpus in made.corpora.items()}
    drawn = draw(rows, manifest["rows"], _may_be_shown(manifest, origins))
    return rendered_page(
        "data_report.html.jinja",
        made=made,
        manifest=manifest,
        facts=made.facts,
        unit=manifest["unit"].replace("_", " "),
        lengths=lengths_of(rows),
        languages=languages_of([words_of(row, tokenizer) for row in drawn.spread]),
        overlaps=overlaps_of({name: corpus.folder for name, corpus in made.corpora.items()}),
        samples=[rendered(row, tokenizer) for row in drawn.shown],
        origins=origins,
        metrics={name: corpus.metrics for name, corpus in made.corpora.items()},
    )


def tables(facts: Facts) -> dict[str, str]:
    """The main tables as Markdown, by name."""
    shares = [
        f"| {s.name} | {percent(s.planned, 2)} | {percent(s.realised, 2)} | {percent(s.bound, 2)} | {number(s.rows)} |"
        for s in (*facts.groups, *facts.sources)
    ]
    named = ("read", "quarantined", "filtered", "exact", "contaminated", "near", "overlong", "available", "used")
    rows = [
        f"| {ledger.source} | " + " | ".join(number(getattr(ledger, name)) for name in named) + " |"
        for ledger in facts.ledgers
    ]
    return {
        "shares": markdown_table(("group or source", "planned", "given", "bound", "rows"), shares),
        "rows": markdown_table(("source", *named), rows),
    }


def _may_be_shown(manifest: Mapping[str, Any], origins: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Rows of the mixture by source, without sensitive ones; packed sequences may be of several sources."""
    if manifest["kind"] == "documents":
        return {"": manifest["rows"]}
    return {name: held["rows"] for name, held in manifest["sources"].items() if not origins[name]["sensitive"]}
