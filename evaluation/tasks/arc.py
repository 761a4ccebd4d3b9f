"""ARC (Clark et al. 2018, arXiv 1803.05457), lm-eval's own task code: science questions for grades 3 to 9.

The answers' texts are compared as continuations of "Question: … Answer:", plain text without examples: `accuracy` by
their log-probability, `accuracy_by_length` by it per character, lm-eval's `acc_norm`, which leaderboards show.
"""

from collections.abc import Mapping
from typing import Any

from evaluation.task import Place
from evaluation.tasks.packaged import Benchmark, Item, Metric, Packaged, list_of, prepared, texts_of
from recipes.suite import ArcTask


def prepare(name: str, task: ArcTask, place: Place) -> Packaged:
    """Read, check and draw the questions. Raises EvaluationError that names the row and the field."""
    return prepared(name, task, task.data, place, _ARC)


def _question(row: Mapping[str, Any]) -> Item:
    """{question, choices: {text, label}, answerKey} of a row as allenai/ai2_arc has it."""
    question, answer = texts_of(row, "question", "answerKey")
    given = row.get("choices")
    if not isinstance(given, Mapping):
        raise ValueError("expected texts and labels in field 'choices'")
    texts, labels = list_of(given, "text", str, 2), list_of(given, "label", str, 2)
    if len(texts) != len(labels) or len(set(labels)) != len(labels) or not all(text.strip() for text in texts):
        raise ValueError("expected a text and a label of its own for each choice in field 'choices'")
    if answer not in labels:
        raise ValueError(f"expected one of the labels {', '.join(labels)} in field 'answerKey', found {answer!r}")
    return {"question": question, "choices": {"text": texts, "label": labels}, "answerKey": answer}


_ARC = Benchmark(
    item=_question,
    packaged=lambda item: {"": "arc/arc_challenge.yaml"},
    split="test",
    metrics={"accuracy": Metric("acc"), "accuracy_by_length": Metric("acc_norm")},
    question="question",
    target=lambda item: str(item["choices"]["text"][item["choices"]["label"].index(item["answerKey"])]),
    choices=lambda item: list(item["choices"]["text"]),
    settings={"training_split": None, "validation_split": None},
)
