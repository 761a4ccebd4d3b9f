"""Preference pairs: rules, drawing by seed, tokens that end where an answer ends, and checks that can fail."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.duplicates.near import find
from corpora.duplicates.outcome import removed_file
from corpora.feedback.checks import check_pairs, cohens_d
from corpora.feedback.preferences import build_preferences
from corpora.splits import side_of
from corpora.tables.tables import pairs_schema
from lineage.errors import CorpusError
from models.template import ChatTemplate
from recipes.cleaning import Duplicates, Splits
from recipes.execution import CorporaExecution
from recipes.mixtures import Preferences
from recipes.sources import Source
from tests.corpora.made import cleaned, source, talk
from tests.models.test_rendering import WITH_TOOLS, with_template

ANSWERS = "kinds:\n  harm: {match: harm, answers: [I will not help with that.]}\ndefault: [I would rather not.]\n"


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clean corpora of recorded pairs, and of requests with a category."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "answers.yaml").write_text(ANSWERS)
    pairs = [{"prompt": f"question {i}", "chosen": f"good {i}", "rejected": f"bad {i} really"} for i in range(30)]
    pairs.append({"prompt": "long", "chosen": "word " * 100, "rejected": "x"})
    pairs.append({"prompt": "forged", "chosen": "<|im_end|>", "rejected": "x"})
    cleaned(folder, "recorded", pairs)
    requests = [{"p": f"request {i}", "a": f"text {i}", "kind": "harm" if i % 2 else "other"} for i in range(10)]
    requests.append({"p": "request", "a": "I would rather not.", "kind": "other"})
    columns = {"prompt": "p", "completion": "a", "category": "kind"}
    cleaned(folder, "requests", requests, columns=columns, sensitive=True)
    return folder


def run(
    folder: Path,
    base: Path,
    work: Path,
    *rules: dict[str, Any],
    seed: int = 1,
    removed: dict[str, Path] | None = None,
    splits: Splits | None = None,
) -> tuple[dict[str, Any], Any]:
    preferences = Preferences.model_validate({"pairs": list(rules), "max_length": 96, "seed": seed})
    names = {rule["source"] for rule in rules}
    sources: dict[str, Source] = {name: source(f"{name}.jsonl", sensitive=name == "requests") for name in names}
    clean = {name: folder / f"clean_{name}" for name in names}
    work.mkdir()
    metrics = build_preferences(preferences, clean, sources, base, folder, work, removed=removed, splits=splits)
    return metrics, pq.read_table(work / "pairs.parquet").to_pylist()


RECORDED = {"source": "recorded", "rule": "recorded"}
REFUSE = {"source": "requests", "rule": "refuse", "answers": "answers.yaml"}
COMPLY = {"source": "requests", "rule": "comply", "answers": "answers.yaml"}


def test_recorded_pairs_are_tokenised_by_the_template(corpora: Path, tiny_base: Path, tmp_path: Path) -> None:
    metrics, rows = run(corpora, tiny_base, tmp_path / "work", RECORDED)
    template = ChatTemplate.load(tiny_base)
    assert len(rows) == metrics["pairs"] == 30
    left_out = {reason: count for reason, count in metrics["rules"][0]["left_out"].items() if count}
    assert left_out == {"overlong": 1, "control_tokens": 1}
    for row in rows:
        assert row["prompt_ids"] == template.prompt_ids(row["prompt"])
        for name in ("chosen", "rejected"):
            decoded = template.tokenizer.decode(row[f"{name}_ids"])
            assert decoded == row[name][0]["content"] + template.end_of_turn
    assert all(check["passed"] for name, check in metrics["checks"].items() if name != "length_bias")


def test_refuse_prefers_our_refusal_and_comply_the_row_s_own_answer(
    corpora: Path, tiny_base: Path, tmp_path: Path
) -> None:
    found = [run(corpora, tiny_base, tmp_path / rule["rule"], rule) for rule in (REFUSE, COMPLY)]
    assert [metrics["rules"][0]["left_out"]["same_answer"] for metrics, _ in found] == [1, 1]
    rows = [row for _, of_rule in found for row in of_rule]
    refusals = {"I will not help with that.", "I would rather not."}
    for row in rows:
        chosen, rejected = row["chosen"][0]["content"], row["rejected"][0]["content"]
        ours, own = (chosen, rejected) if row["signal"] == "refuse" else (rejected, chosen)
        assert ours in refusals and own.startswith("text")
        assert row["sensitive"]
    refused = {row["prompt"][-1]["content"]: row["chosen"][0]["content"] for row in rows if row["signal"] == "refuse"}
    assert {refused[f"request {i}"] for i in (1, 3, 5, 7, 9)} == {"I will not help with that."}


def test_a_limit_draws_that_many_by_the_seed(corpora: Path, tiny_base: Path, tmp_path: Path) -> None:
    drawn = {
        name: [row["id"] for row in run(corpora, tiny_base, tmp_path / name, {**RECORDED, "limit": 8}, seed=seed)[1]]
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    }
    assert len(drawn["one"]) == 8
    assert drawn["one"] == drawn["again"]
    assert set(drawn["one"]) != set(drawn["other"])


def test_pairs_of_all_rules_are_mixed_and_written_the_same_twice(
    corpora: Path, tiny_base: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        _, rows = run(corpora, tiny_base, tmp_path / name, RECORDED, REFUSE)
    assert (tmp_path / "one/pairs.parquet").read_bytes() == (tmp_path / "two/pairs.parquet").read_bytes()
    assert len({row["signal"] for row in rows[:15]}) == 2


def test_a_rule_on_the_wrong_kind_of_rows_is_named(corpora: Path, tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="rule 'recorded' needs preference rows, source 'requests' has conversation"):
        run(corpora, tiny_base, tmp_path / "work", {"source": "requests", "rule": "recorded"})


def test_a_rule_that_gives_no_pair_is_named(tiny_base: Path, tmp_path: Path) -> None:
    cleaned(tmp_path, "recorded", [{"prompt": "q", "chosen": "word " * 200, "rejected": "x"}])
    with pytest.raises(
        CorpusError, match=r"rule 'recorded' of source 'recorded' gives no pairs .*left out: 1 whose prompt and longer"
    ):
        run(tmp_path, tiny_base, tmp_path / "work", RECORDED)


@pytest.mark.invariants
@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({}, set()),
        ({"prompt_ids": lambda row: row["prompt_ids"][:-1]}, {"template_parity"}),
        ({"chosen_ids": lambda row: row["chosen_ids"][:-1]}, {"end_of_turn"}),
        ({"chosen_ids": lambda row: row["rejected_ids"]}, {"answers_differ", "template_parity"}),
    ],
)
def test_wrong_pairs_are_found(tiny_base: Path, tmp_path: Path, changed: dict[str, Any], failing: set[str]) -> None:
    template = ChatTemplate.load(tiny_base)
    prompt = talk("why", "-")["messages"][:1]
    row: dict[str, Any] = {
        "id": "1",
        "source": "a",
        "signal": "recorded",
        "sensitive": False,
        "prompt": prompt,
        "tools": None,
    }
    row |= {"prompt_ids": template.prompt_ids(prompt)}
    for name, words in (("chosen", "so it is"), ("rejected", "no idea")):
        row[name] = [{"role": "assistant", "content": words}]
        row[f"{name}_ids"] = template.answer_ids(prompt, row[name][0], row["prompt_ids"])
    row |= {name: change(row) for name, change in changed.items()}
    pq.write_table(pa.Table.from_pylist([row], schema=pairs_schema()), tmp_path / "pairs.parquet")
    checks = check_pairs(tmp_path / "pairs.parquet", template)["checks"]
    assert {name for name, check in checks.items() if not check["passed"]} == failing


def test_length_bias_is_the_standardised_difference_of_means_and_blocks_nothing(
    corpora: Path, tiny_base: Path, tmp_path: Path
) -> None:
    assert cohens_d([2, 4, 6], [1, 3, 5]) == pytest.approx(0.5)
    assert cohens_d([3, 3], [3, 3]) == 0.0
    metrics, _ = run(corpora, tiny_base, tmp_path / "work", RECORDED)
    check = metrics["checks"]["length_bias"]
    assert check["value"] < -0.5 and not check["passed"] and not check["blocking"]


def ranked_run(
    tmp_path: Path, base: Path, rows: list[dict[str, Any]], **rule: Any
) -> tuple[dict[str, Any], dict[tuple[str, str, str], float]]:
    """Metrics and, by prompt, chosen and rejected words, the margin of each pair."""
    cleaned(tmp_path / "in", "scored", rows)
    metrics, pairs = run(tmp_path / "in", base, tmp_path / "work", {"source": "scored", "rule": "ranked", **rule})
    assert all(pair["signal"] == "ranked" for pair in pairs)
    words = [(p["prompt"][-1]["content"], p["chosen"][0]["content"], p["rejected"][0]["content"]) for p in pairs]
    return metrics, {key: pair["margin"] for key, pair in zip(words, pairs, strict=True)}


LIST = [{"prompt": "q", "answers": ["best", "good", "fair", "poor"]}]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, {("best", "good"): 1, ("best", "fair"): 2, ("best", "poor"): 3}),
        ({"against": "next"}, {("best", "good"): 1, ("good", "fair"): 1, ("fair", "poor"): 1}),
        ({"against": "worst"}, {("best", "poor"): 3}),
        (
            {"against": "all"},
            {
                **{("best", "good"): 1, ("best", "fair"): 2, ("best", "poor"): 3},
                **{("good", "fair"): 1, ("good", "poor"): 2, ("fair", "poor"): 1},
            },
        ),
        ({"min_gap": 2}, {("best", "fair"): 2, ("best", "poor"): 3}),
    ],
)
def test_a_ranked_list_gives_pairs_with_margins(
    tiny_base: Path, tmp_path: Path, rule: dict[str, Any], expected: dict[tuple[str, str], float]
) -> None:
    metrics, margins = ranked_run(tmp_path, tiny_base, LIST, **rule)
    assert margins == {("q", *words): margin for words, margin in expected.items()}
    assert metrics["rules"][0]["left_out"]["small_gap"] == (1 if "min_gap" in rule else 0)


def test_stars_of_one_prompt_meet_across_rows_and_repeated_ratings_have_their_mean(
    tiny_base: Path, tmp_path: Path
) -> None:
    stars = [("q", "x", 5), ("p", "x", 1), ("q", "y", 2), ("q", "x", 3), ("p", "y", 1), ("r", "alone", 5)]
    rows = [{"prompt": prompt, "response": answer, "stars": given} for prompt, answer, given in stars]
    metrics, margins = ranked_run(tmp_path, tiny_base, rows)
    assert margins == {("q", "x", "y"): 2}
    assert metrics["rules"][0]["left_out"]["small_gap"] == 1


def test_votes_give_pairs_but_ties_do_not(tiny_base: Path, tmp_path: Path) -> None:
    sides = {"response_a": "x", "response_b": "y"}
    rows = [{"prompt": p, **sides, "winner": w} for p, w in (("one", "b"), ("two", "tie"), ("three", "a"))]
    _, margins = ranked_run(tmp_path, tiny_base, rows)
    assert margins == {("one", "y", "x"): 1, ("three", "x", "y"): 1}


def test_good_and_bad_answers_to_one_prompt_make_pairs(tiny_base: Path, tmp_path: Path) -> None:
    thumbs = {"a": True, "b": True, "c": False, "d": False}
    rows = [{"prompt": "q", "completion": answer, "label": good} for answer, good in thumbs.items()]
    rows += [{"prompt": "other", "completion": "x", "label": True}]
    _, found = ranked_run(tmp_path, tiny_base, rows, against="all")
    assert found == {("q", better, worse): 1 for better in "ab" for worse in "cd"}
    (tmp_path / "rest").mkdir()
    metrics, found = ranked_run(tmp_path / "rest", tiny_base, rows)
    assert len(found) == 2 and metrics["rules"][0]["left_out"]["alone"] == 1


def test_options_of_ranked_belong_to_it_alone() -> None:
    with pytest.raises(ValueError, match="against, min_gap and annotators are for rule 'ranked'"):
        Preferences.model_validate({"pairs": [{**RECORDED, "min_gap": 1}], "max_length": 96, "seed": 1})


def test_rows_that_say_what_another_says_give_no_pair(corpora: Path, tiny_base: Path, tmp_path: Path) -> None:
    ids = pq.read_table(corpora / "clean_recorded" / "rows.parquet")["id"].to_pylist()
    removed = tmp_path / "recorded.parquet"
    pq.write_table(pa.table({"id": ids[:12]}), removed)
    metrics, rows = run(corpora, tiny_base, tmp_path / "work", RECORDED, removed={"recorded": removed})
    assert len(rows) == 18 and metrics["rules"][0]["left_out"]["near_duplicate"] == 12
    assert {row["prompt"][-1]["content"] for row in rows} == {f"question {number}" for number in range(12, 30)}


def test_a_search_that_removes_nothing_changes_no_pair(corpora: Path, tiny_base: Path, tmp_path: Path) -> None:
    removed = tmp_path / "recorded.parquet"
    pq.write_table(pa.table({"id": pa.array([], pa.string())}), removed)
    run(corpora, tiny_base, tmp_path / "plain", RECORDED)
    run(corpora, tiny_base, tmp_path / "searched", RECORDED, removed={"recorded": removed})
    assert (tmp_path / "searched/pairs.parquet").read_bytes() == (tmp_path / "plain/pairs.parquet").read_bytes()


SPLITS = Splits(validation=0.2, held_out=0.2)
SIDES = {"train": "pairs.parquet", "validation": "validation.parquet", "held_out": "held_out.parquet"}


def sides(work: Path) -> dict[str, str]:
    """The file that each question is in."""
    found: dict[str, str] = {}
    for side, file in SIDES.items():
        for row in pq.read_table(work / file).to_pylist():
            assert found.setdefault(row["prompt"][-1]["content"], side) == side
    return found


def test_rows_kept_from_training_are_written_apart_and_stay_there_as_data_grows(
    tiny_base: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": f"question {i}", "chosen": f"good {i}", "rejected": "bad"} for i in range(60)]
    found = []
    for count in (40, 60):
        folder = tmp_path / str(count)
        cleaned(folder, "recorded", rows[:count])
        rule = {**RECORDED, "limit": 12}
        metrics, pairs = run(folder, tiny_base, folder / "work", rule, splits=SPLITS)
        found.append(sides(folder / "work"))
        assert len(pairs) == metrics["pairs"] == 12
        apart = {side: list(found[-1].values()).count(side) for side in ("validation", "held_out")}
        assert metrics["splits"] == apart and min(apart.values()) > 0
        assert metrics["rules"][0]["available"] == count - sum(apart.values())
    kept_apart = {question: side for question, side in found[0].items() if side != "train"}
    assert kept_apart.items() <= found[1].items()
    trained = {question for each in found for question, side in each.items() if side == "train"}
    assert trained.isdisjoint(kept_apart)


def test_a_question_is_on_the_same_side_in_preferences_and_in_mixtures(
    corpora: Path, tiny_base: Path, tmp_path: Path
) -> None:
    splits = Splits(validation=0.3, held_out=0.4)
    run(corpora, tiny_base, tmp_path / "work", REFUSE, RECORDED, splits=splits)
    found = sides(tmp_path / "work")
    for row in pq.read_table(corpora / "clean_requests" / "rows.parquet").to_pylist():
        question = row["messages"][0]["content"]
        assert found.get(question, side_of(row, splits)) == side_of(row, splits)
    assert set(found.values()) == set(SIDES)


def test_without_splits_nothing_is_written_apart(corpora: Path, tiny_base: Path, tmp_path: Path) -> None:
    metrics, _ = run(corpora, tiny_base, tmp_path / "work", RECORDED)
    assert {file.name for file in (tmp_path / "work").iterdir()} == {"pairs.parquet"} and metrics["splits"] == {}


def test_rows_that_are_all_kept_apart_are_told(tiny_base: Path, tmp_path: Path) -> None:
    cleaned(tmp_path, "recorded", [{"prompt": "q", "chosen": "a", "rejected": "b"}])
    salt = next(s for s in map(str, range(99)) if side_of(talk("q", "a"), Splits(held_out=0.5, salt=s)) == "held_out")
    with pytest.raises(CorpusError, match=r"gives no pairs .*; 1 are in validation and held_out"):
        run(tmp_path, tiny_base, tmp_path / "work", RECORDED, splits=Splits(held_out=0.5, salt=salt))


FUNCTION = {"name": "add", "description": "adds", "parameters": {"type": "object", "properties": {}}}
CALL = {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": {"a": 1}}]}
WITH_FUNCTIONS: dict[str, dict[str, Any]] = {
    "recorded": {"prompt": "q", "chosen": CALL, "rejected": "I cannot."},
    "ranked": {"prompt": "q", "answers": [[CALL], "I cannot."], "ranks": [1, 2]},
    "unpaired": {"prompt": "q", "completion": [CALL], "label": True},
}


@pytest.mark.parametrize("rule", WITH_FUNCTIONS)
def test_functions_are_part_of_the_prompt_as_the_template_writes_them(
    tiny_base: Path, tmp_path: Path, rule: str
) -> None:
    row = {**WITH_FUNCTIONS[rule], "tools": [{"type": "function", "function": FUNCTION}]}
    cleaned(tmp_path / "in", "own", [row, {**row, "tools": None}])
    template = with_template(tiny_base, tmp_path / "tools", WITH_TOOLS)
    rules = {"unpaired": [{"source": "own"}]} if rule == "unpaired" else {"pairs": [{"source": "own", "rule": rule}]}
    asked = Preferences.model_validate({**rules, "max_length": 200, "seed": 1})
    work = tmp_path / "work"
    work.mkdir()
    clean = {"own": tmp_path / "in" / "clean_own"}
    metrics = build_preferences(asked, clean, {"own": source("own.jsonl")}, tmp_path / "tools", tmp_path, work)
    assert metrics["checks"]["template_parity"]["passed"], metrics["checks"]["template_parity"]
    rows = pq.read_table(work / f"{asked.holds}.parquet").to_pylist()
    prompts = {row["tools"]: template.tokenizer.decode(row["prompt_ids"]) for row in rows}
    assert set(prompts) == {json.dumps([FUNCTION]), None}
    assert "adds" in prompts[json.dumps([FUNCTION])] and "adds" not in prompts[None]
    answer = "completion" if rule == "unpaired" else "chosen"
    assert "<call>" in template.tokenizer.decode(rows[0][f"{answer}_ids"])


def test_functions_that_the_template_cannot_write_leave_the_row_out(tiny_base: Path, tmp_path: Path) -> None:
    plain = {"prompt": "q", "chosen": "a", "rejected": "b"}
    cleaned(tmp_path, "recorded", [plain, {**plain, "tools": [FUNCTION]}])
    metrics, rows = run(tmp_path, tiny_base, tmp_path / "work", RECORDED)
    assert len(rows) == 1 and metrics["rules"][0]["left_out"]["tools"] == 1


def test_the_first_pair_that_the_template_refuses_is_named_and_most_refused_stop(
    tiny_base: Path, tmp_path: Path
) -> None:
    strict = "{%- if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    base = tmp_path / "strict"
    with_template(tiny_base, base, strict + ChatTemplate.load(tiny_base).tokenizer.chat_template)
    pairs: list[dict[str, Any]] = [{"prompt": f"q {i}", "chosen": "a", "rejected": "b"} for i in range(6)]
    pairs[1]["system"] = pairs[4]["system"] = "Be brief."
    cleaned(tmp_path, "recorded", pairs)
    metrics, _ = run(tmp_path, base, tmp_path / "few", RECORDED)
    assert metrics["pairs"] == metrics["rules"][0]["available"] == 4
    assert metrics["rules"][0]["left_out"]["template"] == 2
    assert (
        metrics["rules"][0]["refused"].startswith("recorded.jsonl:2: ")
        and "no system" in metrics["rules"][0]["refused"]
    )
    most = tmp_path / "most"
    most.mkdir()
    cleaned(most, "recorded", [{**pair, "system": "Be brief."} if i else pair for i, pair in enumerate(pairs)])
    with pytest.raises(
        CorpusError, match=r"refuses 5 pairs and takes 1; the first is recorded.jsonl:2: .*no system.*chat_template"
    ):
        run(most, base, tmp_path / "work", RECORDED)


def test_equally_good_answers_give_the_same_pairs_in_any_order(tiny_base: Path, tmp_path: Path) -> None:
    stars = {"a": 5, "b": 3, "c": 3, "d": 3, "e": 1}
    found = []
    for name, order in (("one", "abcde"), ("two", "edcba"), ("three", "cadbe")):
        rows = [{"prompt": "q", "response": answer, "stars": stars[answer]} for answer in order]
        (tmp_path / name).mkdir()
        found.append(ranked_run(tmp_path / name, tiny_base, rows, against="next")[1])
    assert found[0] == found[1] == found[2] and len(found[0]) == 2


def test_pairs_that_contradict_each_other_go_with_the_majority_or_not_at_all(tiny_base: Path, tmp_path: Path) -> None:
    rankings = {"most": ("xyz", "xy", "yx"), "tied": ("xy", "yx"), "clear": ("yx",)}
    rows = [{"prompt": prompt, "answers": list(order)} for prompt, said in rankings.items() for order in said]
    metrics, margins = ranked_run(tmp_path, tiny_base, rows)
    assert set(margins) == {("most", "x", "y"), ("most", "x", "z"), ("clear", "y", "x")}
    left_out = metrics["rules"][0]["left_out"]
    assert (left_out["conflict"], left_out["small_gap"]) == (0, 1), "said as often, both ways"
    rows = [{"prompt": "q", "answers": list(order)} for order in ("xyz", "yxz", "zyx", "yzx")]
    (tmp_path / "three" / "in").mkdir(parents=True)
    metrics, margins = ranked_run(tmp_path / "three", tiny_base, rows)
    assert margins == {("q", "y", "x"): 0.75, ("q", "y", "z"): 0.75}, "in the mean of all four"


def test_an_earlier_rule_decides_where_a_later_one_says_otherwise(tiny_base: Path, tmp_path: Path) -> None:
    cleaned(tmp_path, "recorded", [{"prompt": "q", "chosen": "x", "rejected": "y"}])
    votes = [("q", "b"), ("r", "b")]
    sides = {"response_a": "x", "response_b": "y"}
    cleaned(tmp_path, "scored", [{"prompt": prompt, **sides, "winner": winner} for prompt, winner in votes])
    ranked = {"source": "scored", "rule": "ranked"}
    metrics, pairs = run(tmp_path, tiny_base, tmp_path / "work", RECORDED, ranked)
    assert {(p["prompt"][0]["content"], p["chosen"][0]["content"]) for p in pairs} == {("q", "x"), ("r", "y")}
    assert [rule["left_out"]["conflict"] for rule in metrics["rules"]] == [0, 1]


@pytest.mark.parametrize("removed", [False, True])
def test_every_vote_and_rating_counts_also_those_that_say_the_same(
    tiny_base: Path, tmp_path: Path, removed: bool
) -> None:
    sides = {"response_a": "x", "response_b": "y"}
    votes = [{"prompt": "Which one?", **sides, "winner": winner} for winner in "aab"]
    ratings = [
        {"prompt": "q", "response": answer, "stars": n} for answer, n in (("x", 5), ("x", 5), ("x", 2), ("y", 3))
    ]
    folders = {name: cleaned(tmp_path, name, rows) for name, rows in (("votes", votes), ("stars", ratings))}
    assert [pq.read_metadata(folder / "rows.parquet").num_rows for folder in folders.values()] == [3, 4]
    tables = None
    if removed:
        found = find(folders, Duplicates(), tmp_path, CorporaExecution(workers=1))
        assert found["removed"] == 0
        tables = {name: removed_file(tmp_path, name) for name in folders}
    rules = [{"source": name, "rule": "ranked"} for name in folders]
    metrics, pairs = run(tmp_path, tiny_base, tmp_path / "work", *rules, removed=tables)
    margins = {pair["prompt"][0]["content"]: (pair["chosen"][0]["content"], pair["margin"]) for pair in pairs}
    assert margins == {"Which one?": ("x", pytest.approx(1 / 3)), "q": ("x", 1.0)}
    assert metrics["rules"][0]["agreement"] == {"pairs": 1, "judgements": 3, "agreeing": 2}


def test_what_one_rule_leaves_undecided_a_later_one_decides(tiny_base: Path, tmp_path: Path) -> None:
    cleaned(tmp_path, "tied", [{"prompt": "q", "answers": list(order)} for order in ("xy", "yx")] + LIST)
    cleaned(tmp_path, "recorded", [{"prompt": "q", "chosen": "y", "rejected": "x"}])
    metrics, pairs = run(tmp_path, tiny_base, tmp_path / "work", {"source": "tied", "rule": "ranked"}, RECORDED)
    assert [p["chosen"][0]["content"] for p in pairs if p["signal"] == "recorded"] == ["y"]
    assert [rule["left_out"]["conflict"] for rule in metrics["rules"]] == [0, 0]
    assert metrics["rules"][0]["left_out"]["small_gap"] == 1, "as many for the one as for the other"


def test_a_pair_that_an_earlier_rule_has_is_not_taken_twice(tiny_base: Path, tmp_path: Path) -> None:
    pair, other = ({"prompt": prompt, "chosen": "x", "rejected": "y"} for prompt in ("q", "r"))
    cleaned(tmp_path, "recorded", [pair])
    cleaned(tmp_path, "again", [pair, other])
    metrics, pairs = run(tmp_path, tiny_base, tmp_path / "work", RECORDED, {**RECORDED, "source": "again"})
    assert len(pairs) == 2 and [rule["left_out"]["repeated"] for rule in metrics["rules"]] == [0, 1]
