"""Whether annotators agree, and pairs in which each counts by that."""

import random
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from corpora.duplicates.near import find
from corpora.duplicates.outcome import removed_file
from corpora.feedback.annotators import ENOUGH, Agreement, Judgements, agreement_of
from corpora.feedback.preferences import build_preferences
from corpora.feedback.ranked import ranked_pairs
from corpora.feedback.report import write_report
from corpora.formats.items import Ranking
from recipes.cleaning import Duplicates
from recipes.execution import CorporaExecution
from recipes.mixtures import PairRule, Preferences
from tests.corpora.made import cleaned, source
from tests.corpora.test_learning import read

Said = dict[str, dict[str, int]]


def agreed(said: Said) -> Agreement:
    judgements = Judgements()
    for pair, by_name in said.items():
        for name, sign in by_name.items():
            judgements.add(pair, name, sign)
    return agreement_of(judgements)


def test_kappa_is_that_of_another_library_and_alpha_of_its_definition() -> None:
    draw = random.Random(1)
    said = {f"pair {n}": {"anna": draw.choice((-1, 0, 1)), "bob": draw.choice((-1, -1, 1))} for n in range(60)}
    found = agreed(said)
    expected = cohen_kappa_score(*([by_name[name] for by_name in said.values()] for name in ("anna", "bob")))
    assert found.annotators["anna"].kappa == pytest.approx(expected)
    assert (found.annotators["bob"].judged, found.annotators["bob"].shared) == (60, 60)
    values = [sign for by_name in said.values() for sign in by_name.values()]
    observed = sum(by_name["anna"] != by_name["bob"] for by_name in said.values()) / len(said)
    by_chance = sum(one != other for one, other in combinations(values, 2)) * 2 / (len(values) * (len(values) - 1))
    assert found.alpha == pytest.approx(1 - observed / by_chance)


@given(
    st.dictionaries(st.sampled_from("pqrstu"), st.dictionaries(st.sampled_from("abc"), st.integers(-1, 1))),
    st.randoms(use_true_random=False),
)
def test_agreement_does_not_depend_on_the_order_and_counts_never_below_nothing(said: Said, draw: Any) -> None:
    again = [(pair, list(by_name.items())) for pair, by_name in said.items()]
    draw.shuffle(again)
    for _, by_name in again:
        draw.shuffle(by_name)
    found = agreed(said)
    assert found == agreed({pair: dict(by_name) for pair, by_name in again})
    assert all(found.weight(name) >= 0 for name in found.annotators)
    if any(len(by_name) > 1 for by_name in said.values()):
        assert found.alpha is not None and found.alpha <= 1


def test_who_judged_too_little_with_others_counts_as_these_do_in_the_mean() -> None:
    said = {str(n): {"anna": 1 if n % 2 else -1, "bob": 1 if n % 2 else -1} for n in range(ENOUGH)}
    said["0"]["new"] = 1
    found = agreed(said)
    assert found.annotators["new"].kappa == -1 or found.annotators["new"].shared == 1
    assert found.weight("new") == found.weight(None) == found.usual == 1 == found.annotators["anna"].kappa
    assert agreed({"one": {"anna": 1, "bob": -1}}).weight("anna") == 1, "of none is known whom to believe"


def test_who_judged_is_read_by_the_names_of_the_field() -> None:
    vote = {"prompt": "q", "response_a": "x", "response_b": "y", "winner": "a"}
    for marks, expected in (
        ({"annotator": " anna "}, "anna"),
        ({"worker_id": 17}, "17"),
        ({"judge": ["gpt-4", "single-v1"]}, '["gpt-4", "single-v1"]'),
        ({"annotator": "", "rater": None}, None),
        ({}, None),
    ):
        [item] = read({**vote, **marks})
        assert isinstance(item, Ranking) and item.annotator == expected


SIDES = {"response_a": "good answer", "response_b": "bad answer"}


