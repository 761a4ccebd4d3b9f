"""The page: verdict first, everything inside the file, text from data escaped, nothing harmful."""

import re

from evaluation.gate import decide
from evaluation.page import render_page, summary_markdown
from tests.evaluation.made_reports import HARMFUL_CANARY, pair, promotion, report, samples

HISTORY = [{"step": step, "loss": 2.0 / step, "rewards/margins": 0.1 * step} for step in range(1, 6)]


def page(**options):
    base, dpo = pair()
    decision = decide(promotion(), dpo, base, base, reference_kind="base", overridden=False)
    reports = {"base": base, "dpo": dpo, "reference": base} | options
    return decision, render_page(decision, reports, {"dpo": HISTORY}, {"recipe": "demo", "licence": "<MIT>"})


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
    _, html = page(**more)
    assert HARMFUL_CANARY not in html
    assert "harmful/refusal_rate" in html
    assert "<strong>harmful/refusal_rate</strong>" not in html


def test_the_reference_is_shown_once():
    _, html = page()
    assert "<th>base</th><th>dpo</th>" in html and "<th>champion</th>" not in html


def test_a_champion_of_its_own_gets_a_column():
    other = report("older", list(pair()[1].rows))
    _, html = page(reference=other)
    assert "<th>champion</th>" in html


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
