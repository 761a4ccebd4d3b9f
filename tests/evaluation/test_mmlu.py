"""MMLU by the likelihood of its answers."""

import math
from collections import Counter
from pathlib import Path

import pytest

from evaluation.task import Place
from evaluation.tasks import mmlu
from evaluation.tasks.harness import HarnessTask, run_harness
from lineage.errors import EvaluationError
from models.answering import LoadedModel, log_likelihoods
from models.local import load_model
from recipes.suite import MmluTask
from tests.evaluation.made_suite import evaluation, write_data, write_rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    write_data(tmp_path)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Place(tmp_path, tmp_path / "cache", scratch)


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> LoadedModel:
    return load_model(tiny_base, "float32", 8)


def the_task(**changes: object) -> MmluTask:
    task = evaluation(("facts",)).tasks["facts"]
    assert isinstance(task, MmluTask)
    return task.model_copy(update=changes)


def test_log_probabilities_are_those_of_lm_eval_alone(model: LoadedModel) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    pairs = [
        ("What is blue?", " The sky."),
        ("What is blue?", " A"),
        ("Who?", " Nobody at all, it seems."),
        ("a b", " c"),
    ]
    requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
    theirs = HFLM(pretrained=model.model, tokenizer=model.tokenizer, batch_size=2, device="cpu").loglikelihood(requests)
    encoded = [(model.template.tokenise(a), model.template.tokenise(b)) for a, b in pairs]
    ours = log_likelihoods(model, encoded, lambda done: None)
    assert [found.logprob for found in ours] == pytest.approx([logprob for logprob, _ in theirs], abs=1e-4)
    assert [found.greedy for found in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("shots", [0, 5])
def test_accuracy_is_that_of_lm_eval_alone(model: LoadedModel, place: Place, shots: int) -> None:
    prepared = mmlu.prepare("facts", the_task(shots=shots, limit=None), place)
    ours = prepared.run(model, lambda done: None)
    assert len(ours.samples) == 5
    assert [sample["stratum"] for sample in ours.samples] == [item["subject"] for item in prepared.items]
    assert [sample["cluster"] for sample in ours.samples] == [sample["doc_hash"] for sample in ours.samples]
    scratch = place.scratch / "alone"
    scratch.mkdir()
    rows = [{k: item[k] for k in ("question", "choices", "answer")} for item in prepared.items[:2]]
    splits = {"test": rows, "dev": mmlu.examples("anatomy")}
    task = HarnessTask("anatomy", "mmlu/continuation/mmlu_anatomy.yaml", splits, shots)
    theirs = run_harness(model, [task], scratch, lambda done: None, chat=False).samples["anatomy"]
    assert [s["score"] for s in ours.samples[:2]] == [row["acc_norm"] for row in theirs]
    ranked = [float(r[0]) / len(text) for r, text in zip(theirs[0]["filtered_resps"], rows[0]["choices"], strict=True)]
    shares = [math.exp(value) for value in ranked]
    assert ours.samples[0]["confidence"] == pytest.approx(max(shares) / sum(shares))
    assert theirs[0]["arguments"][0][0].count("Question: ") == shots + 1
    assert theirs[0]["arguments"][0][0].endswith("Question: Which of these pumps blood?\nAnswer:")


def test_every_subject_has_examples() -> None:
    from evaluation.tasks.harness import packaged_tasks

    names = [path.stem for path in (packaged_tasks() / "mmlu" / "continuation").glob("mmlu_*.yaml")]
    found = {name: mmlu.examples(name.removeprefix("mmlu_")) for name in names}
    assert Counter(map(len, found.values())) == {5: 54, 4: 3}
    examples = [example for of_subject in found.values() for example in of_subject]
    assert Counter(len(example["choices"]) for example in examples) == {4: 281, 5: 1}
    assert all(example["choices"][example["answer"]] for example in examples)


def test_header_rows_and_repeats_are_no_questions(place: Place) -> None:
    prepared = mmlu.prepare("facts", the_task(limit=None), place)
    assert [item["subject"] for item in prepared.items[:3]] == ["anatomy", "anatomy", "astronomy"]
    assert (len(prepared.items), prepared.facts["duplicates"]) == (5, 1)


def test_a_draw_is_fixed_by_its_seed(place: Place) -> None:
    drawn = [mmlu.prepare("facts", the_task(limit=2, sample_seed=seed), place).items for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2] or drawn[0] != drawn[3]


def test_more_items_than_there_are_is_an_error(place: Place) -> None:
    with pytest.raises(EvaluationError, match=r"tasks\.facts\.limit: 9 items asked for, the data holds 5"):
        mmlu.prepare("facts", the_task(limit=9), place)


def test_an_unknown_subject_is_named(place: Place) -> None:
    row = {"question": "q", "correct_answer": "A", "topic": "gossip", **{f"answer_{x}": x for x in "abcd"}}
    write_rows(place.folder / "mmlu.jsonl", [row])
    with pytest.raises(EvaluationError, match=r"row 1: expected a subject of MMLU, found topic 'gossip'"):
        mmlu.prepare("facts", the_task(), place)
