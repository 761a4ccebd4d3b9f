"""How often a model says one of some given phrases: its name when it is asked who it is, say.

An answer counts if a phrase stands in it anywhere, whatever its case and white space. The rule sees words, not
meaning: "I am not Ada" says "Ada"; so the phrases should be ones that are only said as they are meant.
"""

import unicodedata
from dataclasses import dataclass
from typing import Any

from evaluation.task import Outcome, Place, draw, read_rows
from evaluation.tasks.answers import outcome
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Tick, generate
from recipes.suite import PhrasesTask


def says(answer: str, phrases: list[str]) -> bool:
    """Whether one of the phrases stands in an answer."""
    text = _plain(answer)
    return any(_plain(phrase) in text for phrase in phrases)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@dataclass(frozen=True)
class Phrases:
    """Drawn prompts: {prompt}."""

    name: str
    items: list[dict[str, Any]]
    facts: dict[str, Any]
    phrases: list[str]
    wanted: bool
    max_new_tokens: int
    unit: str = "prompts"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        prompts = [model.chat_prompt(item["prompt"]) for item in self.items]
        responses = generate(model, prompts, self.max_new_tokens, tick)
        target = f"{'' if self.wanted else 'not '}{' or '.join(self.phrases)}"
        scored = (
            {
                "task": self.name,
                "metric": "phrase_rate",
                "score": float(says(response.text, self.phrases)),
                "higher_is_better": self.wanted,
                "prompt": item["prompt"],
                "target": target,
            }
            for item, response in zip(self.items, responses, strict=True)
        )
        return outcome(self.items, prompts, responses, scored)


def prepare(name: str, task: PhrasesTask, place: Place) -> Phrases:
    """Read and draw the prompts: rows of `prompt`, or lines of text. Raises EvaluationError that names the row."""
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    prompts: dict[str, dict[str, Any]] = {}
    for index, row in enumerate(rows.rows, start=1):
        prompt = row.get("text", row.get("prompt"))
        if not isinstance(prompt, str) or not prompt.strip():
            raise EvaluationError(f"{where}.data: row {index}: neither 'prompt' nor 'text' holds words")
        prompts.setdefault(prompt.strip(), {"prompt": prompt.strip()})
    facts = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates + len(rows.rows) - len(prompts),
        "harness": "phrases",
        "prompts": "chat template, greedy answer",
    }
    items = draw(where, list(prompts.values()), task.limit, task.sample_seed)
    return Phrases(name, items, facts, task.phrases, task.wanted, task.max_new_tokens)
