"""IFEval as lm-eval scores it, on rows that its checkers can be trusted with."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from evaluation.backends.in_process import load_model
from evaluation.report import EvaluationError
from evaluation.task import Place
from evaluation.tasks import ifeval
from evaluation.tasks.harness import packaged_tasks
from recipes.suite import IfevalTask
from tests.evaluation.made_suite import evaluation, write_data, write_rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    write_data(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Place(tmp_path, tmp_path / "cache", scratch)


def the_task() -> IfevalTask:
    task = evaluation(("follow",)).tasks["follow"]
    assert isinstance(task, IfevalTask)
    return task


def test_outcomes_are_those_of_lm_eval_alone(tiny_base: Path, place: Place, tmp_path: Path) -> None:
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    model = load_model(tiny_base, "float32", 2)
    ours = ifeval.prepare("follow", the_task(), place).run(model, lambda done: None)
    alone = tmp_path / "alone"
    alone.mkdir()
    config = {
        "include": str(packaged_tasks() / "ifeval" / "ifeval.yaml"),
        "task": "alone",
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {"train": str(place.folder / "ifeval.jsonl")},
            "cache_dir": str(alone / "cache"),
        },
    }
    (alone / "alone.yaml").write_text(yaml.safe_dump(config))
    theirs = lm_eval.simple_evaluate(
        HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=2, device="cpu"),
        tasks=["alone"],
        task_manager=TaskManager(include_path=str(alone), include_defaults=False),
        apply_chat_template=True,
        gen_kwargs={"max_gen_toks": 12},
        bootstrap_iters=0,
    )["samples"]["alone"]
    prompts = [sample for sample in ours.samples if sample["metric"] == "prompt_strict"]
    parts = [sample["score"] for sample in ours.samples if sample["metric"] == "instruction_strict"]
    assert [sample["response"] for sample in prompts] == [row["resps"][0][0] for row in theirs]
    assert [sample["score"] for sample in prompts] == [float(row["prompt_level_strict_acc"]) for row in theirs]
    assert parts == [float(followed) for row in theirs for followed in row["inst_level_strict_acc"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kwargs": [{}]}, r"row 1: instruction 'length_constraints:number_words' needs \['num_words', 'relation'\]"),
        ({"kwargs": []}, "row 1: 'kwargs' must hold one object per instruction"),
        ({"instruction_id_list": ["length_constraints:moods"]}, "row 1: instruction 'length_constraints:moods' is not"),
        ({"prompt": " "}, "row 1: 'prompt' is missing or empty"),
    ],
)
def test_a_row_that_its_checkers_would_guess_about_is_refused(
    place: Place, change: dict[str, Any], message: str
) -> None:
    row = {"key": 1, "prompt": "Five words.", "instruction_id_list": ["length_constraints:number_words"]}
    row["kwargs"] = [{"relation": "at least", "num_words": 5}]
    write_rows(place.folder / "ifeval.jsonl", [{**row, **change}])
    with pytest.raises(EvaluationError, match=message):
        ifeval.prepare("follow", the_task(), place)


def test_a_damaged_punkt_is_refused(place: Place) -> None:
    english = place.folder / "punkt_tab" / "english"
    (english / "ortho_context.tab").write_text("no tab\n")
    with pytest.raises(EvaluationError, match=r"tasks\.follow\.punkt: NLTK cannot read it"):
        ifeval.prepare("follow", the_task(), place)


def test_language_detection_is_repeatable(tiny_base: Path, place: Place) -> None:
    from langdetect import DetectorFactory, detect_langs

    DetectorFactory.seed = None
    prepared = ifeval.prepare("follow", the_task(), place)
    prepared.run(load_model(tiny_base, "float32", 2), lambda done: None)
    assert len({json.dumps([str(lang) for lang in detect_langs("la casa is on the Berg")]) for _ in range(10)}) == 1
