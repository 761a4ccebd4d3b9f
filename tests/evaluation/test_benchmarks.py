"""Benchmarks that lm-eval packages, on rows in the shape of their own files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from pydantic import TypeAdapter

from evaluation import tasks
from evaluation.task import Outcome, Place
from evaluation.tasks import harness, mmlu
from evaluation.tasks.packaged import Packaged
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Response
from models.local import load_model
from recipes.suite import MmluTask, Task
from tests.evaluation import made_benchmarks as made
from tests.evaluation.made_suite import write_data, write_rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Place(tmp_path, tmp_path / "cache", scratch)


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> LoadedModel:
    return load_model(tiny_base, "float32", 8)


def prepared(place: Place, kind: str, rows: list[dict[str, Any]], **fields: Any) -> Packaged:
    write_rows(place.folder / "rows.jsonl", rows)
    task: Any = TypeAdapter(Task).validate_python({"kind": kind, "data": {"uri": "rows.jsonl"}, **fields})
    found: Any = tasks.prepare("quiz", task, place)
    return cast(Packaged, found)


Answering = Callable[[Callable[[str], str]], list[tuple[str, tuple[str, ...]]]]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Answering:
    """A model that says what a function of the prompt says; gives the prompts that it was shown, with their stops."""

    def answer(by: Callable[[str], str]) -> list[tuple[str, tuple[str, ...]]]:
        shown: list[tuple[str, tuple[str, ...]]] = []

        def generate(
            _: Any, prompts: Sequence[str], _limit: int, _tick: Any, until: Sequence[str] = ()
        ) -> list[Response]:
            shown.extend((prompt, tuple(until)) for prompt in prompts)
            return [Response(by(prompt), 9, 3, cut=False, finite=True) for prompt in prompts]

        monkeypatch.setattr(harness, "generate", generate)
        return shown

    return answer


def scores(outcome: Outcome, metric: str) -> list[float]:
    return [sample["score"] for sample in outcome.samples if sample["metric"] == metric]


def by_lm_eval(model: LoadedModel, packaged: str, data: dict[str, Path], folder: Path, **settings: Any) -> list[Any]:
    """lm-eval's samples of a packaged task on local files, by its own transformers back end."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    folder.mkdir()
    files = {split: str(path) for split, path in data.items()}
    config = {
        "include": str(harness.packaged_tasks() / packaged),
        "task": "alone",
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
    }
    (folder / "alone.yaml").write_text(yaml.safe_dump(config))
    answer = lm_eval.simple_evaluate(
        HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=2, device="cpu"),
        tasks=["alone"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=0,
        **settings,
    )
    return sorted(answer["samples"]["alone"], key=lambda row: int(row["doc_id"]))


def test_truthfulqa_is_scored_as_by_lm_eval_alone(model: LoadedModel, place: Place) -> None:
    task = prepared(place, "truthfulqa", made.TRUTHFULQA)
    outcome = task.run(model, lambda done: None)
    for part in ("mc1", "mc2"):
        packaged = f"truthfulqa/truthfulqa_{part}.yaml"
        theirs = by_lm_eval(model, packaged, {"validation": place.folder / "rows.jsonl"}, place.folder / part)
        assert scores(outcome, part) == pytest.approx([float(row["acc"]) for row in theirs], abs=1e-4)
    assert 0 < scores(outcome, "mc2")[0] < 1
    assert outcome.health == {"nonfinite": 0, "constant": 0, "truncated": 0}


def test_arc_is_scored_as_by_lm_eval_alone(model: LoadedModel, place: Place) -> None:
    outcome = prepared(place, "arc", made.ARC).run(model, lambda done: None)
    files = dict.fromkeys(("test", "train", "validation"), place.folder / "rows.jsonl")
    theirs = by_lm_eval(model, "arc/arc_challenge.yaml", files, place.folder / "alone")
    assert scores(outcome, "accuracy") == [row["acc"] for row in theirs]
    assert scores(outcome, "accuracy_by_length") == [row["acc_norm"] for row in theirs]
    assert [sample["target"] for sample in outcome.samples[::2]] == ["a wire of copper", "rope", "a wire of copper"]


