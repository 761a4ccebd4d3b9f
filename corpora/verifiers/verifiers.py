"""What an answer to a row is checked by, where the row brings it: a verifier of reasoning-gym, or instructions.

A verifier is JSON that names what is to be checked, never how: the code is that of reasoning-gym and of lm-eval, and
runs in a process apart (`checked`). Only tasks that `recipes.gym_tasks` allows are scored at all. Evaluation scores
held-out problems by the same `scores` that training is rewarded by.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from corpora.verifiers.checked import Unchecked, checked
from corpora.verifiers.instructions import problem_of
from recipes import gym_tasks

GYM, INSTRUCTIONS = "gym", "instructions"

_PROBLEM = ("task", "arguments", "entry", "answer")
_CHECKED = ("prompt", "instruction_id_list", "kwargs")


def verifier_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The verifier of a source's row as JSON, `kind` being `gym` or `instructions`; None if it brings none.

    Raises ValueError if it brings one that cannot be trusted.
    """
    if (problem := refusal(row)) is not None:
        raise ValueError(problem)
    if _is_problem(row):
        verifier = {name: row[name] for name in _PROBLEM}
        (score,) = scores([(verifier, row["answer"])])
        if isinstance(score, Unchecked):
            raise ValueError(f"the verifier cannot check the problem's own answer: {score.reason}")
        if score != 1.0:
            raise ValueError("the verifier does not accept the problem's own answer")
        return {"kind": GYM, **verifier}
    if "instruction_id_list" in row:
        if (problem := problem_of(row)) is not None:
            raise ValueError(problem)
        return {"kind": INSTRUCTIONS, **{name: row[name] for name in _CHECKED}}
    return None


def refusal(row: Mapping[str, Any]) -> str | None:
    """Why a row is not to be used because of the verifier that it names; None if it may be, or names none."""
    if not _is_problem(row):
        return None
    if (problem := gym_tasks.refusal(row["task"])) is not None:
        return f"field 'task': {problem}"
    for name, kind in (("arguments", dict), ("entry", dict), ("answer", str)):
        if not isinstance(row[name], kind):
            return f"field '{name}' of a reasoning-gym problem is not {'a text' if kind is str else 'an object'}"
    return None


def scores(asked: Sequence[tuple[Mapping[str, Any], str]]) -> list[float | Unchecked]:
    """The score of each answer, from 0 to 1, by the verifier of its problem's task.

    Raises ValueError for a task that is not allowed.
    """
    for task in {problem["task"] for problem, _ in asked}:
        if (reason := gym_tasks.refusal(task)) is not None:
            raise ValueError(reason)
    fields = ("task", "arguments", "entry")
    return checked("gym", [{**{name: problem[name] for name in fields}, "answer": answer} for problem, answer in asked])


def score(problem: Mapping[str, Any], answer: str) -> float:
    """The score of one answer; 0 if it could not be checked."""
    (found,) = scores([(problem, answer)])
    return 0.0 if isinstance(found, Unchecked) else found


def _is_problem(row: Mapping[str, Any]) -> bool:
    return all(name in row for name in _PROBLEM)
