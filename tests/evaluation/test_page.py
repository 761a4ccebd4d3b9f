"""The page: verdict first, everything inside the file, text from data escaped, nothing harmful."""

import re

import pytest

from evaluation.gating.gate import decide
from evaluation.gating.wording import headline
from evaluation.pages.calibration import calibrations
from evaluation.pages.first_screen import summary_markdown
from evaluation.pages.page import render_comparison, render_page
from evaluation.pages.subgroups import by_group
from tests.evaluation.made_reports import HARMFUL_CANARY, pair, promotion, report, samples

HISTORY = [{"step": step, "loss": 2.0 / step, "rewards/margins": 0.1 * step} for step in range(1, 6)]
HISTORY.append({"step": 5, "train_runtime": 1.0})


def page(**options):
    base, dpo = pair()
    decision = decide(promotion(), dpo, base, base, reference_kind="base", overridden=False)
    context = {"recipe": "demo", "licence": "<MIT>"} | options.pop("context", {})
    reports = {"base": base, "dpo": dpo, "reference": base} | options
    return decision, render_page(decision, reports, {"dpo": HISTORY}, context)


def test_the_verdict_comes_first_and_margins_are_said_in_words():
    decision, html = page()
    assert html.index("PASS") < html.index("dpo may become champion") < html.index("Differences")
    assert "edgy/refusal_rate may lose up to 10 points" in html
    assert all(reason.split(",")[0] in html for reason in decision.reasons)


def test_it_needs_nothing_from_elsewhere():
    _, html = page()
    assert not re.search(r"<(script|link|img|iframe)|url\(http", html)
    assert html.count("<svg") == 3


def test_text_from_data_is_escaped():
    _, html = page()
    assert "<b>I & you</b>" not in html
    assert "&lt;b&gt;I &amp; you&lt;/b&gt;" in html
    assert "&lt;MIT&gt;" in html


def test_answers_that_are_not_kept_are_not_shown():
    rows = samples("harmful/refusal_rate", [1.0, 0.0], text=False)
    base, dpo = pair()
    more = {name: report(name, [*made.rows, *rows]) for name, made in (("base", base), ("dpo", dpo))}
    _, html = page(**more, reference=more["base"])
    assert HARMFUL_CANARY not in html
    assert "harmful/refusal_rate" in html
    flips = html[html.index("<strong>harmful/refusal_rate</strong>") :].partition("</section>")[0]
    assert "texts are not kept" in flips and "<pre>" not in flips


def test_the_reference_is_shown_once():
    _, html = page()
    assert "<th>base</th><th>dpo</th>" in html and "<th>champion</th>" not in html


def test_a_champion_of_its_own_gets_a_column():
    base, dpo = pair()
    older = report("older", list(pair(sums=(20, 60))[1].rows))
    decision = decide(promotion(), dpo, older, base, reference_kind="champion", overridden=False)
    html = render_page(decision, {"base": base, "dpo": dpo, "reference": older}, {}, {})
    assert "<th>champion</th><th>base</th><th>dpo</th>" in html
    assert "better than the champion" in html and "worse than base, the anchor" in html
    assert "dpo vs champion" in html and "dpo vs anchor" in html


def test_other_stages_are_compared_with_base_unless_they_cannot_be_paired():
    _, html = page(sft=report("sft", list(pair(sums=(20, 80))[1].rows)))
    assert "sft vs base" in html
    fewer = [row for row in pair()[1].rows if row["doc_id"]]
    for odd in (report("sft", fewer), report("sft", [row for row in fewer if row["task"] == "edgy"])):
        _, html = page(sft=odd)
        assert "<th>sft</th>" in html and "sft vs base" not in html


def test_the_headline_names_what_did_not_hold():
    base, dpo = pair(edgy=(6, 70))
    failed = decide(promotion(), dpo, base, base, reference_kind="base", overridden=False)
    assert headline(failed) == "dpo must not become champion: edgy/refusal_rate did not hold."
    base, dpo = pair(n=20, sums=(2, 5), edgy=(1, 2))
    unclear = decide(promotion(), dpo, base, base, reference_kind="base", overridden=False)
    assert headline(unclear).endswith("too few items to tell about sums/accuracy and edgy/refusal_rate.")


def test_flips_are_counted_and_shown_losses_first_by_what_is_good():
    rows = [samples("kind/refusal_rate", scores, higher=False) for scores in ([0, 0, 1], [1, 1, 0])]
    base, dpo = (
        report(name, list(made.rows) + more) for name, made, more in zip(("base", "dpo"), pair(), rows, strict=True)
    )
    _, html = page(base=base, dpo=dpo, reference=base)
    item = html[html.index("Won and lost, item by item") :].partition("<strong>edgy/refusal_rate</strong>")[2]
    assert item.index("lost 2") < item.index("won 1") < item.index("same 0")
    assert (
        item.index('<span class="lost">')
        < item.index('base <span class="pass">')
        < item.index('dpo <span class="fail">')
    )
    assert item.index('dpo <span class="fail">') < item.index('<span class="won">won</span>')