@pytest.mark.parametrize("shots", [0, 5])
def test_mmlu_by_letter_is_scored_as_by_lm_eval_alone(model: LoadedModel, place: Place, shots: int) -> None:
    write_data(place.folder)
    task = MmluTask.model_validate({"kind": "mmlu", "form": "letter", "shots": shots, "data": {"uri": "mmlu.jsonl"}})
    ours = mmlu.prepare("facts", task, place)
    outcome = ours.run(model, lambda done: None)
    write_rows(place.folder / "test.jsonl", [item for item in ours.items if item["subject"] == "anatomy"])
    write_rows(place.folder / "dev.jsonl", [{**shown, "subject": "anatomy"} for shown in mmlu.examples("anatomy")])
    data = {split: place.folder / f"{split}.jsonl" for split in ("test", "dev")}
    theirs = by_lm_eval(model, "mmlu/default/mmlu_anatomy.yaml", data, place.folder / "alone", num_fewshot=shots)
    assert [s["score"] for s in outcome.samples[:2]] == [row["acc"] for row in theirs]
    assert theirs[0]["arguments"][0][0].count("\nAnswer:") == shots + 1
    assert ours.facts["prompts"].endswith("by letter")


def test_a_model_that_always_answers_a_is_found_out(
    place: Place, monkeypatch: pytest.MonkeyPatch, model: LoadedModel
) -> None:
    from models.answering import Likelihood

    write_data(place.folder)
    task = MmluTask.model_validate({"kind": "mmlu", "form": "letter", "data": {"uri": "mmlu.jsonl"}})
    ours = mmlu.prepare("facts", task, place)
    letter = model.template.tokenise(" A")
    monkeypatch.setattr(
        harness, "log_likelihoods", lambda _, pairs, tick: [Likelihood(-float(a != letter), False) for _, a in pairs]
    )
    outcome = ours.run(model, lambda done: None)
    assert outcome.health["constant"] == 1
    assert [sample["score"] for sample in outcome.samples] == [float(i["answer"] == 0) for i in ours.items]


def test_mmlu_takes_the_rows_of_the_hub_too(place: Place) -> None:
    row = {"question": "How many?", "subject": "high_school_geography", "choices": ["1", "2", "3", "4"], "answer": 2}
    write_rows(place.folder / "mmlu.jsonl", [row])
    task = MmluTask.model_validate({"kind": "mmlu", "data": {"uri": "mmlu.jsonl"}})
    assert mmlu.prepare("facts", task, place).items == [row]


def test_choices_of_gpqa_stand_where_the_item_puts_them(place: Place, model: LoadedModel) -> None:
    import random

    first = prepared(place, "gpqa", made.GPQA)
    random.seed(7)
    again = prepared(place, "gpqa", list(reversed(made.GPQA)))
    assert sorted(map(str, first.items)) == sorted(map(str, again.items))
    places = {item["answer"] for item in first.items}
    assert len(places) > 1 and places <= {"(A)", "(B)", "(C)", "(D)"}
    right = [item[f"choice{'ABCD'.index(item['answer'][1]) + 1}"] for item in first.items]
    assert set(right) == {"ink"} and first.items[0]["choice1"] != first.items[0]["choice2"]
    outcome = first.run(model, lambda done: None)
    assert {sample["subgroup"] for sample in outcome.samples} == {"Chemistry", "Physics"}
    assert all(sample["stratum"] == sample["subgroup"] for sample in outcome.samples)
    assert [s["score"] for s in outcome.samples] == [float(s["response"] == "ink") for s in outcome.samples]


@pytest.mark.parametrize("shots", [0, 8])
def test_gsm8k_counts_the_last_number_and_the_stated_one(
    place: Place, model: LoadedModel, answering: Answering, shots: int
) -> None:
    said = {" 3 nuts": "3 + 1000 = 1003. The answer is 1,003.", " 5 nuts": "It is 1005", " 8 nuts": "The answer is 9."}
    shown = answering(lambda prompt: next(text for nuts, text in said.items() if f"Ann has{nuts}" in prompt))
    outcome = prepared(place, "gsm8k", made.GSM8K, shots=shots).run(model, lambda done: None)
    assert scores(outcome, "strict_match") == [1, 0, 0]
    assert scores(outcome, "flexible_match") == [1, 1, 0]
    prompt, until = shown[0]
    assert prompt.count("<|im_start|>user") == shots + 1
    assert prompt.endswith("<|im_start|>assistant\n") and ("The answer is 8." in prompt) == bool(shots)
    assert "Q:" in until
    assert outcome.samples[0]["target"] == "1,003"


