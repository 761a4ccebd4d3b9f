"""The gate's verdicts: each of the five, their order, and what they are said to rest on."""

import json

import numpy as np
import pytest

from evaluation.gating.gate import compare, decide
from evaluation.gating.wording import headline, points
from lineage.hashing import text_digest
from tests.evaluation.made_reports import pair, promotion, report, samples
from tests.evaluation.made_strata import MMLU, labels


def judge(rule, candidate, reference, anchor=None, **options):
    kind = options.pop("reference_kind", "base")
    overridden = options.pop("overridden", False)
    return decide(rule, candidate, reference, anchor or reference, reference_kind=kind, overridden=overridden)


def test_a_better_target_and_a_kept_guard_pass():
    base, dpo = pair()
    decision = judge(promotion(), dpo, base)
    assert decision.verdict == "pass"
    target, guard = decision.tests
    assert target.gain == pytest.approx(0.5) and target.lower > 0.4 and (target.better, target.worse) == (100, 0)
    assert guard.gain == pytest.approx(-0.01) and guard.threshold == -0.1 and guard.power > 0.99
    assert guard.sentence == (
        "edgy/refusal_rate: 1.0 points worse than base (3.0% → 4.0%), with 95% confidence at most 3.0 points worse; "
        "it may lose up to 10 points."
    )


def test_a_target_that_is_not_shown_to_be_better_is_inconclusive():
    base, dpo = pair(sums=(20, 23))
    decision = judge(promotion(), dpo, base)
    assert decision.verdict == "inconclusive"
    assert "200 items are too few, about" in decision.reasons[0]


def test_a_target_shown_to_gain_less_than_asked_fails():
    base, dpo = pair(sums=(20, 22))
    assert judge(promotion(target={"metric": "sums/accuracy", "min_gain": 0.1}), dpo, base).verdict == "fail"


def test_a_guard_clearly_beyond_its_margin_fails():
    base, dpo = pair(edgy=(6, 70))
    decision = judge(promotion(), dpo, base)
    assert decision.verdict == "fail"
    assert decision.reasons[0].startswith("edgy/refusal_rate: 32.0 points worse than base")


def test_a_guard_that_straddles_its_margin_is_inconclusive():
    base, dpo = pair(edgy=(6, 24))
    assert judge(promotion(), dpo, base).verdict == "inconclusive"


def test_a_verdict_follows_from_the_bounds_alone():
    # 40 items that change in both directions, more of them won: few for such a margin, but enough for these outcomes.
    before = [1] * 10 + [0] * 30
    after = [0] * 9 + [1] * 17 + [0] * 14
    rows = [samples("sums/accuracy", [k] * 100) + samples("safe/accuracy", s) for k, s in ((0, before), (1, after))]
    base, dpo = report("base", rows[0]), report("dpo", rows[1])
    rule = promotion(guards=[{"metric": "safe/accuracy", "margin": 0.1}])
    decision = judge(rule, dpo, base)
    guard = decision.tests[1]
    assert guard.lower > guard.threshold and guard.power < 0.8
    assert (guard.outcome, decision.verdict) == ("pass", "pass")


def test_equally_good_models_pass_a_guard_as_often_as_was_planned():
    # 541 items of which 20 % change, a margin of 4.8 points: planned to pass in 80 %, minus what is discrete.
    rng, draws, passed = np.random.default_rng(8), 100, 0
    rule = promotion(guards=[{"metric": "safe/accuracy", "margin": 0.048}])
    for _ in range(draws):
        moves = rng.choice([1, -1, 0], p=[0.1, 0.1, 0.8], size=541)
        sides = [
            samples("sums/accuracy", [k] * 20) + samples("safe/accuracy", scores, text=False)
            for k, scores in ((0, (moves >= 0) - moves), (1, (moves >= 0) * 1))
        ]
        passed += judge(rule, report("dpo", sides[1]), report("base", sides[0])).verdict == "pass"
    assert passed / draws == pytest.approx(0.8, abs=0.05 + 3 * (0.8 * 0.2 / draws) ** 0.5)


