"""Is an answer better than a baseline's? A judge compares them in both orders (AlpacaEval 2, Arena-Hard, MT-Bench).

Each pair is judged twice, with either answer first. Only what both verdicts agree on is a win (1) or a loss (0);
verdicts that contradict each other are a tie (0.5), and so is a pair with a reply that cannot be read. What the
verdicts say of the judge is `judge_bias`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpora.formats.conversations import value_or_none
from evaluation.judges.bias import Judged, findings
from evaluation.judges.items import JudgedItem, converse, items_of
from evaluation.judges.judge import Judging, judged
from evaluation.judges.length_control import blocks, values_by_block
from evaluation.judges.prompts import comparing, comparison, read_comparison
from evaluation.report import Sample
from evaluation.task import Outcome, Place, read_rows
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Tick
from recipes.suite import PairwiseJudgeTask


@dataclass(frozen=True)
class PairwiseJudge:
    """Drawn items with a baseline's answers, and a judge that was met."""

    name: str
    items: list[JudgedItem]
    facts: dict[str, Any]
    task: PairwiseJudgeTask
    judging: Judging
    unit: str = "comparisons"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        half = len(self.items) // 2
        answers, hashes = converse(model, self.items, self.task.max_new_tokens, lambda done: tick(done // 2))
        texts = [[response.text for response in given] for given in answers]
        pairs = [(item, ours, item.baseline or []) for item, ours in zip(self.items, texts, strict=True)]
        levels = self.task.levels
        prompts = [
            comparison(item, *order, levels) for item, ours, base in pairs for order in ((ours, base), (base, ours))
        ]
        replies = self.judging.ask(prompts, read_comparison(levels), lambda done: tick(half + done // 4))
        compared = [
            Judged((replies[2 * i], replies[2 * i + 1]), sum(map(len, ours)), sum(map(len, base)))
            for i, (_, ours, base) in enumerate(pairs)
        ]
        tick(len(self.items))
        details = findings(compared, self.task, replies)
        return judged(self._samples(hashes, texts, compared), answers, replies, details, self.task.max_unparsed)

    def _samples(
        self, hashes: Sequence[str], texts: Sequence[Sequence[str]], compared: Sequence[Judged]
    ) -> list[Sample]:
        """The win rate's samples with the texts, and the length-controlled one's without."""
        members = blocks([item.digest for item in self.items])
        levels = values_by_block(
            members,
            [one.score for one in compared],
            [one.difference for one in compared],
            [one.verdicts is not None for one in compared],
        )
        samples: list[Sample] = []
        for index, (item, one) in enumerate(zip(self.items, compared, strict=True)):
            shared: Any = {
                "task": self.name,
                "doc_id": index,
                "doc_hash": item.digest,
                "prompt_hash": hashes[index],
                "question_hash": item.question_hash,
                "higher_is_better": True,
                "subgroup": item.category,
            }
            kept = not self.task.sensitive
            said = "\n".join(
                f"judge, our answer {place}: {reply.text}"
                for place, reply in zip(("first", "second"), one.replies, strict=True)
            )
            won: Any = {
                **shared,
                "metric": "win_rate",
                "cluster": item.digest,
                "score": one.score,
                "prompt": "\n\n".join(item.turns) if kept else None,
                "response": "\n\n".join(texts[index]) if kept else None,
                "target": said if kept else None,
            }
            controlled: Any = {
                **shared,
                "metric": "length_controlled_win_rate",
                "cluster": f"block {members[index]}",
                "score": levels[index],
            }
            samples += [won, controlled]
        return samples


def prepare(name: str, task: PairwiseJudgeTask, place: Place) -> PairwiseJudge:
    """Read and draw the items, and meet the judge."""
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    answers = read_rows(f"{where}.answers", task.answers, place) if task.answers else None
    items = items_of(where, task, rows.rows, _met(where, task, rows.rows, answers.rows) if answers else rows.rows)
    judging = Judging.of(where, task, place)
    facts = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates,
        **({"answers_digest": answers.digest} if answers else {}),
        "harness": "judge",
        "prompts": "chat template, greedy answer",
        "orders": "both, contradicting verdicts are ties",
        "advisory": task.advisory,
        "texts_kept": not task.sensitive,
        **judging.facts(comparing(task.levels)),
    }
    return PairwiseJudge(name, items, facts, task, judging)


def _met(
    where: str, task: PairwiseJudgeTask, rows: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """For each row the row of answers with its id. Raises EvaluationError for one that has none."""
    by_id = {value_or_none(row, task.columns.id): row for row in answers}
    ids = [value_or_none(row, task.columns.id) for row in rows]
    for index, one in enumerate(ids, start=1):
        if not isinstance(one, str | int) or one not in by_id:
            raise EvaluationError(
                f"{where}.answers: no row with the '{task.columns.id}' of row {index} of the data; see columns.id"
            )
    return [by_id[one] for one in ids]
