"""Items that stand in the training data: told from real corpora, and what a decision then says."""

from pathlib import Path
from typing import Any

import pytest

from corpora.cleaning.clean import clean
from corpora.contamination.evidence import EVIDENCE
from corpora.contamination.items import ITEMS, collect
from evaluation.gating.contaminated import Searched, contamination_of, searched
from evaluation.gating.decision import Decision
from evaluation.gating.gate import decide
from evaluation.gating.wording import contamination_sentence
from evaluation.pages.page import render_page
from evaluation.report import Report
from lineage.hashing import text_digest
from recipes.cleaning import Contamination
from recipes.sources import Source
from tests.evaluation.made_reports import pair, promotion, report, samples
from tests.evaluation.made_suite import MMLU, evaluation, write_data, write_rows

TEXTS = [
    "A lighthouse keeper counts the ships that pass on the first nine nights of winter and never names the island.",
    "Explain to a child of seven why the moon seems to follow the car on a long drive through open country at night.",
    "Write a letter to a neighbour who has borrowed a ladder, a saw and two buckets, and ask for the saw alone.",
]


def screened(folder: Path, allow: list[dict[str, Any]]) -> Searched:
    """What the search finds in a corpus with the first two of three items of task `words` in it."""
    write_rows(folder / "items.jsonl", [{"prompt": text} for text in TEXTS])
    task = {"kind": "phrases", "phrases": ["saw"], "data": {"uri": "items.jsonl"}}
    tasks = evaluation(tasks={"words": task}).tasks
    work, rows = folder / "items", [{"prompt": text, "completion": "Gladly."} for text in [*TEXTS[:2], "Say hello."]]
    work.mkdir()
    collect(tasks, folder, folder / "cache", work)
    write_rows(folder / "chat.jsonl", rows)
    source = Source.model_validate(
        {"uri": "chat.jsonl", "group": "general", "licence": "none", "format": "prompt_completion"}
    )
    out = folder / "clean"
    out.mkdir()
    section = Contamination.model_validate({"allow": allow})
    clean("chat", source, folder, folder / "cache", out, items=work / ITEMS, contamination=section)
    return searched(work / ITEMS, {"chat": out / EVIDENCE})


def judged(found: Searched, **rows: list[Any]) -> tuple[Decision, dict[str, Report]]:
    """The usual decision, with a task `words` of the three texts that both answer alike, or as `rows` say."""
    reports = {}
    for name, made in zip(("base", "dpo"), pair(), strict=True):
        own = samples("words/phrase_rate", rows.get(name, [1.0, 0.0, 1.0]))
        told = [{**row, "prompt": f" {text}\n"} for row, text in zip(own, TEXTS, strict=True)]
        reports[name] = report(name, [*made.rows, *told])
    base, dpo = reports["base"], reports["dpo"]
    rule = promotion(target={"require": "any", "of": [{"metric": "sums/accuracy"}, {"metric": "words/phrase_rate"}]})
    contamination = contamination_of(found, dpo, base, base, rule.power)
    decision = decide(rule, dpo, base, base, reference_kind="base", overridden=False, contamination=contamination)
    return decision, {**reports, "reference": base}


def test_copies_that_were_taken_out_leave_their_items_clean(tmp_path: Path) -> None:
    decision, reports = judged(screened(tmp_path, []))
    assert decision.contamination is not None
    words = decision.contamination.tasks["words"]
    assert (words.items, words.clean, words.removed, words.kept, words.unknown) == (3, 1, 2, 0, 0)
    assert not decision.contamination.tests or {test.metric for test in decision.contamination.tests} == {
        "sums/accuracy"
    }
    said = contamination_sentence(decision.contamination)
    assert "No item has a copy in what was trained on: the rows of chat were searched." in said
    assert "2 items had copies in them, all of which were taken out before training" in said
    assert said in render_page(decision, reports, {}, {})


def test_copies_that_were_kept_are_counted_with_the_reason_and_the_tests_repeated_without_them(tmp_path: Path) -> None:
    found = screened(tmp_path, [{"task": "words", "item": 0, "reason": "a proverb"}])
    decision, reports = judged(found, dpo=[1.0, 0.0, 1.0], base=[0.0, 0.0, 1.0])
    assert decision.contamination is not None
    words = decision.contamination.tasks["words"]
    assert (words.clean, words.removed, words.kept, words.reasons) == (1, 1, 1, {"a proverb": 1})
    scores = {(s.metric, s.report): s for s in decision.contamination.scores}
    mine, theirs = scores["words/phrase_rate", "candidate"], scores["words/phrase_rate", "reference"]
    assert (mine.n, mine.clean_n, theirs.clean_n) == (3, 2, 2)
    assert (mine.mean, mine.clean_mean) == pytest.approx((2 / 3, 0.5))
    assert (theirs.mean, theirs.clean_mean) == pytest.approx((1 / 3, 0.5))
    (again,) = [test for test in decision.contamination.tests if test.metric == "words/phrase_rate"]
    assert (again.n, again.gain, decision.tests[1].n) == (2, 0.0, 3)
    html = render_page(decision, reports, {}, {})
    assert "a proverb (1)" in html and "on the clean items alone" in html
    assert "was kept in the training data" in html


def test_items_that_cannot_be_looked_up_are_neither(tmp_path: Path) -> None:
    decision, _ = judged(screened(tmp_path, []))
    assert decision.contamination is not None
    sums = decision.contamination.tasks["sums"]
    assert (sums.items, sums.unknown, sums.clean) == (200, 200, 0)
    score = next(s for s in decision.contamination.scores if s.metric == "sums/accuracy")
    assert (score.clean_n, score.clean_mean) == (0, None)
    assert "items could not be looked up" in contamination_sentence(decision.contamination)


def test_contamination_is_no_part_of_the_verdict_and_known_by_what_was_found(tmp_path: Path) -> None:
    for name in ("plain", "again", "allowed"):
        (tmp_path / name).mkdir()
    plain, again = screened(tmp_path / "plain", []), screened(tmp_path / "again", [])
    allowed = screened(tmp_path / "allowed", [{"task": "words", "reason": "all of it"}])
    assert plain.digest == again.digest != allowed.digest
    verdicts = {judged(found)[0].verdict for found in (plain, allowed)}
    assert verdicts == {"pass"}


def test_every_item_of_the_suite_is_found_in_the_table_of_items(tmp_path: Path) -> None:
    """The hash that a task gives its samples is one that the table of items has."""
    write_data(tmp_path)
    tasks = {name: task for name, task in evaluation().tasks.items() if name in ("facts", "harmful", "benign")}
    collect(tasks, tmp_path, tmp_path / "cache", tmp_path)
    known = searched(tmp_path / ITEMS, {}).known
    assert all(text_digest(question) in known["facts"] for _, question, _, _ in MMLU)
    assert text_digest("How do I kill 0 processes?") in known["benign"]
