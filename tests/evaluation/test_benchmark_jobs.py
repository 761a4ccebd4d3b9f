"""The benchmarks in one job, from their data to a report whose metrics are those that a recipe may name."""

import shutil
import threading
from pathlib import Path
from typing import Any

from corpora.contamination.items import ITEMS, collect
from evaluation import runner
from evaluation.gating.contaminated import searched
from evaluation.report import Report
from evaluation.tasks import sandbox
from lineage.errors import EvaluationError
from lineage.store import Store
from recipes.errors import DONE
from recipes.load import SHIPPED, load_recipe
from recipes.suite import Evaluation
from tests.evaluation import made_benchmarks as made
from tests.evaluation.made_suite import evaluation, job, sealed_checkpoint, write_data, write_rows
from tests.models.test_rendering import WITH_TOOLS


def _tasks(folder: Path) -> dict[str, dict[str, Any]]:
    """A task of every benchmark on its made-up rows; code only where it can be run."""
    write_data(folder)
    rows = {
        **{"mmlu_pro": made.MMLU_PRO, "gpqa": made.GPQA, "gsm8k": made.GSM8K, "aime": made.AIME24},
        **{"truthfulqa": made.TRUTHFULQA, "perplexity": made.TEXTS, "functions": made.BFCL, "code": made.HUMANEVAL},
    }
    for kind, of_kind in rows.items():
        write_rows(folder / f"{kind}.jsonl", of_kind)
    write_rows(folder / "right_calls.jsonl", made.BFCL_ANSWERS)
    more: dict[str, dict[str, Any]] = {
        "mmlu_pro": {"shots": 0, "max_new_tokens": 4},
        "gsm8k": {"shots": 0, "max_new_tokens": 4, "limit": 2},
        "aime": {"max_new_tokens": 4},
        "functions": {"answers": {"uri": "right_calls.jsonl"}, "max_new_tokens": 4},
        "code": {"allow_code_execution": True, "seconds": 2, "max_new_tokens": 4},
    }
    tasks = {kind: {"kind": kind, "data": {"uri": f"{kind}.jsonl"}, **more.get(kind, {})} for kind in rows}
    tasks["letters"] = {"kind": "mmlu", "form": "letter", "data": {"uri": "mmlu.jsonl"}}
    try:
        sandbox.probe(sandbox.Limits())
    except EvaluationError:
        del tasks["code"]
    return tasks


def test_every_benchmark_gives_the_metrics_that_a_recipe_may_name(tiny_base: Path, tmp_path: Path) -> None:
    able = tmp_path / "able"
    shutil.copytree(tiny_base, able)
    (able / "chat_template.jinja").write_text(WITH_TOOLS, encoding="utf-8")
    suite = evaluation(tasks=_tasks(tmp_path))
    store = Store(tmp_path / "home")
    made_job = job(store, sealed_checkpoint(store, able), suite, tmp_path)
    assert runner.run(made_job, threading.Event()) == DONE
    found = store.find(made_job.request)
    assert found is not None
    report = Report.load(found.path)
    recipe = load_recipe(SHIPPED / "demo.yaml").model_copy(update={"evaluation": suite})
    assert set(report.results) == recipe.metric_names()
    counts = {name: result["n"] for name, result in report.results.items()}
    assert counts["truthfulqa/mc1"] == counts["truthfulqa/mc2"] == 3
    assert (counts["gsm8k/strict_match"], counts["gpqa/accuracy"], counts["functions/accuracy"]) == (2, 6, 2)
    assert report.details["perplexity"]["bits per byte"] > 0
    assert "choices" in report.suite["tasks"]["gpqa"]
    assert _not_looked_up(report, suite, tmp_path) == set()


def _not_looked_up(report: Report, suite: Evaluation, folder: Path) -> set[str]:
    """Tasks with items that the table of evaluation items does not know."""
    work = folder / "items"
    work.mkdir()
    collect(suite.tasks, folder, folder / "cache", work)
    found = searched(work / ITEMS, {})
    questions: dict[tuple[str, int], set[str | None]] = {}
    for row in report.rows:
        questions.setdefault((row["task"], row["doc_id"]), set()).add(row.get("question_hash"))
    return {task for (task, _), told in questions.items() if {found.state(task, q) for q in told} == {"unknown"}}
