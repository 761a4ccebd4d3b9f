"""Code that a model writes, run against tests, as HumanEval does (Chen et al. 2021, arXiv 2107.03374).

The prompt is that of lm-eval's `humaneval_instruct`: the function's head and description in a user turn, and again at
the beginning of the answer, which the model goes on writing. lm-eval's own task loads its scorer from a hub and runs
programs in this process, so neither is used. A program is what was asked and the answer; it passes (`pass_rate`) if
the item's tests, which call it from another process, come to their end. Both run in sandboxes
(`evaluation.tasks.sandbox`), and only for a recipe that allows it.
"""

import platform
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from evaluation.task import Outcome, Place, draw, read_rows
from evaluation.tasks import sandbox
from evaluation.tasks.answers import outcome
from evaluation.tasks.packaged import texts_of
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Tick, generate
from recipes.suite import CodeTask

_ASKED = "Write a solution to the following problem and make sure that it passes the tests:\n```python\n{prompt}\n```\n"
_BEGUN = "Here is the completed function:\n```python\n{prompt}\n"
_UNTIL = ("\nclass", "\ndef", "\n#", "\nif", "\nprint", "```")


@dataclass(frozen=True)
class Code:
    """Drawn problems: {task_id, prompt, test, entry_point}."""

    name: str
    items: list[dict[str, Any]]
    facts: dict[str, Any]
    limits: sandbox.Limits
    max_new_tokens: int
    unit: str = "problems"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        prompts = [
            model.chat_prompt(_ASKED.format(prompt=item["prompt"])) + _BEGUN.format(prompt=item["prompt"])
            for item in self.items
        ]
        responses = generate(model, prompts, self.max_new_tokens, tick, _UNTIL)
        ended: list[sandbox.Ended] = []
        for item, response in zip(self.items, responses, strict=True):
            tick(len(self.items))
            ended.append(sandbox.run(program_of(item, response.text), self.limits))
        scored = (
            {
                "task": self.name,
                "metric": "pass_rate",
                "score": float(how == "passed"),
                "higher_is_better": True,
                "prompt": item["prompt"],
                "target": item["test"],
            }
            for item, how in zip(self.items, ended, strict=True)
        )
        counts = Counter(ended)
        details = {
            "programs that passed their tests": counts["passed"],
            "programs that ended with an error": counts["failed"],
            "programs stopped when their time was over": counts["stopped"],
            "programs whose tests need what is no plain data": counts["foreign"],
        }
        return outcome(self.items, prompts, responses, scored, details=details)


def prepare(name: str, task: CodeTask, place: Place) -> Code:
    """Read, check and draw the problems, and see that the sandbox holds.

    Raises EvaluationError for a row that is none, or where no sandbox can be made.
    """
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    fields = ("task_id", "prompt", "test", "entry_point")
    items = []
    for index, row in enumerate(rows.rows, start=1):
        try:
            item = dict(zip(fields, texts_of(row, *fields), strict=True))
            if not item["entry_point"].isidentifier():
                raise ValueError("expected the name of a function in field 'entry_point'")
        except ValueError as error:
            raise EvaluationError(f"{where}.data: row {index}: {error}") from None
        items.append(item)
    limits = sandbox.Limits(task.seconds, task.memory_mb)
    try:
        sandbox.probe(limits)
    except EvaluationError as error:
        raise EvaluationError(f"{where}: {error}") from None
    facts = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates,
        "harness": "sandbox",
        "prompts": "chat template, answer begun with the function's head, greedy",
        "python": platform.python_version(),
        "limits": asdict(limits),
    }
    return Code(name, draw(where, items, task.limit, task.sample_seed), facts, limits, task.max_new_tokens)


def program_of(item: dict[str, Any], answer: str) -> sandbox.Tested:
    """What is run for an answer, and by what it is judged."""
    return sandbox.Tested(f"{item['prompt']}{answer}\n", item["test"], item["entry_point"], item["prompt"])