def votes(said: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    return [
        {"prompt": prompt, **SIDES, "winner": winner, "annotator": name}
        for prompt, by_name in said.items()
        for name, winner in by_name.items()
    ]


def made(
    folder: Path, base: Path, rows: list[dict[str, Any]], removed: bool = False, **rule: Any
) -> tuple[dict[str, Any], dict[str, tuple[str, float]]]:
    clean = cleaned(folder, "people", rows)
    tables = {}
    if removed:
        find({"people": clean}, Duplicates(), folder, CorporaExecution(workers=1))
        tables = {"people": removed_file(folder, "people")}
    rules = [{"source": "people", "rule": "ranked", **rule}]
    preferences = Preferences.model_validate({"pairs": rules, "max_length": 96, "seed": 1})
    sources = {"people": source("people.jsonl")}
    work = folder / f"work{len(list(folder.iterdir()))}"
    work.mkdir()
    metrics = build_preferences(preferences, {"people": clean}, sources, base, folder, work, removed=tables)
    write_report("r", "p", work, metrics, 1)
    pairs = pq.read_table(work / "pairs.parquet").to_pylist()
    return {**metrics, "page": (work / "preference_report.html").read_text()}, {
        pair["prompt"][0]["content"]: (pair["chosen"][0]["content"].split()[0], pair["margin"]) for pair in pairs
    }


def test_whoever_says_the_opposite_of_all_others_counts_nothing(tiny_base: Path, tmp_path: Path) -> None:
    usual = {"anna": "a", "bob": "a", "troll": "b"}
    other = {"anna": "b", "bob": "b", "troll": "a"}
    said = {f"q{n}": usual if n % 2 else other for n in range(2 * ENOUGH)}
    rows = votes({**said, "split": {"anna": "a", "troll": "b"}, "alone": {"troll": "a"}})
    metrics, equal = made(tmp_path, tiny_base, rows)
    assert equal["q1"] == ("good", pytest.approx(1 / 3)) and equal["alone"] == ("good", 1.0) and "split" not in equal
    found = metrics["annotators"]["people"]
    assert [found["annotators"][name]["kappa"] for name in ("anna", "bob", "troll")] == pytest.approx(
        [1, 1, -1], abs=0.1
    )
    assert not metrics["checks"]["annotators_agree"]["passed"], "two of three pairs of them say the opposite"
    (tmp_path / "weighed").mkdir()
    metrics, weighed = made(tmp_path / "weighed", tiny_base, rows, annotators="agreement")
    assert weighed["q1"] == weighed["split"] == ("good", 1.0) and "alone" not in weighed
    assert metrics["rules"][0]["left_out"]["by_chance"] == 2 * ENOUGH + 2
    assert "Who judged in people" in metrics["page"] and "troll" in metrics["page"]


def test_of_rankings_too_the_heavier_voices_decide(tiny_base: Path, tmp_path: Path) -> None:
    orders = {"anna": "xyz", "bob": "xyz", "carl": "xzy", "troll": "zyx"}
    rows = [
        {"prompt": f"q{n}", "answers": list(order), "annotator": name}
        for n in range(ENOUGH)
        for name, order in orders.items()
        if n or name in ("anna", "troll")
    ]
    metrics, equal = made(tmp_path, tiny_base, rows, against="worst")
    found = metrics["annotators"]["people"]["annotators"]
    assert found["anna"]["judged"] == 3 * ENOUGH and min(found[name]["weight"] for name in ("anna", "bob", "carl")) > 0
    assert found["troll"]["weight"] == 0 and "q0" not in equal, "anna against the troll"
    (tmp_path / "weighed").mkdir()
    _, weighed = made(tmp_path / "weighed", tiny_base, rows, annotators="agreement", against="worst")
    assert weighed["q0"] == ("x", 2.0)


def test_who_is_named_has_one_voice_however_often_they_say_it(tiny_base: Path, tmp_path: Path) -> None:
    rows = votes({"q": {"anna": "a"}}) * 5 + votes({"q": {"bob": "b", "carl": "b"}})
    _, pairs = made(tmp_path, tiny_base, rows)
    assert pairs == {"q": ("bad", pytest.approx(1 / 3))}
    nameless = [{name: value for name, value in row.items() if name != "annotator"} for row in rows]
    (tmp_path / "nameless").mkdir()
    _, pairs = made(tmp_path / "nameless", tiny_base, nameless)
    assert pairs == {"q": ("good", pytest.approx(3 / 7))}


def test_equal_rankings_of_several_people_are_no_duplicates(tiny_base: Path, tmp_path: Path) -> None:
    answers = [" ".join(f"{word}{n}" for n in range(20)) for word in ("one", "two", "three")]
    rows = [{"prompt": "q", "answers": answers, "annotator": name} for name in ("anna", "bob", "anna")]
    clean = cleaned(tmp_path, "people", rows)
    assert pq.read_metadata(clean / "rows.parquet").num_rows == 2, "anna's is there twice"
    assert find({"people": clean}, Duplicates(), tmp_path, CorporaExecution(workers=1))["removed"] == 0


SEVERAL = [("abc", "t"), ("acb", "t"), ("abcd", "t"), ("bac", "x"), ("bac", "y")]


@pytest.mark.parametrize(
    ("rows", "against", "expected"),
    [
        ([("abc", "ann"), ("cba", "bob"), ("cba", "carl")], "rest", {("c", "a"), ("c", "b")}),
        ([("abc", "ann"), ("cba", "bob"), ("cba", "carl")], "all", {("c", "a"), ("c", "b"), ("b", "a")}),
        (SEVERAL, "all", {("a", "c"), ("a", "d"), ("b", "a"), ("b", "c"), ("b", "d"), ("c", "d")}),
        ([("abc", "x"), ("acb", "y")], "all", {("a", "b"), ("a", "c")}),
        ([("ab", None), ("cd", None), ("bc", None)], "rest", {("a", "b"), ("c", "d"), ("b", "c")}),
    ],
)
def test_most_decide_on_every_pair_in_any_order_of_rows(
    tiny_base: Path, tmp_path: Path, rows: list[tuple[str, str | None]], against: str, expected: set[tuple[str, str]]
) -> None:
    found = []
    for place, order in enumerate((rows, rows[::-1], rows[1:] + rows[:1])):
        said = [{"prompt": "q", "answers": list(answers), "annotator": name} for answers, name in order]
        (tmp_path / str(place)).mkdir()
        metrics, pairs = every(tmp_path / str(place), tiny_base, said, against=against)
        assert set(pairs) == expected
        found.append((pairs, metrics["annotators"], metrics["rules"][0]["agreement"]))
    assert found[0] == found[1] == found[2]


@given(
    st.lists(
        st.tuples(st.permutations("abcd"), st.integers(2, 4), st.sampled_from((None, "x", "y", "z"))),
        min_size=1,
        max_size=7,
    ),
    st.sampled_from(("rest", "next", "worst", "all")),
)
def test_no_pair_contradicts_most_of_those_who_judged_it(
    said: list[tuple[list[str], int, str | None]], against: Any
) -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": "q"}],
            "tools": None,
            "answers": [
                {"messages": [{"role": "assistant", "content": answer}], "score": float(count - place)}
                for place, answer in enumerate(order[:count])
            ],
            "annotator": name,
            "origin": {"file": "a", "line": line},
        }
        for line, (order, count, name) in enumerate(said)
    ]
    left_out: Counter[str] = Counter()
    rule = PairRule(source="s", rule="ranked", against=against)
    for found in ranked_pairs(rows, rule, None, left_out):  # type: ignore[arg-type]
        better, worse = (one[0]["content"] for one in (found.pair.chosen, found.pair.rejected))
        heads: dict[str, list[int]] = {}
        for line, (order, count, name) in enumerate(said):
            if {better, worse} <= set(order[:count]):
                by = order.index(worse) - order.index(better)
                heads.setdefault(name or str(line), []).append(by)
        votes = [(sum(by) > 0) - (sum(by) < 0) for by in heads.values()]
        assert sum(votes) > 0 and found.margin > 0
        told = [vote for vote in votes if vote]
        assert found.judged == ((len(told), told.count(1)) if len(told) > 1 else (1, 1))


