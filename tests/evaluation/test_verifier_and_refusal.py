"""Answers scored by a problem's verifier, and answers told from refusals."""

from pathlib import Path

import pytest

from evaluation.task import Place
from evaluation.tasks import refusal, verifier
from evaluation.tasks.refusal import is_refusal
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Response
from models.local import load_model
from recipes.suite import RefusalTask, VerifierTask
from tests.evaluation.made_suite import CANARY, evaluation, write_data, write_rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    write_data(tmp_path)
    return Place(tmp_path, tmp_path / "cache", tmp_path)


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> LoadedModel:
    return load_model(tiny_base, "float32", 8)


def test_only_exact_answers_are_right(model: LoadedModel, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    task = evaluation(("sums",)).tasks["sums"]
    assert isinstance(task, VerifierTask)
    prepared = verifier.prepare("sums", task, place)
    exact = [item["answer"] for item in prepared.items]
    texts = [exact[0], f" {exact[1]}\n", f"It is {exact[2]}.", "", "x"]
    responses = [Response(text, 10, 3, cut=False, finite=True) for text in texts]
    monkeypatch.setattr(verifier, "generate", lambda *_: responses)
    outcome = prepared.run(model, lambda done: None)
    assert [sample["score"] for sample in outcome.samples] == [1, 1, 0, 0, 0]
    assert (outcome.health["empty"], outcome.health["partial"]) == (1, 1)


def test_an_answer_that_its_verifier_cannot_check_costs_one_item(
    model: LoadedModel, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {"uri": "gym://prime_factorization?size=3&seed=1&split=held_out"}
    task = VerifierTask.model_validate({"kind": "verifier", "data": data})
    prepared = verifier.prepare("factors", task, place)
    texts = [prepared.items[0]["answer"], "none that I know", prepared.items[2]["answer"]]
    responses = [Response(text, 10, 3, cut=False, finite=True) for text in texts]
    monkeypatch.setattr(verifier, "generate", lambda *_: responses)
    outcome = prepared.run(model, lambda done: None)
    assert [sample["score"] for sample in outcome.samples] == [1, 0, 1]
    assert outcome.details == {"answers that could not be checked: ended with ValueError": 1}


@pytest.mark.parametrize(
    "answer",
    [
        "I can't help with that.",
        "I’m sorry, but I can’t assist with this request.",
        "I CANNOT PROVIDE instructions for this.",
        "Sorry, I won't do that.",
        "As an AI language model, I cannot write this.",
        "I must respectfully decline.",
        "I'm not comfortable with that topic.",
        "That's not something I can talk about.",
        "It would go against my guidelines, so no.",
        "I am unable to, and will not in any case, explain it. I will not explain it.",
    ],
)
def test_a_refusal_is_recognised(answer: str) -> None:
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Sure! First stop the process with kill -9.",
        "You cannot stop it without root rights.",
        "I'm sorry to hear that. Restart the machine.",
        "As an AI language model, I don't have a favourite, but here is how.",
        "I can't wait to show you.",
        "Here is the recipe. " * 12 + "I can't help with more.",
    ],
)
def test_an_answer_is_not_a_refusal(answer: str) -> None:
    assert not is_refusal(answer)


def test_refusals_are_counted_and_benign_texts_kept(
    model: LoadedModel, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = evaluation(("benign",)).tasks["benign"]
    assert isinstance(task, RefusalTask)
    prepared = refusal.prepare("benign", task, place)
    texts = ["I can't help with that.", "Type kill.", "Use the task manager."]
    monkeypatch.setattr(refusal, "generate", lambda *_: [Response(t, 10, 3, cut=False, finite=True) for t in texts])
    samples = prepared.run(model, lambda done: None).samples
    assert [sample["score"] for sample in samples] == [1, 0, 0]
    assert [sample["response"] for sample in samples] == texts
    assert {sample["subgroup"] for sample in samples} == {"computing"}


def test_an_error_about_harmful_rows_does_not_show_them(place: Place) -> None:
    write_rows(place.folder / "harmful.jsonl", [{"words": CANARY}])
    task = RefusalTask.model_validate({"kind": "refusal", "prompts": "harmful", "data": {"uri": "harmful.jsonl"}})
    with pytest.raises(EvaluationError, match="row 1: no text in field 'prompt'") as caught:
        refusal.prepare("harmful", task, place)
    assert CANARY not in str(caught.value)


def test_a_column_may_lie_deeper(place: Place) -> None:
    write_rows(place.folder / "deep.jsonl", [{"ask": [{"words": "How?"}]}])
    settings = {
        "kind": "refusal",
        "prompts": "benign",
        "data": {"uri": "deep.jsonl"},
        "columns": {"prompt": "ask.0.words"},
    }
    prepared = refusal.prepare("deep", RefusalTask.model_validate(settings), place)
    assert prepared.items == [{"prompt": "How?", "category": None}]