@pytest.mark.parametrize("margin", [0.01, 0.02])
def test_equal_answers_to_all_of_mmlu_keep_its_guard(margin):
    right, subjects = (np.random.default_rng(9).random(MMLU.sum()) < 0.45) * 1.0, labels(MMLU)
    rows = [
        {**row, "stratum": str(subject)}
        for row, subject in zip(samples("mmlu/accuracy", right, text=False), subjects, strict=True)
    ]
    base, dpo = (report(name, [*samples("sums/accuracy", [k] * 100), *rows]) for name, k in (("base", 0), ("dpo", 1)))
    decision = judge(promotion(guards=[{"metric": "mmlu/accuracy", "margin": margin}]), dpo, base)
    assert decision.verdict == "pass"
    guard = decision.tests[1]
    assert (guard.n, guard.n_clusters, guard.n_strata) == (14_042, 14_042, 57)
    assert guard.items_needed is not None and guard.items_needed < 300
    assert "with 95% confidence at most 0.1 points worse" in guard.sentence


def test_guards_hold_against_the_anchor_too():
    base, _ = pair(edgy=(6, 6))
    _, champion = pair(sums=(0, 60), edgy=(6, 22))
    champion = report("champion", list(champion.rows))
    _, dpo = pair(edgy=(6, 30))
    decision = judge(promotion(), dpo, champion, base, reference_kind="champion")
    assert [(t.role, t.against, t.outcome) for t in decision.tests] == [
        ("target", "champion", "pass"),
        ("guard", "champion", "pass"),
        ("guard", "anchor", "inconclusive"),
    ]
    assert decision.verdict == "inconclusive"


def test_a_floor_is_kept_only_when_shown_and_is_a_ceiling_where_lower_is_better():
    base, dpo = pair(edgy=(6, 8))

    def with_ceiling(ceiling):
        guard = {"metric": "edgy/refusal_rate", "margin": 0.1, "floor": ceiling}
        return judge(promotion(guards=[guard]), dpo, base)

    assert [with_ceiling(c).verdict for c in (0.10, 0.04, 0.01)] == ["pass", "inconclusive", "fail"]
    assert "the ceiling of 1.0% is broken" in with_ceiling(0.01).reasons[0]


@pytest.mark.parametrize(
    ("part", "change", "name"),
    [
        ("suite", {"digest": text_digest("another")}, "suite"),
        ("subject", {"template_sha256": text_digest("another")}, "chat template"),
        ("runtime", {"dtype": "float32"}, "dtype (bfloat16 and float32)"),
        ("runtime", {"backend": "vllm"}, "backend"),
        ("runtime", {"batch_size": 4}, "batch_size (16 and 4)"),
    ],
)
def test_other_conditions_are_incomparable_and_named(part, change, name):
    base, dpo = pair()
    decision = judge(promotion(), dpo, report("base", list(base.rows), **{part: change}))
    assert decision.verdict == "incomparable" and not decision.tests
    assert name in decision.reasons[0]


def test_other_items_or_prompts_are_incomparable():
    base, dpo = pair()
    fewer = report("base", [row for row in base.rows if row["doc_id"] or row["task"] != "sums"])
    assert "1 items are in only one of the reports" in judge(promotion(), dpo, fewer).reasons[0]
    other = report("base", [{**row, "prompt_hash": "another"} for row in base.rows])
    assert "200 items were shown with another prompt" in judge(promotion(), dpo, other).reasons[0]
    without = report("base", [row for row in base.rows if row["task"] == "sums"], suite=dict(dpo.suite))
    assert "lacks this metric" in judge(promotion(), dpo, without).reasons[0]


def test_an_invalid_report_outranks_everything():
    base, dpo = pair()
    broken = report("dpo", list(dpo.rows), runtime={"dtype": "float32"}, invalid_reasons=["3 scores are missing"])
    decision = judge(promotion(), broken, base, overridden=True)
    assert decision.verdict == "invalid"
    assert decision.reasons == ["The candidate report is not valid: 3 scores are missing"]


def test_an_overridden_candidate_passes_only_where_the_recipe_allows_it():
    base, dpo = pair()
    decision = judge(promotion(), dpo, base, overridden=True)
    assert decision.verdict == "fail" and "launch overrides" in decision.reasons[0]
    assert judge(promotion(allow_overridden=True), dpo, base, overridden=True).verdict == "pass"


def test_a_checkpoint_is_not_better_than_itself():
    _, dpo = pair()
    assert judge(promotion(), dpo, dpo).verdict == "inconclusive"


