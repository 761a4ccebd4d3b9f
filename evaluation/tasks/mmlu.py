"""MMLU (Hendrycks et al. 2021, arXiv 2009.03300): which answer's text, or which letter, is likeliest?

lm-eval's own tasks, as plain text without a chat template: a question with its choices inside a chat turn asks for a
chatty answer, and OLMES (arXiv 2406.08446) and lm-eval's published numbers use plain text. In continuation form
(`mmlu_continuation`) `accuracy` is lm-eval's `acc_norm`: the log-probability of an answer divided by its length in
characters, so that short answers have no advantage. In letter form (`mmlu`) it is `acc`: the letters A to D are
compared, which a small model says by habit (SmolLM2-135M "A" to 283 of 285 questions); a report in which all choices
are the same is not valid.

A limit draws items uniformly over all subjects: the mean estimates the share of all items answered
rightly. Subjects are strata: all 57 are MMLU, none is a sample of other subjects. With five shots the examples are
those shipped with lm-eval, which has only four of them for three subjects.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from evaluation.task import Place, draw, read_rows
from evaluation.tasks.harness import harness_version, packaged_tasks
from evaluation.tasks.packaged import Benchmark, Item, Metric, Packaged, items_of, list_of, texts_of
from lineage.errors import EvaluationError
from recipes.suite import MmluTask

_LETTERS = "ABCD"
_CHOICES = re.compile(r"^(.*)\(A\)(.*)\(B\)(.*)\(C\)(.*)\(D\)(.*?)(?:\(E\)(.*))?$", re.DOTALL)
_ANSWER = re.compile(r"\(([A-E])\)\.?\s*$")  # one example of college chemistry has five choices

_FORMS = {"continuation": "mmlu/continuation", "letter": "mmlu/default"}


def prepare(name: str, task: MmluTask, place: Place) -> Packaged:
    """Read, check and draw the questions. Raises EvaluationError for a row that is no question of MMLU."""
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    benchmark = _benchmark(task)
    # without a header row of the CSV that these rows once were
    items = items_of(f"{where}.data", [row for row in rows.rows if row.get("correct_answer") != "answer"], benchmark)
    by_text = task.form == "continuation"
    facts = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates,
        "harness": harness_version(),
        "prompts": f"plain text, {task.shots}-shot, answers scored {'as continuations' if by_text else 'by letter'}",
        **({"normalisation": "log-probability per character of the answer"} if by_text else {}),
        "draw": "uniform over items",
    }
    by_subject: dict[str, list[Item]] = {}
    for item in draw(where, items, task.limit, task.sample_seed):
        by_subject.setdefault(item["subject"], []).append(item)
    drawn = [item for group in by_subject.values() for item in group]
    return Packaged(name, benchmark, drawn, facts, task.shots, place.scratch)


@cache
def examples(subject: str) -> list[dict[str, Any]]:
    """The worked examples of a subject that lm-eval ships, five as a rule, as {question, choices, answer}."""
    import yaml

    path = packaged_tasks() / "mmlu" / "flan_cot_fewshot" / f"mmlu_{subject}.yaml"
    shipped = yaml.safe_load(path.read_text(encoding="utf-8"))["fewshot_config"]["samples"]
    found = []
    for example in shipped:
        parts = _CHOICES.match(example["question"])
        answer = _ANSWER.search(example["target"].strip())
        if parts is None or answer is None:
            raise EvaluationError(f"{path}: an example has no choices (A) to (D) or no answer")
        question, *choices = (" ".join(part.split()) for part in parts.groups() if part is not None)
        found.append({"question": question, "choices": choices, "answer": "ABCDE".index(answer[1])})
    return found


def _benchmark(task: MmluTask) -> Benchmark:
    folder, by_text = _FORMS[task.form], task.form == "continuation"
    return Benchmark(
        item=_question,
        packaged=lambda item: {"": f"{folder}/mmlu_{item['subject']}.yaml"},
        split="test",
        metrics={"accuracy": Metric("acc_norm" if by_text else "acc")},
        question="question",
        target=lambda item: str(item["choices"][item["answer"]]),
        choices=lambda item: list(item["choices"]),
        by_length=by_text,
        stratum="subject",
        examples=lambda item: {"dev": [{**shown, "subject": item["subject"]} for shown in examples(item["subject"])]},
    )


@cache
def _subjects() -> frozenset[str]:
    folder = packaged_tasks() / "mmlu" / "continuation"
    return frozenset(path.stem.removeprefix("mmlu_") for path in folder.glob("mmlu_*.yaml"))


def _question(row: Mapping[str, Any]) -> Item:
    """{subject, question, choices, answer (index)} of a row as cais/mmlu has it, or with an answer a field."""
    if "choices" in row:
        question, topic = texts_of(row, "question", "subject")
        choices, answer = list_of(row, "choices", str, len(_LETTERS)), row.get("answer")
        if len(choices) != len(_LETTERS) or answer not in range(len(_LETTERS)):
            raise ValueError(f"expected four choices and answer 0 to 3, found {len(choices)} and {answer!r}")
    else:
        fields = ("question", *(f"answer_{letter.lower()}" for letter in _LETTERS), "topic")
        question, *choices, topic = texts_of(row, *fields)
        if row.get("correct_answer") not in tuple(_LETTERS):
            raise ValueError(f"expected correct_answer A to D, found {row.get('correct_answer')!r}")
        answer = _LETTERS.index(row["correct_answer"])
    subject = topic.strip().lower().replace(" ", "_")
    if subject not in _subjects():
        raise ValueError(f"expected a subject of MMLU, found topic {topic!r}")
    return {"subject": subject, "question": question, "choices": choices, "answer": answer}
