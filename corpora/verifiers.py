"""What an answer to a row is checked by, where the row brings it: a verifier of reasoning-gym, or instructions.

A verifier is JSON that names what is to be checked, never how: the code is that of reasoning-gym and of lm-eval.
Evaluation scores held-out problems by the same `score` that training is rewarded by.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from corpora.instructions import problem_of
from lineage.hashing import canonical_json

GYM, INSTRUCTIONS = "gym", "instructions"

_PROBLEM = ("task", "arguments", "entry", "answer")
_CHECKED = ("prompt", "instruction_id_list", "kwargs")


def verifier_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The verifier of a source's row as JSON, `kind` being `gym` or `instructions`; None if it brings none.

    Raises ValueError if it brings one that cannot be trusted.
    """
    if all(name in row for name in _PROBLEM):
        verifier = {name: row[name] for name in _PROBLEM}
        if score(verifier, row["answer"]) != 1.0:
            raise ValueError("the verifier does not accept the problem's own answer")
        return {"kind": GYM, **verifier}
    if "instruction_id_list" in row:
        if (problem := problem_of(row)) is not None:
            raise ValueError(problem)
        return {"kind": INSTRUCTIONS, **{name: row[name] for name in _CHECKED}}
    return None


def score(problem: Mapping[str, Any], answer: str) -> float:
    """The score of an answer, from 0 to 1, by the verifier of the problem's task."""
    verifier = _verifier(problem["task"], canonical_json(problem["arguments"]))
    return float(verifier.score_answer(answer.strip(), entry=problem["entry"]))


@cache
def _verifier(task: str, arguments: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(task, size=1, seed=0, **json.loads(arguments))
