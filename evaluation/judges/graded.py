"""How good is an answer, from 1 to 10? A judge grades each answer of a conversation (MT-Bench, Zheng et al. 2023).

A score is (grade - 1) / 9. The turns of one conversation are a cluster. A reply without a grade counts as the middle of
the scale, and too many of them make the report invalid. There are no places to prefer here, but there is length: the
report says how much a grade changes as answers double in length, over items.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.judges.items import JudgedItem, converse, items_of
from evaluation.judges.judge import Judging, Reply, judged
from evaluation.judges.length_control import Estimate
from evaluation.judges.prompts import GRADING, grading, read_grade
from evaluation.report import Sample
from evaluation.task import Outcome, Place, read_rows
from lineage.hashing import fingerprint
from models.answering import LoadedModel, Tick
from recipes.suite import GradedJudgeTask

_FEWEST = 8
"""Items from which a slope is worth fitting."""


@dataclass(frozen=True)
class GradedJudge:
    """Drawn items, and a judge that was met."""

    name: str
    items: list[JudgedItem]
    facts: dict[str, Any]
    task: GradedJudgeTask
    judging: Judging
    unit: str = "conversations"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        answers, hashes = converse(model, self.items, self.task.max_new_tokens, lambda done: tick(done // 2))
        texts = [[response.text for response in given] for given in answers]
        places = [(index, turn) for index, item in enumerate(self.items) for turn in range(len(item.turns))]
        prompts = [grading(self.items[index], texts[index][: turn + 1]) for index, turn in places]
        half = len(self.items) // 2
        replies = self.judging.ask(prompts, read_grade, lambda done: tick(half + done * half // len(places)))
        tick(len(self.items))
        samples = [
            self._sample(place, hashes[place[0]], texts[place[0]], reply)
            for place, reply in zip(places, replies, strict=True)
        ]
        details = findings(places, texts, replies, self.task)
        return judged(samples, answers, replies, details, self.task.max_unparsed)

    def _sample(self, place: tuple[int, int], prompt_hash: str, texts: Sequence[str], reply: Reply) -> Sample:
        index, turn = place
        item, kept = self.items[index], not self.task.sensitive
        return {
            "task": self.name,
            "metric": "grade",
            "doc_id": index,
            "doc_hash": fingerprint([item.digest, turn]),
            "prompt_hash": prompt_hash,
            "question_hash": item.question_hash,
            "cluster": item.digest,
            "score": 0.5 if reply.verdict is None else (reply.verdict - 1) / 9,
            "higher_is_better": True,
            "subgroup": f"turn {turn + 1}" if len(item.turns) > 1 else item.category,
            "prompt": item.turns[turn] if kept else None,
            "response": texts[turn] if kept else None,
            "target": f"judge: {reply.text}" if kept else None,
        }


def prepare(name: str, task: GradedJudgeTask, place: Place) -> GradedJudge:
    """Read and draw the items, and meet the judge."""
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    items = items_of(where, task, rows.rows, baseline=None)
    judging = Judging.of(where, task, place)
    facts = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates,
        "harness": "judge",
        "prompts": "chat template, greedy answer to each turn",
        "advisory": task.advisory,
        "texts_kept": not task.sensitive,
        **judging.facts(GRADING),
    }
    return GradedJudge(name, items, facts, task, judging)


def findings(
    places: Sequence[tuple[int, int]],
    texts: Sequence[Sequence[str]],
    replies: Sequence[Reply],
    task: GradedJudgeTask,
) -> dict[str, Any]:
    """What the report says of the judge, in figures and in words."""
    graded = [(p, reply.verdict) for p, reply in zip(places, replies, strict=True) if reply.verdict is not None]
    turns = sorted({turn for (_, turn), _ in graded})
    by_turn = {turn: [grade for (_, other), grade in graded if other == turn] for turn in turns}
    means = {f"turn {turn + 1}": round(sum(grades) / len(grades), 3) for turn, grades in by_turn.items()}
    words = [f"Mean grade of {name}: {mean:.2f} of 10." for name, mean in means.items()]
    per_item: dict[int, list[tuple[int, int]]] = {}
    for (index, turn), grade in graded:
        per_item.setdefault(index, []).append((len(texts[index][turn]), grade))
    slope = _slope(list(per_item.values()))
    if slope is None:
        words.append("Whether length matters to the judge cannot be told: too few items, or lengths that do not vary.")
    else:
        leaning = "rise" if slope.low > 0 else "fall" if slope.high < 0 else "do not clearly change"
        words.append(
            f"Grades {leaning} with length: {slope.value:+.2f} ({slope.low:+.2f} to {slope.high:+.2f}) each time an "
            "answer is twice as long. Longer answers may be better ones: this is no proof of a preference."
        )
    return {
        "in_words": words,
        "judge": {"model": task.judge.model, "answered_as": sorted({reply.model for reply in replies})},
        "advisory": task.advisory,
        "mean_grades": means,
        "replies": len(replies),
        "replies_without_verdict": sum(reply.verdict is None for reply in replies),
        **({"length": {"grades_per_doubling": slope.to_json()}} if slope else {}),
    }


def _slope(items: Sequence[Sequence[tuple[int, int]]]) -> Estimate | None:
    """Grades gained as an item's answers double in length, by least squares over items."""
    from scipy.stats import linregress, t

    lengths = [math.log2(1 + sum(length for length, _ in one) / len(one)) for one in items]
    grades = [sum(grade for _, grade in one) / len(one) for one in items]
    if len(items) < _FEWEST or len(set(lengths)) < 2:
        return None
    fit = linregress(lengths, grades)
    reach = float(t.ppf(0.975, len(items) - 2)) * float(fit.stderr)
    return Estimate(float(fit.slope), float(fit.slope) - reach, float(fit.slope) + reach)
