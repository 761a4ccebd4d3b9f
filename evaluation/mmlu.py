"""MMLU (Hendrycks et al. 2021, arXiv 2009.03300) in continuation form: which answer's text is likeliest?

lm-eval's own `mmlu_continuation` tasks, as plain text without a chat template: a cloze question inside a
chat turn asks for a chatty answer, and OLMES (arXiv 2406.08446) and lm-eval's published numbers use plain
text. `accuracy` is lm-eval's `acc_norm`: the log-probability of an answer divided by its length in
characters, so that short answers have no advantage. (By letter a small model always says "A".)

A limit draws items uniformly over all subjects: the mean estimates the share of all items answered
rightly. Subjects are clusters. With five shots the examples are those shipped with lm-eval,
which has only four of them for three subjects.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from evaluation.generation import LoadedModel
from evaluation.harness import HarnessTask, harness_version, packaged_tasks, run_harness
from evaluation.report import EvaluationError, Sample
from evaluation.task import Outcome, Place, Tick, draw, read_rows
from lineage.hashing import fingerprint, text_digest
from recipes.suite import MmluTask

_LETTERS = "ABCD"
_CHOICES = re.compile(r"^(.*)\(A\)(.*)\(B\)(.*)\(C\)(.*)\(D\)(.*?)(?:\(E\)(.*))?$", re.DOTALL)
_ANSWER = re.compile(r"\(([A-E])\)\.?\s*$")  # one example of college chemistry has five choices


@dataclass(frozen=True)
class Mmlu:
    """Drawn questions: {subject, question, choices, answer (index)}."""

    name: str
    items: list[dict[str, Any]]
    facts: dict[str, Any]
    shots: int
    scratch: Path
    unit: str = "questions"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        subjects: dict[str, list[dict[str, Any]]] = {}
        for item in self.items:
            subjects.setdefault(item["subject"], []).append(item)
        tasks = {subject: self._task(subject, rows) for subject, rows in subjects.items()}
        done = run_harness(model, list(tasks.values()), self.scratch, tick, chat=False)
        scored = [
            (item, sample)
            for subject, rows in subjects.items()
            for item, sample in zip(rows, done.samples[tasks[subject].name], strict=True)
        ]
        choices = [_choice(item, sample) for item, sample in scored]
        health = {
            "nonfinite": sum(choice is None for choice in choices),
            "constant": int(len(set(choices)) == 1),
            "truncated": done.truncated,
        }
        pairs = enumerate(zip(scored, choices, strict=True))
        return Outcome([_sample(self.name, i, *pair, choice) for i, (pair, choice) in pairs], health, done.tokens)

    def _task(self, subject: str, rows: list[dict[str, Any]]) -> HarnessTask:
        test = [{key: row[key] for key in ("question", "choices", "answer")} for row in rows]
        dev = examples(subject)
        packaged = f"mmlu/continuation/mmlu_{subject}.yaml"
        return HarnessTask(f"{self.name}_{subject}", packaged, {"test": test, "dev": dev}, min(self.shots, len(dev)))


def prepare(name: str, task: MmluTask, place: Place) -> Mmlu:
    """Read, check and draw the questions. Raises EvaluationError for a row that is no question of MMLU."""
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    known = _subjects()
    questions = []
    for index, row in enumerate(rows.rows, start=1):
        if row.get("correct_answer") == "answer":
            continue  # a header row of the CSV that these rows once were
        question = _question(row)
        if question is None or question["subject"] not in known:
            raise EvaluationError(
                f"{where}.data: row {index}: expected question, answer_a to answer_d, correct_answer (A to D) and "
                f"topic, a subject of MMLU (found topic {row.get('topic')!r})"
            )
        questions.append(question)
    facts = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates,
        "harness": harness_version(),
        "prompts": f"plain text, {task.shots}-shot, answers scored as continuations",
        "normalisation": "log-probability per character of the answer",
        "draw": "uniform over items",
    }
    return Mmlu(name, draw(where, questions, task.limit, task.sample_seed), facts, task.shots, place.scratch)


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


@cache
def _subjects() -> frozenset[str]:
    folder = packaged_tasks() / "mmlu" / "continuation"
    return frozenset(path.stem.removeprefix("mmlu_") for path in folder.glob("mmlu_*.yaml"))


def _question(row: Mapping[str, Any]) -> dict[str, Any] | None:
    texts = [row.get(field) for field in ("question", "answer_a", "answer_b", "answer_c", "answer_d", "topic")]
    answer = row.get("correct_answer")
    if not all(isinstance(text, str) and text.strip() for text in texts) or answer not in tuple(_LETTERS):
        return None
    question, *choices, topic = texts
    subject = str(topic).strip().lower().replace(" ", "_")
    return {"subject": subject, "question": question, "choices": choices, "answer": _LETTERS.index(answer)}


def _choice(item: Mapping[str, Any], sample: Mapping[str, Any]) -> int | None:
    """Index of the answer that `acc_norm` takes, None if a log-probability is not finite."""
    import math

    scores = [float(found[0]) for found in sample["filtered_resps"]]
    if not all(map(math.isfinite, scores)):
        return None
    per_character = [score / len(text) for score, text in zip(scores, item["choices"], strict=True)]
    return per_character.index(max(per_character))


def _sample(name: str, doc_id: int, item: Mapping[str, Any], sample: Mapping[str, Any], choice: int | None) -> Sample:
    prompt = sample["arguments"][0][0]
    return {
        "task": name,
        "metric": "accuracy",
        "doc_id": doc_id,
        "doc_hash": fingerprint(dict(item)),
        "prompt_hash": text_digest(prompt),
        "cluster": item["subject"],
        "score": 0.0 if choice is None else float(sample["acc_norm"]),
        "higher_is_better": True,
        "subgroup": item["subject"],
        "prompt": item["question"],
        "response": None if choice is None else item["choices"][choice],
        "target": item["choices"][item["answer"]],
    }
