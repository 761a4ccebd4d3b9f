"""The table of evaluation items: all of the data, whatever the suite draws of it."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from assets.corpora import EvaluationItems
from corpora.contamination.items import ITEMS, collect, identity_of
from lineage.errors import CorpusError
from lineage.node import Given
from lineage.store import Store
from recipes.sources import Columns
from recipes.suite import PairwiseJudgeTask, Task
from tests.assets.made_pipeline import pipeline
from tests.evaluation import made_benchmarks as made
from tests.evaluation.made_suite import CANARY, IFEVAL, MMLU, evaluation, write_data, write_rows


@pytest.fixture
def tasks(tmp_path: Path) -> dict[str, Task]:
    write_data(tmp_path)
    return evaluation().tasks


def collected(folder: Path, tasks: dict[str, Task], name: str = "work") -> tuple[dict[str, Any], list[dict[str, Any]]]:
    (folder / name).mkdir()
    metrics = collect(tasks, folder, folder / "cache", folder / name)
    return metrics, pq.read_table(folder / name / ITEMS).to_pylist()


def test_every_task_gives_the_texts_that_it_asks(tmp_path: Path, tasks: dict[str, Task]) -> None:
    metrics, rows = collected(tmp_path, tasks)
    texts = {kind: [r for r in rows if tasks[r["task"]].kind == kind] for kind in ("ifeval", "mmlu", "verifier")}
    assert [row["text"] for row in texts["ifeval"]] == [prompt for prompt, _, _ in IFEVAL]
    assert [row["text"] for row in texts["mmlu"][::2]] == [question for _, question, _, _ in MMLU]
    assert texts["mmlu"][1]["text"].splitlines() == [MMLU[0][1], *MMLU[0][2]]
    assert all(row["generated"] for row in texts["verifier"])
    assert [row for row in rows if row["sensitive"]] == [row for row in rows if CANARY in row["text"]] != []
    assert metrics["items"] == sum(metrics["tasks"].values()) == len({(row["task"], row["item"]) for row in rows})


def test_no_limit_margin_or_seed_changes_the_items(tmp_path: Path, tasks: dict[str, Task]) -> None:
    drawn = {name: task.model_copy(update={"limit": 2, "sample_seed": 9}) for name, task in tasks.items()}
    assert identity_of(drawn) == identity_of(tasks)
    collected(tmp_path, tasks, "all")
    collected(tmp_path, drawn, "drawn")
    assert (tmp_path / "all" / ITEMS).read_bytes() == (tmp_path / "drawn" / ITEMS).read_bytes()


def test_the_request_of_a_recipe_follows_its_data_alone(tmp_path: Path) -> None:
    data = {"kind": "verifier", "data": {"uri": "gym://chain_sum?size=16&seed=9&split=held_out"}}
    more = {"kind": "verifier", "data": {"uri": "gym://chain_sum?size=17&seed=9&split=held_out"}}

    def fingerprint(name: str, task: dict[str, Any], **changes: Any) -> str:
        made = pipeline(tmp_path / name, evaluation={"tasks": {"sums": task}}, **changes)
        return EvaluationItems(made).request(Given(Store(tmp_path))).fingerprint

    first = fingerprint("a", data)
    assert first == fingerprint("b", {**data, "limit": 4, "sample_seed": 1, "max_new_tokens": 9})
    assert first == fingerprint(
        "c", data, promotion={"alpha": 0.01, "target": {"metric": "sums/accuracy", "min_gain": 0.2}}
    )
    assert first != fingerprint("d", more)


def test_all_turns_of_a_judged_conversation_are_items(tmp_path: Path) -> None:
    rows = [{"turns": ["Begin a tale.", "Go on with it."], "baseline": ["a", "b"]}, {"prompt": "One more."}]
    write_rows(tmp_path / "rows.jsonl", rows)
    judged = PairwiseJudgeTask.model_validate(
        {"kind": "pairwise_judge", "data": {"uri": "rows.jsonl"}, "judge": {"model": "m"}, "sensitive": True}
    )
    _, items = collected(tmp_path, {"talk": judged})
    assert [row["text"] for row in items] == ["Begin a tale.", "Go on with it.", "One more."]
    assert all(row["sensitive"] for row in items)


def test_another_column_gives_other_items(tmp_path: Path, tasks: dict[str, Task]) -> None:
    other = {"benign": tasks["benign"].model_copy(update={"columns": Columns(prompt="category")})}
    assert identity_of(other) != identity_of({"benign": tasks["benign"]})
    assert {row["text"] for row in collected(tmp_path, other)[1]} == {"computing"}


@pytest.mark.parametrize(("line", "problem"), [('{"prompt": ', "not valid JSON"), ('{"key": 1}', "no question in it")])
def test_an_item_that_cannot_be_read_is_an_error(
    tmp_path: Path, tasks: dict[str, Task], line: str, problem: str
) -> None:
    with (tmp_path / "ifeval.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CorpusError, match=rf"evaluation\.tasks\.follow\.data: ifeval\.jsonl:5: {problem}"):
        collected(tmp_path, tasks)


@pytest.mark.parametrize(
    ("kind", "rows", "expected"),
    [
        (
            "mmlu_pro",
            made.MMLU_PRO[:1],
            ["Which leaf is wet?", "Which leaf is wet?\nrain\nsand\na leaf of stone\na lamp"],
        ),
        ("gpqa", made.GPQA[:1], ["What is 0 made of?", "What is 0 made of?\nink\ntea  leaves\ndust\nsalt 0"]),
        ("gsm8k", made.GSM8K[:1], [made.GSM8K[0]["question"]]),
        ("aime", [*made.AIME24[:1], *made.AIME25], ["Find the remainder of 20 by 7.", "Turn by an angle."]),
        (
            "arc",
            made.ARC[:1],
            ["Which of these carries current?", "Which of these carries current?\na wire of copper\nrope\na shelf"],
        ),
        ("truthfulqa", made.TRUTHFULQA[:1], ["Do cats read?", "Do cats read?\nNo\nYes, at night\nOnly maps"]),
        ("code", made.HUMANEVAL[:1], [made.HUMANEVAL[0]["prompt"].strip()]),
        ("functions", made.BFCL, ["Set an alarm for seven in Rome, loudly.", "Be brief.\nWhat is love?"]),
        ("perplexity", made.TEXTS[2:], [made.TEXTS[2]["text"]]),
        (
            "mmlu",
            [{"question": "How?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 0}],
            ["How?", "How?\na\nb\nc\nd"],
        ),
    ],
)
def test_every_benchmarks_questions_are_items(
    tmp_path: Path, kind: str, rows: list[dict[str, Any]], expected: list[str]
) -> None:
    write_rows(tmp_path / "rows.jsonl", rows)
    more: dict[str, Any] = {"mmlu_pro": {"shots": 0}, "code": {"allow_code_execution": True}}.get(kind, {})
    task: Task = TypeAdapter(Task).validate_python({"kind": kind, "data": {"uri": "rows.jsonl"}, **more})
    metrics, found = collected(tmp_path, {"quiz": task})
    assert [row["text"] for row in found] == expected
    assert metrics["tasks"] == {"quiz": len(rows)}
