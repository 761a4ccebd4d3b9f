"""The page on a mixture: right figures, evidence a person can judge, and no text that must not be shown."""

import html
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.cleaning.clean import clean
from corpora.contamination.items import ITEMS, items_schema
from corpora.data_report.lengths import histogram
from corpora.data_report.overlaps import marked
from corpora.data_report.page import Corpus, Made, render, tables, write_report
from corpora.duplicates import near
from corpora.duplicates.outcome import removed_file
from corpora.mixing.mixture import mix
from recipes.cleaning import Contamination, Duplicates
from recipes.execution import CorporaExecution
from recipes.mixtures import Mixture
from tests.corpora.made import source, talk, write_jsonl

ITEM = (
    "A lighthouse keeper counts the ships that pass on the first nine nights of winter. Write her diary in three parts."
)
CANARY = "zanzibarquokka"
NEAR = (
    "The old mill by the river grinds barley for the bakers of the town, and on market days the carts of the farmers "
    "queue up to the bridge, where a boy with a lantern writes down whose turn it is. "
)
FIELDS = {
    "chat": {"licence": "CC BY 4.0 & friends", "steps": [{"kind": "length", "unit": "characters", "min": 12}]},
    "secret": {"group": "safety", "licence": "internal", "sensitive": True},
}


def rows() -> dict[str, list[object]]:
    chat: list[object] = [talk(f"Question {i} <b>", f"Answer {i} is {'so ' * (i % 30)}long") for i in range(120)]
    chat += [talk(f"Please: {ITEM.upper()}", "Of course."), talk("a", "b"), {"messages": 5}]
    chat += [
        talk("Describe it.", NEAR + "one"),
        talk("Describe it.", NEAR + "two"),
        talk("Question 1 <b>", "Answer 1 is so long"),
    ]
    return {"chat": chat, "secret": [talk(f"{CANARY} {i}", f"No {CANARY}.") for i in range(60)] + [talk(ITEM, CANARY)]}