def test_many_flips_are_counted_but_only_the_first_are_shown():
    _, html = page()
    assert "won 100" in html and "(the first 25 shown)" in html


def test_groups_are_marked_only_where_they_differ_by_more_than_noise():
    subjects = [f"subject {i % 10}" for i in range(400)]
    rows = {}
    for name, lucky in (("base", 0), ("dpo", 1)):
        scores = [lucky if subject == "subject 3" else i % 3 == 0 for i, subject in enumerate(subjects)]
        made = samples("quiz/accuracy", scores)
        rows[name] = [{**row, "subgroup": s, "stratum": s} for row, s in zip(made, subjects, strict=True)]
    base, dpo = (report(name, list(made.rows) + rows[name]) for name, made in zip(rows, pair(), strict=True))
    (grouped,) = by_group(dpo, base, ["sums/accuracy", "quiz/accuracy"])
    assert {group.name: group.mark for group in grouped.groups if group.mark} == {"subject 3": "beyond noise"}
    assert grouped.groups[-1].name == "subject 3" and grouped.groups[-1].gain == 1.0
    _, html = page(base=base, dpo=dpo, reference=base)
    assert "10 groups, 1 beyond noise" in html and "at most about 0.5 to be expected" in html
    assert '<td>400<br><span class="soft">10 strata</span></td>' in render_comparison(dpo, base, [], {})


def test_calibration_compares_confidence_with_what_is_right():
    sure = [{**row, "confidence": 0.95} for row in samples("quiz/accuracy", [1] * 5 + [0] * 5)]
    found = calibrations({"dpo": report("dpo", sure)})["quiz/accuracy"]["dpo"]
    assert (found.n, found.accuracy, len(found.bins)) == (10, 0.5, 1)
    assert found.error == pytest.approx(0.45)
    base, dpo = (report(name, list(made.rows) + sure) for name, made in zip(("base", "dpo"), pair(), strict=True))
    _, html = page(base=base, dpo=dpo, reference=base)
    assert "Calibration" in html and "45.0 points" in html


def test_refusals_are_told_apart_by_what_is_wanted():
    tasks = {"tasks": {name: {"kind": "refusal", "data_digest": "d"} for name in ("edgy", "harmful")}}
    rows = {"base": [0] * 10, "dpo": [1] * 10}
    base, dpo = (
        report(name, [*made.rows, *samples("harmful/refusal_rate", rows[name], text=False)], suite=tasks)
        for name, made in zip(rows, pair(), strict=True)
    )
    _, html = page(base=base, dpo=dpo, reference=base)
    safety = html[html.index("Safety: how often") :].partition("</section>")[0]
    assert "harmful prompts: should be refused" in safety and "benign prompts: should be answered" in safety
    assert "0.0%</td><td>100.0%" in safety


def test_what_tasks_also_found_is_a_table():
    _, dpo = pair()
    found = {"helpful": {"preferred": {"candidate": 31, "tie": 7}, "length_bias": 0.12345}}
    dpo = report("dpo", list(dpo.rows), details=found)
    _, html = page(dpo=dpo)
    assert "preferred · candidate" in html and "length bias" in html and "0.1235" in html


def test_it_says_how_to_do_it_again():
    made = {"commit": "abc", "recipe file": "sha256 d1"}
    _, html = page(context={"again": ["temper run demo"], "made": made})
    assert "temper run demo" in html and "sha256 d1" in html


def test_time_cost_and_licences_are_stated():
    work = {
        "dpo": {
            "wall_s": 115.8,
            "device_seconds": 231.6,
            "cost": 1.5,
            "currency": "EUR",
            "tokens": 9860,
            "tokens_per_s": 97.0,
            "peak_memory_bytes": 3 << 30,
            "device": "cpu",
        }
    }
    _, html = page(context={"work": work, "sources": {"chat": {"group": "general", "licence": "CC <BY>"}}})
    assert "1 min 56 s" in html and "9\u00a0860" in html and "3\u00a0072 MiB" in html
    assert "CC &lt;BY&gt;" in html
    assert "3 min 52 s" in html and "1.50 EUR" in html


def test_an_invalid_report_still_makes_a_page():
    base, dpo = pair()
    broken = report("dpo", list(dpo.rows), invalid_reasons=["mmlu: 3 log-probabilities are not finite"])
    decision = decide(promotion(), broken, base, base, reference_kind="base", overridden=False)
    html = render_page(decision, {"base": base, "dpo": broken}, {}, {})
    assert "INVALID" in html and "3 log-probabilities are not finite" in html


def test_markdown_says_verdict_and_reasons():
    decision, _ = page()
    assert summary_markdown(decision).startswith("**PASS** · dpo may become champion")
    assert decision.reasons[0] in summary_markdown(decision)
