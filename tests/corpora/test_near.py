"""Near duplicates: what is one and what is not, who stays, and the same bytes however it is run."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from corpora.cleaning.clean import clean
from corpora.duplicates import candidates, outcome, sketch
from corpora.tables import tables
from corpora.tables.tables import facts_of
from lineage.errors import CorpusError
from recipes.execution import CorporaExecution
from tests.corpora.made import cleaned, source, talk
from tests.corpora.made_duplicates import changed, documents, prose, searched


def text(*words: list[str]) -> str:
    return " ".join(word for some in words for word in some)


def test_a_document_with_a_few_other_words_goes_and_one_with_many_stays(tmp_path: Path) -> None:
    first = prose(1)
    texts = [text(first), text(changed(first, 20)), text(changed(first, 3, 17, 31, 45)), text(prose(2))]
    metrics, removed, clusters = searched(tmp_path / "out", {"docs": documents(tmp_path, "docs", texts)})
    assert removed == {"docs": [1]}
    assert [(line["survivor"], round(line["jaccard"], 3)) for line in clusters] == [(True, 1.0), (False, 0.902)]
    assert metrics["sources"]["docs"] == {"rows": 4, "kept": 3, "exact": 0, "near": 1}
    assert metrics["cluster_sizes"] == {"2": 1}


def test_duplicates_are_found_across_sources_exact_ones_too(tmp_path: Path) -> None:
    one, two = prose(1), prose(2)
    sources = {
        "web": documents(tmp_path, "web", [text(one).upper(), text(changed(two, 9))]),
        "books": documents(tmp_path, "books", [text(one), text(two), "a short one"]),
        "notes": documents(tmp_path, "notes", ["A  short one", "a short two"]),
    }
    metrics, removed, _ = searched(tmp_path / "out", sources)
    assert removed == {"books": [], "notes": [0], "web": [0, 1]}
    assert metrics["sources"]["web"] == {"rows": 2, "kept": 0, "exact": 1, "near": 1}
    assert metrics["sources"]["notes"] == {"rows": 2, "kept": 1, "exact": 1, "near": 0}
    assert (metrics["exact"], metrics["near"], metrics["clusters"]) == (2, 1, 3)


LONG = text(prose(7))
QUESTION = text(prose(8))


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ((QUESTION, LONG), (QUESTION, text(changed(prose(7), 30))), True),
        ((QUESTION, LONG), (text(changed(prose(8), 30)), LONG), True),
        ((QUESTION, LONG), (QUESTION, text(prose(9))), False),  # another answer to the same question
        ((QUESTION, LONG), (text(prose(9)), LONG), False),  # the same answer to another question
        (("Tell me more.", LONG), ("Tell me less.", LONG), False),  # a short part must be equal
        (("Tell me more.", LONG), ("tell me more.", text(changed(prose(7), 30))), True),
        ((QUESTION, "positive"), (text(changed(prose(8), 30)), "positive"), False),  # a short answer: only equal rows
        ((QUESTION, "positive"), (QUESTION.upper(), "Positive"), True),
        ((QUESTION + " 12", LONG), (QUESTION + " 13", LONG), False),  # other numbers, another problem
    ],
)
def test_what_is_a_near_duplicate_of_a_conversation(
    tmp_path: Path, one: tuple[str, str], other: tuple[str, str], near: bool
) -> None:
    corpus = cleaned(tmp_path, "chat", [talk(*one), talk(*other)])
    assert searched(tmp_path / "out", {"chat": corpus})[1] == {"chat": [1] if near else []}


def test_other_roles_make_another_row(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": LONG}
    one = {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello!"}, answer]}
    other = {"messages": [{"role": "user", "content": "Be kind. Hello!"}, answer]}
    corpus = cleaned(
        tmp_path, "chat", [one, other, {"messages": [*one["messages"][:2], {**answer, "content": LONG.upper()}]}]
    )
    assert searched(tmp_path / "out", {"chat": corpus})[1] == {"chat": [2]}


def test_preferences_are_compared_by_prompt_and_both_answers(tmp_path: Path) -> None:
    def pair(chosen: str, rejected: str) -> dict[str, Any]:
        return {"prompt": QUESTION, "chosen": chosen, "rejected": rejected}

    other = text(prose(9))
    nearly = text(changed(prose(7), 30))
    rows = [pair(LONG, other), pair(nearly, other), pair(other, LONG), pair(LONG, text(prose(10)))]
    corpus = cleaned(tmp_path, "pairs", rows)
    assert facts_of(corpus / "rows.parquet")["kind"] == "preference"
    assert searched(tmp_path / "out", {"pairs": corpus})[1] == {"pairs": [1]}


def test_rows_of_other_kinds_are_not_compared(tmp_path: Path) -> None:
    sources = {
        "docs": documents(tmp_path, "docs", [LONG]),
        "chat": cleaned(tmp_path, "chat", [talk(LONG, LONG)]),
    }
    assert searched(tmp_path / "out", sources)[1] == {"chat": [], "docs": []}


def family(count: int) -> list[str]:
    """Texts of one cluster; the later ones are longer."""
    return [text(prose(1), [f"more{'abcdefgh'[number]}"] * number) for number in range(count)]


@pytest.mark.parametrize(
    ("section", "removed"),
    [
        ({}, {"a": [1], "b": [0, 1]}),
        ({"source_order": ["b"]}, {"a": [0, 1], "b": [1]}),
        ({"survivor": "longest"}, {"a": [0, 1], "b": [0]}),
        ({"cap": 2}, {"a": [], "b": [0, 1]}),
        ({"cap": 3, "survivor": "longest"}, {"a": [0], "b": []}),
        ({"threshold": 1.0}, {"a": [], "b": []}),
    ],
)
def test_who_stays_is_by_rule(tmp_path: Path, section: dict[str, Any], removed: dict[str, list[int]]) -> None:
    texts = family(4)
    sources = {"a": documents(tmp_path, "a", texts[:2]), "b": documents(tmp_path, "b", texts[2:])}
    assert searched(tmp_path / "out", sources, **section)[1] == removed


def test_chinese_is_compared_by_its_characters(tmp_path: Path) -> None:
    characters = [chr(0x4E00 + (place * 37) % 5000) for place in range(80)]
    near = "".join([*characters[:40], "你", *characters[41:]])
    far = "".join(chr(0x4E00 + (place * 91 + 7) % 5000) for place in range(80))
    corpus = documents(tmp_path, "docs", ["".join(characters), near, far])
    assert searched(tmp_path / "out", {"docs": corpus})[1] == {"docs": [1]}


def test_nothing_is_found_where_nothing_repeats(tmp_path: Path) -> None:
    corpus = documents(tmp_path, "docs", [text(prose(seed)) for seed in range(20)])
    metrics, removed, clusters = searched(tmp_path / "out", {"docs": corpus})
    assert removed == {"docs": []} and clusters == []
    assert metrics["checks"]["near_duplicate_share"]["passed"]


def test_many_duplicates_are_told_and_block_nothing(tmp_path: Path) -> None:
    corpus = documents(tmp_path, "docs", family(3))
    check = searched(tmp_path / "out", {"docs": corpus})[0]["checks"]["near_duplicate_share"]
    assert not check["passed"] and not check["blocking"]
    assert check["value"] == pytest.approx(2 / 3)


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two sources with duplicates in and across them, cut into many blocks and passes."""
    monkeypatch.setattr(tables, "_BATCH", 40)
    monkeypatch.setattr(sketch, "_BLOCK_ROWS", 40)
    monkeypatch.setattr(candidates, "_HASHES_AT_A_TIME", 2000)
    texts = [text(changed(prose(seed % 40), *range(seed // 40, 60, 30))) for seed in range(240)]
    chat = [talk(texts[seed], texts[(seed * 7) % 240]) for seed in range(120)]
    return {"docs": documents(tmp_path, "docs", texts), "chat": cleaned(tmp_path, "chat", chat)}


def written(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert set(files) == {"clusters.parquet", "removed/docs.parquet", "removed/chat.parquet"}
    return files


@pytest.mark.parametrize(
    "execution",
    [CorporaExecution(workers=1), CorporaExecution(workers=2), CorporaExecution(runner="datatrove", workers=2)],
)
def test_the_bytes_are_the_same_however_it_is_run(
    corpora: dict[str, Path], tmp_path: Path, execution: CorporaExecution
) -> None:
    one, removed, _ = searched(tmp_path / "one", corpora)
    again, _, _ = searched(tmp_path / "again", corpora, execution)
    assert again == one and one["near"] > 200
    assert all(removed.values())
    assert written(tmp_path / "again") == written(tmp_path / "one")


def test_the_order_in_which_sources_are_given_changes_nothing(corpora: dict[str, Path], tmp_path: Path) -> None:
    searched(tmp_path / "one", corpora)
    searched(tmp_path / "other", dict(reversed(corpora.items())))
    assert written(tmp_path / "other") == written(tmp_path / "one")


_ATTEMPT = """
import json, os, signal, sys
from pathlib import Path
from corpora.duplicates import candidates, near, sketch
from recipes.execution import CorporaExecution
from recipes.cleaning import Duplicates

def killed(stage, call, values, execution, work, run=near.run_tasks):
    if stage == sys.argv[3]:
        run(stage, call, values[:1], execution, work)
        os.kill(os.getpid(), signal.SIGKILL)
    return run(stage, call, values, execution, work)

near.run_tasks = killed
sketch._BLOCK_ROWS, candidates._HASHES_AT_A_TIME = 40, 2000
sources = {name: Path(path) for name, path in json.loads(sys.argv[1]).items()}
near.find(sources, Duplicates(), Path(sys.argv[2]), CorporaExecution(workers=1))
"""


@pytest.mark.parametrize("stage", ["duplicates_sketch", "duplicates_candidates", "duplicates_verify"])
def test_after_a_kill_the_next_attempt_goes_on_and_writes_the_same_bytes(
    corpora: dict[str, Path], tmp_path: Path, stage: str
) -> None:
    work = tmp_path / "killed"
    work.mkdir()
    sources = json.dumps({name: str(path) for name, path in corpora.items()})
    command = [sys.executable, "-c", _ATTEMPT, sources, str(work), stage]
    assert subprocess.run(command, cwd=Path(__file__).parents[2]).returncode == -signal.SIGKILL
    assert (work / "scratch/.tasks" / stage / "000000.json").exists()
    searched(work, corpora)
    searched(tmp_path / "whole", corpora)
    assert written(work) == written(tmp_path / "whole")


def test_more_rows_than_can_be_numbered_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "_MOST_ROWS", 3)
    corpus = documents(tmp_path, "docs", family(3))
    with pytest.raises(CorpusError, match="duplicates: 3 rows in all; at most 3 can be compared"):
        searched(tmp_path / "out", {"docs": corpus})


def test_templated_sums_are_no_near_duplicates(tmp_path: Path) -> None:
    rows = source("gym://chain_sum?size=300&seed=17&min_terms=2&max_terms=2&min_digits=1&max_digits=2", group="domain")
    work = tmp_path / "clean"
    work.mkdir()
    kept = clean("sums", rows, tmp_path, tmp_path / "cache", work)["kept"]
    metrics, removed, _ = searched(tmp_path / "out", {"sums": work})
    assert removed == {"sums": []} and metrics["rows"] == kept > 200


def test_templated_problems_with_worked_solutions_are_no_near_duplicates(tmp_path: Path) -> None:
    def solved(name: str, first: int, second: int) -> dict[str, Any]:
        asked = (
            f"{name} has {first} apples in a basket on the kitchen table and buys {second} more at the market in town "
            "on the way home from work in the evening. How many apples are there in the basket now, all together?"
        )
        answered = (
            f"We add the apples that were in the basket to those that were bought at the market. There were {first} "
            f"and {second} came on top, and nothing was taken away, so there are {first + second} apples in the basket."
        )
        return talk(asked, answered)

    rows = [solved("Ann", first, second) for first in range(2, 12) for second in range(20, 30)]
    corpus = cleaned(tmp_path, "problems", [*rows, solved("Bob", 2, 20)])
    assert searched(tmp_path / "out", {"problems": corpus})[1] == {"problems": [100]}


INSTRUCTIONS = [
    ("Give three tips for staying healthy.", "1. Eat well. 2. Sleep enough. 3. Move every day."),
    ("Give three tips for staying happy.", "1. Eat well. 2. Sleep enough. 3. Move every day."),
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is the capital of Spain?", "The capital of Spain is Madrid."),
    ("Translate into French: good morning", "bonjour"),
    ("Translate into French: good evening", "bonsoir"),
    ("Is this review good or bad? " + LONG, "good"),
    ("Is this review good or bad? " + text(changed(prose(7), 5)), "good"),
]


def test_instructions_that_look_alike_stay_and_repeats_go(tmp_path: Path) -> None:
    repeats = [("What is the capital of  FRANCE?", "The capital of France is Paris.")]
    corpus = cleaned(tmp_path, "chat", [talk(*row) for row in [*INSTRUCTIONS, *repeats]])
    assert searched(tmp_path / "out", {"chat": corpus})[1] == {"chat": [len(INSTRUCTIONS)]}
