"""Held-out problems of the domain, each answer scored by the verifier that came with the problem.

`accuracy` counts exact answers: the verifier gives 1 to the whole answer without anything round it.
Verifiers of reasoning-gym also give a small score to an answer buried in text; a mean over these would
reward rambling, so they are only kept as health (`partial`).
"""

from dataclasses import dataclass
from typing import Any

from corpora.verifiers.checked import Unchecked
from corpora.verifiers.verifiers import scores
from evaluation.task import Outcome, Place, draw, read_rows
from evaluation.tasks.answers import outcome, unchecked
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Tick, generate
from recipes.suite import VerifierTask


@dataclass(frozen=True)
class Verifier:
    """Drawn problems: {task, arguments, question, answer, entry}; `entry` is what the verifier reads."""

    name: str
    items: list[dict[str, Any]]
    facts: dict[str, Any]
    max_new_tokens: int
    unit: str = "problems"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        prompts = [model.chat_prompt(item["question"]) for item in self.items]
        responses = generate(model, prompts, self.max_new_tokens, tick)
        found = scores([(item, response.text) for item, response in zip(self.items, responses, strict=True)])
        graded = [0.0 if isinstance(one, Unchecked) else one for one in found]
        scored = (
            {
                "task": self.name,
                "metric": "accuracy",
                "score": float(grade == 1.0),
                "higher_is_better": True,
                "prompt": item["question"],
                "target": item["answer"],
            }
            for item, grade in zip(self.items, graded, strict=True)
        )
        partial = sum(0 < grade < 1 for grade in graded)
        return outcome(self.items, prompts, responses, scored, {"partial": partial}, unchecked(found))


def prepare(name: str, task: VerifierTask, place: Place) -> Verifier:
    """Read and draw the problems, and try the verifier on their own answers.

    Raises EvaluationError if a problem's own answer does not score 1: such a verifier measures nothing.
    """
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    items = draw(where, rows.rows, task.limit, task.sample_seed)
    for index, own in enumerate(scores([(item, item["answer"]) for item in items]), start=1):
        if own != 1.0:
            raise EvaluationError(f"{where}.data: problem {index}: the verifier does not accept the problem's answer")
    facts = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates,
        "harness": "reasoning_gym",
        "prompts": "chat template, greedy answer",
    }
    return Verifier(name, items, facts, task.max_new_tokens)