def test_mmlu_pro_shows_examples_of_the_category_and_reads_the_letter(
    place: Place, model: LoadedModel, answering: Answering
) -> None:
    write_rows(place.folder / "examples.jsonl", made.MMLU_PRO_EXAMPLES)
    shown = answering(lambda prompt: "So the answer is (A)." if "leaf" in prompt else "the answer is (C)")
    task = prepared(place, "mmlu_pro", made.MMLU_PRO, examples={"uri": "examples.jsonl"}, max_new_tokens=20)
    outcome = task.run(model, lambda done: None)
    assert scores(outcome, "accuracy") == [1, 0, 0, 0]
    assert [sample["stratum"] for sample in outcome.samples] == ["biology", "computer science", "biology", "law"]
    assert [sample["cluster"] for sample in outcome.samples] == [sample["doc_hash"] for sample in outcome.samples]
    prompt, until = next(one for one in shown if "disk" in one[0])
    assert prompt.count("of computer science?") == 5 and "of law?" not in prompt
    assert until == ("Question:",)


def test_mmlu_pro_does_without_examples(place: Place, model: LoadedModel, answering: Answering) -> None:
    shown = answering(lambda prompt: "the answer is (A)")
    outcome = prepared(place, "mmlu_pro", made.MMLU_PRO, shots=0).run(model, lambda done: None)
    assert scores(outcome, "accuracy") == [1, 1, 1, 1]
    assert all(prompt.count("<|im_start|>user") == 1 for prompt, _ in shown)


@pytest.mark.parametrize(("rows", "right"), [(made.AIME24, ["6", "5"]), (made.AIME25, ["336"])])
def test_aime_takes_the_boxed_number(
    place: Place, model: LoadedModel, answering: Answering, rows: list[dict[str, Any]], right: list[str]
) -> None:
    answering(lambda prompt: "so \\boxed{6}" if "20" in prompt else "so \\boxed{336^\\circ}")
    outcome = prepared(place, "aime", rows, max_new_tokens=30).run(model, lambda done: None)
    assert [sample["target"] for sample in outcome.samples] == right
    assert scores(outcome, "accuracy") == [1, 0][: len(rows)]


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        ("gsm8k", {"question": "q", "answer": "7"}, "expected the result behind '####' in field 'answer'"),
        ("gsm8k", {"question": " ", "answer": "#### 7"}, "expected text in field 'question', found str"),
        ("gpqa", {"Question": "q"}, "expected text in field 'Correct Answer', found fields"),
        ("gpqa", {**made.GPQA[0], "Incorrect Answer 1": "ink"}, "one of the wrong ones too"),
        ("aime", {"Problem": "p", "Answer": "x+1"}, "expected a whole number from 0 to 999 in field 'Answer'"),
        ("aime", {"task": "p"}, "expected fields Problem and Answer"),
        ("truthfulqa", {"question": "q", "mc1_targets": []}, "expected choices and labels in field 'mc1_targets'"),
        (
            "truthfulqa",
            {**made.TRUTHFULQA[0], "mc1_targets": {"choices": ["a", "b"], "labels": [0, 1]}},
            "expected the one true answer first in field 'mc1_targets'",
        ),
        (
            "arc",
            {"question": "q", "answerKey": "A", "choices": ["a", "b"]},
            "expected texts and labels in field 'choices'",
        ),
        (
            "arc",
            {**made.ARC[0], "answerKey": "D"},
            "expected one of the labels A, B, C in field 'answerKey', found 'D'",
        ),
        (
            "arc",
            {**made.ARC[0], "choices": {"text": ["a", "b"], "label": ["A", "A"]}},
            "expected a text and a label of its own for each choice",
        ),
        ("mmlu_pro", {**made.MMLU_PRO[0], "category": "gossip"}, "expected a category of MMLU-Pro"),
        ("mmlu_pro", {**made.MMLU_PRO[0], "answer": "J"}, "expected the letter of one of 4 options in field 'answer'"),
    ],
)
def test_a_row_that_is_no_item_is_named(place: Place, kind: str, row: dict[str, Any], message: str) -> None:
    more = {"shots": 0} if kind == "mmlu_pro" else {}
    with pytest.raises(EvaluationError, match=rf"tasks\.quiz\.data: row 1: .*{message}"):
        prepared(place, kind, [row], **more)


def test_probabilities_too_small_for_a_float_are_still_shared_out(
    model: LoadedModel, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    from models.answering import Likelihood

    monkeypatch.setattr(harness, "log_likelihoods", lambda _, pairs, tick: [Likelihood(-2000.0, False) for _ in pairs])
    outcome = prepared(place, "truthfulqa", made.TRUTHFULQA).run(model, lambda done: None)
    assert scores(outcome, "mc2") == pytest.approx([2 / 3] * 3)
    assert outcome.health["nonfinite"] == 0


def test_items_that_differ_in_nothing_that_is_asked_are_one(place: Place) -> None:
    task = prepared(place, "gpqa", [*made.GPQA, {**made.GPQA[0], "Record ID": "another"}])
    assert (len(task.items), task.facts["duplicates"]) == (len(made.GPQA), 1)
