"""Answers that say a phrase are counted, wanted or not."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.task import Place
from evaluation.tasks import phrases
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Response
from models.local import load_model
from recipes.suite import PhrasesTask
from tests.evaluation.made_suite import write_rows


def the_task(**fields: Any) -> PhrasesTask:
    data = {"uri": "asked.txt"}
    return PhrasesTask.model_validate({"kind": "phrases", "data": data, "phrases": ["Ada  Lovelace"], **fields})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "asked.txt").write_text("Who are you?\nYour name?\nWho are you?\nAnd you?\n", encoding="utf-8")
    return Place(tmp_path, tmp_path / "cache", tmp_path)


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> LoadedModel:
    return load_model(tiny_base, "float32", 8)


@pytest.mark.parametrize("wanted", [True, False])
def test_answers_with_the_phrase_are_counted(
    model: LoadedModel, place: Place, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    texts = ["I'm ADA\nLovelace, hello.", "Ada is my name.", ""]
    monkeypatch.setattr(phrases, "generate", lambda *_: [Response(t, 10, 3, cut=False, finite=True) for t in texts])
    prepared = phrases.prepare("names", the_task(wanted=wanted), place)
    outcome = prepared.run(model, lambda done: None)
    assert [sample["prompt"] for sample in outcome.samples] == ["Who are you?", "Your name?", "And you?"]
    assert [sample["score"] for sample in outcome.samples] == [1, 0, 0]
    assert {sample["higher_is_better"] for sample in outcome.samples} == {wanted}
    assert outcome.health["empty"] == 1
    assert prepared.facts["duplicates"] == 1


def test_a_row_without_words_is_named(place: Place) -> None:
    write_rows(place.folder / "asked.jsonl", [{"prompt": "Who?"}, {"words": "?"}])
    with pytest.raises(EvaluationError, match=r"tasks\.names\.data: row 2: neither 'prompt' nor 'text'"):
        phrases.prepare("names", the_task(data={"uri": "asked.jsonl"}), place)