@pytest.fixture(scope="module")
def made(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A mixture of two corpora with everything in them that a report tells of."""
    folder = tmp_path_factory.mktemp("made")
    fields = {"task": "quiz", "item": 0, "field": "question", "text": ITEM, "generated": False, "sensitive": False}
    pq.write_table(pa.Table.from_pylist([fields], items_schema()), folder / ITEMS)
    corpora = {}
    for name, given in rows().items():
        write_jsonl(folder / f"{name}.jsonl", given)
        work = folder / name
        work.mkdir()
        section, items = Contamination(), folder / ITEMS
        declared = source(f"{name}.jsonl", **FIELDS[name])
        metrics = clean(name, declared, folder, folder / "cache", work, items=items, contamination=section)
        corpora[name] = Corpus(work, "0" * 64, metrics)
    (folder / "distinct").mkdir()
    folders = {name: corpus.folder for name, corpus in corpora.items()}
    distinct = near.find(folders, Duplicates(), folder / "distinct", CorporaExecution(workers=1))
    (folder / "mixture").mkdir()
    mixture = Mixture(shares={"general": 0.7, "safety": 0.3}, size=1500, max_length=80, seed=1)
    sources = {"chat": ("general", folders["chat"]), "secret": ("safety", folders["secret"])}
    removed = {name: removed_file(folder / "distinct", name) for name in sources}
    metrics = mix(
        mixture, sources, tiny_base, folder / "mixture", removed=removed, execution=CorporaExecution(workers=1)
    )
    return Made("tiny", "chat", folder / "mixture", metrics["checks"], corpora, distinct, tiny_base)


@pytest.fixture(scope="module")
def page(made: Made) -> str:
    return write_report(made).read_text(encoding="utf-8")


def test_every_row_is_accounted_for(made: Made) -> None:
    for ledger in made.facts.ledgers:
        fields = vars(ledger)
        gone = sum(fields[name] for name in fields if name not in ("source", "read", "used"))
        assert ledger.read == gone
    chat = made.facts.ledgers[0]
    assert (chat.quarantined, chat.filtered, chat.exact, chat.contaminated, chat.near) == (1, 1, 1, 1, 1)
    assert chat.overlong > 0


def test_shares_are_those_of_the_rows_in_the_mixture(made: Made) -> None:
    table = pq.read_table(made.folder / "rows.parquet", columns=["source", "n_supervised"]).to_pandas()
    units = table.groupby("source")["n_supervised"].sum()
    assert {s.name: s.realised for s in made.facts.sources} == pytest.approx((units / units.sum()).to_dict())
    assert all(share.kept for share in made.facts.groups)
    assert "| general | 70.00% | " in tables(made.facts)["shares"]


def test_the_page_shows_evidence_with_the_overlap_marked(page: str) -> None:
    shared = [html.unescape(text) for text in re.findall(r"<mark>(.*?)</mark>", page, re.DOTALL)]
    assert ITEM.upper().rstrip(".") in shared and ITEM.rstrip(".") in shared


def test_the_page_shows_no_text_of_a_sensitive_source(page: str) -> None:
    assert CANARY not in page
    assert page.count("is not shown.") == 1


def test_the_page_tells_all_that_was_left_out_and_the_licences(page: str) -> None:
    told = ("no turns", "too short", "CC BY 4.0 &amp; friends", "quiz", "<code>en</code>", "sensitive")
    for text in (*told, "Training shortens no row and puts none into another"):
        assert text in page, text


def test_samples_mark_just_the_supervised_tokens(page: str) -> None:
    shown = page[page.index("As the model reads it") :]
    learnt = re.findall(r'<span class="learn(?: control)?">(.*?)</span>', shown, re.DOTALL)
    answers = [html.unescape(text) for text in learnt if text not in ("Marked", "&lt;|im_end|&gt;")]
    assert len(answers) == 20
    assert all(re.fullmatch(r"Answer \d+ is( so)* long|The old mill .*", text) for text in answers)
    assert "&lt;b&gt;" in shown and "<b>&lt;" not in shown


def test_the_same_mixture_gives_the_same_page(made: Made, page: str) -> None:
    assert render(made) == page


def test_bars_of_a_histogram_hold_every_row() -> None:
    import numpy as np

    counts = np.zeros(700, np.int64)
    counts[[17, 18, 300, 699]] = (5, 1, 10, 4)
    found = histogram(counts)
    assert sum(bar.rows for bar in found.bars) == 20
    assert len(found.bars) <= 24 and max(bar.height for bar in found.bars) == 1
    assert all(b.low == a.high + 1 for a, b in zip(found.bars, found.bars[1:], strict=False))
    assert (found.median, found.p95, found.longest) == (300, 699, 699)


def test_long_texts_of_evidence_are_cut_around_what_is_shared() -> None:
    text = "a" * 1000 + "SHARED" + "b" * 1000 + "TOO" + "c"
    spans = [{"start": 1000, "end": 1006}, {"start": 2006, "end": 2009}]
    pieces = marked(text, spans)
    assert [piece for piece, shared in pieces if shared] == ["SHARED", "TOO"]
    assert max(len(piece) for piece, _ in pieces) < 500
    assert pieces[-1] == ("c", False)


def test_packed_documents_have_a_page_too(made: Made, tiny_base: Path, tmp_path: Path) -> None:
    pages = [{"text": f"{NEAR} Page {i}, and {'more of it, ' * i}the end."} for i in range(40)]
    write_jsonl(tmp_path / "web.jsonl", [*pages, {"text": " "}])
    for folder in ("web", "packed"):
        (tmp_path / folder).mkdir()
    metrics = clean("web", source("web.jsonl", licence="ODC-BY"), tmp_path, tmp_path / "cache", tmp_path / "web")
    mixture = Mixture(kind="documents", unit="tokens", shares={"general": 1.0}, size=1500, sequence_length=128, seed=1)
    mixed = mix(mixture, {"web": ("general", tmp_path / "web")}, tiny_base, tmp_path / "packed")
    corpora = {"web": Corpus(tmp_path / "web", "0" * 64, metrics)}
    page = render(Made("tiny", "web", tmp_path / "packed", mixed["checks"], corpora, None, tiny_base))
    assert "packed sequences" in page and "ODC-BY" in page
    assert "Documents stand end to end in sequences of 128 tokens" in page
    assert "Near duplicates were not looked for." in page
    assert "Page" in page[page.index("As the model reads it") :]
