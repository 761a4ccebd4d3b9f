"""The page on preferences: who decided and how surely, right figures, and no text that must not be shown."""

import html
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpora.feedback.candidates import Measured
from corpora.feedback.preferences import EXPLAINED, build_preferences
from corpora.feedback.report import Group, agreement, gather, tables, write_report
from corpora.tables.tables import CANDIDATES, SIGNAL, candidates_schema, signal_schema, writing
from recipes.mixtures import Preferences
from tests.corpora.made import cleaned, source
from tests.models.test_rendering import with_template

CANARY = "zanzibarquokka"
SCRIPT = "<script>alert(1)</script> [click](javascript:alert(2)) \u202eevil"
_REFUSING = (
    "{% for m in messages %}{% if 'zanzibar' in m.content %}{{ raise_exception('bad: ' + m.content) }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIDES = {"response_a": "short one", "response_b": f"a much longer answer to it {SCRIPT}"}


@pytest.fixture(scope="module")
def made(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Preferences of votes, stars, recorded and sensitive pairs, and of candidates with two signals; their metrics."""
    folder = tmp_path_factory.mktemp("made")
    votes = [{"prompt": f"Which {n}?", **SIDES, "winner": winner} for n in range(6) for winner in "bbba"[: 3 + n % 2]]
    stars = [{"prompt": "How?", "response": f"answer {n} {'so ' * n}", "stars": n} for n in (1, 2, 4, 5)]
    pairs = [{"prompt": f"q{n}", "chosen": f"good {n}", "rejected": f"bad {n} really"} for n in range(8)]
    secret = [{"prompt": f"{CANARY} {n}", "chosen": f"no {CANARY}", "rejected": f"{CANARY} {n} yes"} for n in range(4)]
    long = {"prompt": "long", "chosen": "word " * 100, "rejected": "x"}
    given = {"votes": votes, "stars": stars, "pairs": [*pairs, long], "secret": secret}
    clean = {name: cleaned(folder, name, rows) for name, rows in given.items()}
    rules: list[dict[str, Any]] = [{"source": name, "rule": "ranked"} for name in ("votes", "stars")]
    rules += [{"source": name, "rule": "recorded"} for name in ("pairs", "secret")]
    rules += [{"candidates": "own", "by": ["right", "short"]}]
    (folder / "work").mkdir()
    metrics = build_preferences(
        Preferences.model_validate({"pairs": rules, "max_length": 96, "seed": 1}),
        clean,
        {name: source(f"{name}.jsonl", sensitive=name == "secret") for name in clean},
        tiny_base,
        folder,
        folder / "work",
        candidates={"own": _candidates(folder)},
    )
    return write_report("tiny", "liked", folder / "work", metrics, 1), metrics


def _candidates(folder: Path) -> Measured:
    """Three answers to each of five prompts: the right one is the longest but for the last prompt."""
    numbers: dict[str, list[list[float | None]]] = {
        "right": [[1, 0, 0]] * 5,
        "short": [[-9, -2, -1]] * 4 + [[-1, -2, -9]],
    }
    with writing(folder / CANDIDATES, candidates_schema(), {}) as table:
        for number in range(5):
            words = (f"sum {n} of {number}" for n in range(3))
            answers = [{"text": one, "ids": [1], "logprob": -1.0, "finish": "stop", "thoughts": None} for one in words]
            row = {"id": f"prompt{number}", "source": "sums", "verifier": None, "sensitive": False, "prompt_ids": [1]}
            table.add({**row, "prompt": [{"role": "user", "content": f"Add {number}."}], "answers": answers})
    signals = {}
    for name, values in numbers.items():
        signals[name] = folder / name
        signals[name].mkdir()
        with writing(signals[name] / SIGNAL, signal_schema(), {}) as table:
            for number, of_prompt in enumerate(values):
                table.add({"id": f"prompt{number}", "values": of_prompt})
    return Measured(folder, signals)


def test_every_pair_says_where_each_vote_for_it_lies(made: tuple[Path, dict[str, Any]]) -> None:
    rows = pq.read_table(made[0].parent / "pairs.parquet").to_pylist()
    of = {name: [row for row in rows if row["source"] == name] for name in ("votes", "stars", "pairs", "sums")}
    first = next(row for row in of["votes"] if row["prompt"][0]["content"] == "Which 0?")
    assert first["said_by"] == ["votes.jsonl:1", "votes.jsonl:2", "votes.jsonl:3"]
    assert {len(row["said_by"]) for row in of["votes"]} == {3, 4}
    assert {row["margin"] for row in of["votes"]} == {1.0, 0.5}, "three of four votes"
    assert {tuple(row["said_by"]) for row in of["stars"]} == {("stars.jsonl:4", f"stars.jsonl:{n}") for n in (1, 2, 3)}
    assert all(len(row["said_by"]) == 1 for row in of["pairs"])
    own = of["sums"][0]
    assert re.fullmatch(r"candidates/own, prompt prompt\d, answer 1 over [23]", *own["said_by"])
    assert [one["signal"] for one in own["differences"]] == ["right", "short"]
    assert {row["differences"] is None for row in rows if row["source"] != "sums"} == {True}


def test_figures_are_those_of_the_rows(made: tuple[Path, dict[str, Any]]) -> None:
    path, metrics = made
    facts = gather(path.parent)
    assert facts.rows == metrics["pairs"] == 6 + 3 + 8 + 4 + 10
    votes = next(group for group in facts.groups if group.source == "votes")
    assert votes.longer_wins == (6, 6) and votes.interval[0] == pytest.approx(0.61, abs=0.01)
    assert (votes.judged, len(votes.prompts), votes.median_margin) == (6, 6, 0.75)
    pairs = next(group for group in facts.groups if group.source == "pairs")
    assert pairs.longer_wins == (0, 8) and pairs.median_margin is None and pairs.bars == []
    stars = next(group for group in facts.groups if group.source == "stars")
    assert sorted(stars.margins) == [1, 3, 4] and sum(bar.pairs for bar in stars.bars) == 3
    assert facts.said["right"] == {"same": 10}
    assert facts.said["short"] == {"same": 2, "opposite": 8}
    assert agreement(metrics) == [("votes (ranked)", 6, pytest.approx(18 / 21))]
    assert "| votes | ranked | 6 | 6 | 100% of 6 |" in tables(path.parent)["judged"]


def test_the_page_shows_pairs_side_by_side_and_nothing_sensitive(made: tuple[Path, dict[str, Any]]) -> None:
    page = made[0].read_text(encoding="utf-8")
    assert CANARY not in page
    assert "<script" not in page and html.escape(SCRIPT, quote=False) in page
    assert re.search(r"said by votes\.jsonl:\d+; votes\.jsonl:\d+; votes\.jsonl:\d+( and 1 more)?<", page)
    assert EXPLAINED["overlong"] in page
    assert EXPLAINED["tools"] not in page, "of what did not happen nothing is said"
    assert "the widest margin" in page and "the narrowest margin" in page
    assert not re.search(r"(?:src|href)=", page)
    assert "None" not in page and "Undefined" not in page


def test_margins_that_are_equal_but_for_rounding_or_beyond_all_measure_are_drawn_as_none() -> None:
    for margins in ([0.9 - 0.6, 0.7 - 0.4, 0.3], [1.0, 1.0], [float("inf"), 0.1], [1e308, -1e308], []):
        assert Group("s", "ranked", margins=margins).bars == []
    assert sum(bar.pairs for bar in Group("s", "ranked", margins=[1.0, 2.0, 2.0]).bars) == 3


def test_of_a_sensitive_source_the_words_of_the_template_are_not_shown(tiny_base: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    with_template(tiny_base, base, _REFUSING)
    rows = [{"prompt": f"{CANARY} {n}" if n == 1 else f"q{n}", "chosen": "a", "rejected": "b"} for n in range(3)]
    clean = {"s": cleaned(tmp_path, "s", rows)}
    for sensitive in (True, False):
        work = tmp_path / f"work{sensitive}"
        work.mkdir()
        metrics = build_preferences(
            Preferences.model_validate({"pairs": [{"source": "s"}], "max_length": 64, "seed": 1}),
            clean,
            {"s": source("s.jsonl", sensitive=sensitive)},
            base,
            tmp_path,
            work,
        )
        page = write_report("tiny", "s", work, metrics, 1).read_text(encoding="utf-8")
        assert "s.jsonl:2" in metrics["rules"][0]["refused"]
        assert (CANARY in json.dumps(metrics)) is (CANARY in page) is (not sensitive)


def test_single_answers_have_a_page_too(tiny_base: Path, tmp_path: Path) -> None:
    rows = [{"prompt": f"q{n}", "completion": f"answer {n}" * (1 + n % 3), "label": n % 2 == 0} for n in range(20)]
    clean = {"thumbs": cleaned(tmp_path, "thumbs", rows)}
    preferences = Preferences.model_validate({"unpaired": [{"source": "thumbs"}], "max_length": 64, "seed": 1})
    (tmp_path / "work").mkdir()
    sources = {"thumbs": source("thumbs.jsonl")}
    metrics = build_preferences(preferences, clean, sources, tiny_base, tmp_path, tmp_path / "work")
    page = write_report("tiny", "thumbs", tmp_path / "work", metrics, 1).read_text(encoding="utf-8")
    assert "20 single answers for 20 prompts" in page and "answers: 10 good, 10 bad" in page
    assert "said by thumbs.jsonl:" in page and ">good</span>" in page and "Margins" not in page