def every(folder: Path, base: Path, rows: list[dict[str, Any]], **rule: Any) -> tuple[dict[str, Any], dict[Any, float]]:
    """Metrics, and the margin of each pair by the words of both answers."""
    metrics, _ = made(folder, base, rows, **rule)
    [work] = folder.glob("work*")
    pairs = pq.read_table(work / "pairs.parquet").to_pylist()
    return metrics, {(one["chosen"][0]["content"], one["rejected"][0]["content"]): one["margin"] for one in pairs}


def test_thumbs_of_several_people_all_count(tiny_base: Path, tmp_path: Path) -> None:
    thumbs = [("a", n != 9, f"p{n}") for n in range(10)] + [("b", True, "p0"), ("b", False, "p1")]
    rows = [{"prompt": "q", "completion": one, "label": good, "annotator": name} for one, good, name in thumbs]
    metrics, pairs = every(tmp_path, tiny_base, rows, removed=True)
    assert pairs == {("a", "b"): pytest.approx(0.4)} and metrics["annotators"]["people"]["people"] == 2


def test_one_name_has_one_writing() -> None:
    vote = {"prompt": "q", "response_a": "x", "response_b": "y", "winner": "a"}
    names = [
        read({**vote, "annotator": name})[0].annotator for name in ("José", "Jose\u0301", " José\x1b ", 1, 1.0, "1")
    ]
    assert names[:3] == ["José"] * 3 and names[3:] == ["1"] * 3
