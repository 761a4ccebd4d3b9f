"""Can the numbers of a run be trusted? What is counted of answers, and the rules that make a report invalid.

A model of NaNs scores like one that always answers "A", and a broken template like one with nothing to
say: both look like plain bad results. A report that breaks a rule is still written, with the reason.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from evaluation.task import Outcome

if TYPE_CHECKING:
    from models.answering import Response

_MOST_EMPTY = 0.5
"""Share of answers without text above which an evaluation has gone wrong, rather than the model."""

THOUGHT_ONLY = "thought_only"
"""Of answers: those of which there are thoughts alone, most often because they did not end in `thinking_tokens`. They
score as they are, and make no report invalid: the model did not answer."""

_TELLING = 20
"""Items from which the same choice every time is no accident."""


def of_answers(responses: Iterable["Response"]) -> dict[str, int]:
    """What can go wrong with written answers, counted."""
    given = list(responses)
    return {
        "nonfinite": sum(not response.finite for response in given),
        **wordless([response for response in given if not response.text]),
        "cut": sum(response.cut for response in given),
    }


def wordless(answers: Sequence[Any]) -> dict[str, int]:
    """Answers without words, counted: `empty` ones, and those that are thoughts alone, if there are any."""
    thought_only = sum(answer.thought_only for answer in answers)
    return {"empty": len(answers) - thought_only, **({THOUGHT_ONLY: thought_only} if thought_only else {})}


def problems(name: str, expected: int, outcome: Outcome) -> list[str]:
    """Why the outcome of task `name` is not valid: one sentence each, none if it is.

    expected: number of items that were drawn.
    """
    health, found = outcome.health, []
    items = {sample["doc_id"] for sample in outcome.samples}
    keys = Counter((sample["metric"], sample["doc_hash"]) for sample in outcome.samples)
    repeated = sum(count - 1 for count in keys.values())
    if len(items) != expected:
        found.append(f"{name}: {len(items)} of {expected} items were scored")
    if repeated:
        found.append(f"{name}: {repeated} items were scored twice")
    if health.get("nonfinite", 0):
        found.append(f"{name}: {health['nonfinite']} of {expected} items have NaN or infinite probabilities")
    if health.get("empty", 0) > _MOST_EMPTY * expected:
        found.append(f"{name}: {health['empty']} of {expected} answers are empty")
    if health.get("constant", 0) and expected >= _TELLING:
        found.append(f"{name}: the same choice for each of {expected} items")
    return [*found, *(f"{name}: {fault}" for fault in outcome.faults)]
