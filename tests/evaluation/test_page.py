"""The page: verdict first, everything inside the file, text from data escaped, nothing harmful."""

import re

from evaluation.gate import decide
from evaluation.page import render_page, summary_markdown
from evaluation.wording import headline
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
    _, html = page(**more)
    assert HARMFUL_CANARY not in html
    assert "harmful/refusal_rate" in html
    assert "<strong>harmful/refusal_rate</strong>" not in html


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


def test_answers_gained_and_lost_are_marked_by_what_is_good():
    rows = [samples("kind/refusal_rate", [score] * 2, higher=False) for score in (0.0, 1.0)]
    base, dpo = (
        report(name, list(made.rows) + more) for name, made, more in zip(("base", "dpo"), pair(), rows, strict=True)
    )
    _, html = page(base=base, dpo=dpo, reference=base)
    item = html[html.index("<strong>kind/refusal_rate</strong>") :]
    assert item.index(">lost<") < item.index('base <span class="pass">') < item.index('dpo <span class="fail">')


def test_time_cost_and_licences_are_stated():
    work = {
        "dpo": {"wall_s": 115.8, "tokens": 9860, "tokens_per_s": 97.0, "peak_memory_bytes": 3 << 30, "device": "cpu"}
    }
    _, html = page(context={"work": work, "sources": {"chat": {"group": "general", "licence": "CC <BY>"}}})
    assert "1 min 56 s" in html and "9\u00a0860" in html and "3\u00a0072 MiB" in html
    assert "CC &lt;BY&gt;" in html


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