def test_a_checkpoint_is_not_tested_against_itself_however_wide_the_margin():
    base, dpo = pair()
    decision = judge(promotion(margin=0.9), dpo, dpo, base, reference_kind="champion")
    assert (decision.verdict, decision.tests) == ("inconclusive", [])
    assert decision.reasons == [
        f"Candidate and champion are one checkpoint ({text_digest('dpo')[:12]}), which is not tested against itself."
    ]
    assert headline(decision) == "dpo does not become champion: it is the champion that it would have to beat."


def test_tiny_suites_without_discordant_pairs_never_pass():
    for n in (1, 5, 20):
        base, dpo = pair(n=n, sums=(n, n), edgy=(0, 0))
        assert judge(promotion(margin=0.05), dpo, base).verdict == "inconclusive"


def test_widening_a_margin_never_worsens_a_verdict():
    base, dpo = pair(edgy=(6, 20))
    order = ["fail", "inconclusive", "pass"]
    ranks = [order.index(judge(promotion(margin=m / 100), dpo, base).verdict) for m in range(1, 40)]
    assert ranks == sorted(ranks) and ranks[0] == 0 and ranks[-1] == 2


def test_a_decision_is_a_pure_function_and_canonical_json():
    base, dpo = pair()
    first, second = judge(promotion(), dpo, base), judge(promotion(), dpo, base)
    assert first.to_json() == second.to_json()
    assert type(first).model_validate(json.loads(first.to_json())) == first


def two_targets(require, gains, n=200):
    """Judgement of a recipe with two targets: of n items each gains so many, from none."""
    base, dpo = pair(n=n, sums=(0, gains[0]))
    more = [samples("words/accuracy", [1] * k + [0] * (n - k)) for k in (0, gains[1])]
    base, dpo = (
        report(name, [*made.rows, *rows]) for name, made, rows in zip(("base", "dpo"), (base, dpo), more, strict=True)
    )
    targets = [{"metric": "sums/accuracy", "min_gain": 0.1}, {"metric": "words/accuracy", "min_gain": 0.1}]
    return judge(promotion(target={"require": require, "of": targets}), dpo, base)


def test_any_of_two_targets_is_enough_and_the_other_does_not_count():
    decision = two_targets("any", (100, 2))
    assert decision.verdict == "pass"
    first, second = decision.tests[:2]
    assert (first.outcome, first.counts, second.outcome, second.counts) == ("pass", True, "fail", False)
    assert headline(decision).startswith("dpo may become champion: it is better on sums/accuracy and no guard")
    assert "one target is enough" in decision.reasons[-1]
    assert two_targets("all", (100, 2)).verdict == "fail"
    assert two_targets("all", (100, 100)).verdict == "pass"


def test_alternatives_share_alpha_by_holms_procedure():
    # 30 of 200 items gained where more than 20 are asked for: enough for one target alone, not for one of two.
    alone = two_targets("all", (30, 30))
    assert [test.outcome for test in alone.tests[:2]] == ["pass", "pass"]
    either = two_targets("any", (30, 20))
    assert either.tests[0].p_value < 0.05 < either.tests[0].p_adjusted
    assert either.tests[0].alpha == 0.025 and either.verdict == "inconclusive"
    both = two_targets("any", (34, 31)).tests[:2]
    assert [test.alpha for test in both] == [0.025, 0.05] and [test.outcome for test in both] == ["pass", "pass"]


def test_alternatives_fail_only_if_all_of_them_do():
    assert two_targets("any", (2, 3)).verdict == "fail"
    unclear = two_targets("any", (2, 22))
    assert unclear.verdict == "inconclusive" and [test.counts for test in unclear.tests[:2]] == [False, True]


def test_context_comparisons_do_not_gate():
    base, dpo = pair()
    test = compare(dpo, base, "sums/accuracy", 0.05)
    assert (test.role, test.outcome, test.against, test.threshold) == ("context", "pass", "base", 0.0)


def test_a_difference_is_said_as_it_is_shown():
    assert [points(gain) for gain in (0.0004, -0.0004)] == ["no different", "no different"]
    assert [points(gain) for gain in (0.0006, -0.0006)] == ["0.1 points better", "0.1 points worse"]
