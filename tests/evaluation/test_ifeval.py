"""IFEval as lm-eval scores it, on rows that its checkers can be trusted with."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from corpora.verifiers.instructions import followed
from evaluation.task import Place
from evaluation.tasks import ifeval
from evaluation.tasks.harness import HarnessResult, packaged_tasks
from lineage.errors import EvaluationError
from models.local import load_model
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


def test_language_detection_is_repeatable(place: Place) -> None:
    ifeval.prepare("follow", the_task(), place)  # which puts punkt_tab in its place
    spanish = {
        "prompt": "Speak.",
        "instruction_id_list": ["language:response_language"],
        "kwargs": [{"language": "es"}],
    }
    found = followed([(spanish, "casa de la Berg und the sea")] * 20)  # English to 24 of 40 detectors without a seed
    assert found in ([[True]] * 20, [[False]] * 20)


def test_a_keyword_without_end_costs_one_answer(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    keyword = {"prompt": "Speak.", "instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["(a+)+c"]}]}
    rows = [{"key": key, **keyword} for key in range(3)]
    write_rows(place.folder / "ifeval.jsonl", rows)
    prepared = ifeval.prepare("follow", the_task(), place)
    texts = ["aac", "a" * 64 + "b", "b"]
    samples = {"follow": [{"doc_id": n, "arguments": [["Speak."]], "resps": [[text]]} for n, text in enumerate(texts)]}
    monkeypatch.setattr(ifeval, "run_harness", lambda *_, **__: HarnessResult(samples, {}, 0, 0))
    model: Any = None
    outcome = prepared.run(model, lambda done: None)
    assert [sample["score"] for sample in outcome.samples] == [1, 1, 0, 0, 0, 0]
    assert outcome.details == {"answers that could not be checked: not done in 5 s": 1}
