"""A benchmark that lm-eval packages, from the rows of its data set to the samples of a report.

What tells one benchmark from another is a `Benchmark`: how a row becomes an item, which packaged task asks it, and
which of lm-eval's numbers are its metrics. `mmlu` has one, `benchmarks` the table of the others. Prompts, examples
and scoring are lm-eval's (`evaluation.tasks.harness`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.health import wordless
from evaluation.report import Sample
from evaluation.task import Outcome, Place, draw, read_rows
from evaluation.tasks.harness import HarnessResult, HarnessTask, harness_version, run_harness
from lineage.errors import EvaluationError
from lineage.hashing import fingerprint, text_digest
from models.answering import LoadedModel, Tick
from recipes.sources import Origin
from recipes.suite import TaskBase

Item = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """One of lm-eval's numbers: its name there, the part of the benchmark and the filter that give it."""

    key: str
    part: str = ""
    filter: str = "none"


@dataclass(frozen=True)
class Benchmark:
    """See the module.

    item: of a row; raises ValueError that names the field which is wrong. packaged: by part of the benchmark, the YAML
    in lm_eval/tasks that asks an item; most have one part, "". split: the one that YAML reads items from. metrics: by
    the name they get in a report. question: the item's field for a person to read. target: the right answer, likewise.
    choices: texts of the answers whose likelihoods are compared, None where the answer is written; by_length: compared
    per character. stratum: the item's field that names the fixed part of the benchmark that it belongs to. examples:
    worked examples by split, for an item's packaged task. chat: whether the chat template is applied. settings: of the
    YAML, replaced.
    """

    item: Callable[[Mapping[str, Any]], Item]
    packaged: Callable[[Item], dict[str, str]]
    split: str
    metrics: Mapping[str, Metric]
    question: str
    target: Callable[[Item], str]
    choices: Callable[[Item], list[str]] | None = None
    by_length: bool = False
    stratum: str | None = None
    examples: Callable[[Item], dict[str, list[Item]]] = field(default=lambda item: {})
    chat: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Packaged:
    """Drawn items of a benchmark."""

    name: str
    benchmark: Benchmark
    items: list[Item]
    facts: dict[str, Any]
    shots: int
    scratch: Path
    max_new_tokens: int | None = None
    unit: str = "questions"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        asked = self._asked()
        tasks = [self._task(path, [self.items[index] for index in places]) for path, places in asked.items()]
        done = run_harness(
            model, tasks, self.scratch, tick, chat=self.benchmark.chat, max_new_tokens=self.max_new_tokens
        )
        found = {
            (index, path, str(scored["filter"])): scored
            for task, (path, places) in zip(tasks, asked.items(), strict=True)
            for scored in done.samples[task.name]
            for index in [places[int(scored["doc_id"])]]
        }
        written = self.benchmark.choices is None
        answers = [self._written(i, found, done) if written else self._chosen(i, found) for i in range(len(self.items))]
        samples = [sample for i, answer in enumerate(answers) for sample in self._samples(i, answer, found)]
        return Outcome(samples, self._health(answers, done), done.tokens)

    def _asked(self) -> dict[str, list[int]]:
        """Places of the items that each packaged task asks."""
        asked: dict[str, list[int]] = {}
        for index, item in enumerate(self.items):
            for path in self.benchmark.packaged(item).values():
                asked.setdefault(path, []).append(index)
        return asked

    def _task(self, path: str, items: Sequence[Item]) -> HarnessTask:
        examples = self.benchmark.examples(items[0])
        shots = min([self.shots, *map(len, examples.values())])
        splits = {self.benchmark.split: list(items), **examples}
        return HarnessTask(f"{self.name}_{Path(path).stem}", path, splits, shots, self.benchmark.settings)

    def _written(self, index: int, found: "_Found", done: HarnessResult) -> "_Answer":
        scored = self._scored(index, found)
        response = done.responses[scored[0]["arguments"][0][0]]
        return _Answer(None, response.text, response.finite, response.cut, thought_only=response.thought_only)

    def _chosen(self, index: int, found: "_Found") -> "_Answer":
        """The answer that the first metric takes for the model's own."""
        choices = self.benchmark.choices(self.items[index]) if self.benchmark.choices else []
        scored = self._scored(index, found)
        finite = all(math.isfinite(value) for one in scored for value in _logprobs(one))
        if not finite:
            return _Answer(None, None, False)
        logprobs = _logprobs(scored[0])
        if self.benchmark.by_length:
            logprobs = [value / len(text) for value, text in zip(logprobs, choices, strict=True)]
        place = logprobs.index(max(logprobs))
        return _Answer(place, choices[place], True, confidence=_confidence(logprobs))

    def _scored(self, index: int, found: "_Found") -> list[dict[str, Any]]:
        """What lm-eval says of an item, in the order of the metrics."""
        paths = self.benchmark.packaged(self.items[index])
        return [found[index, paths[metric.part], metric.filter] for metric in self.benchmark.metrics.values()]

    def _samples(self, index: int, answer: "_Answer", found: "_Found") -> list[Sample]:
        item = self.items[index]
        digest = fingerprint(item)
        stratum = item[self.benchmark.stratum] if self.benchmark.stratum else None
        return [
            {
                "task": self.name,
                "metric": name,
                "doc_id": index,
                "doc_hash": digest,
                "prompt_hash": text_digest(scored["arguments"][0][0]),
                "cluster": digest,
                "stratum": stratum,
                "score": _score(scored, metric.key) if answer.finite else 0.0,
                "higher_is_better": True,
                "subgroup": stratum,
                "prompt": item[self.benchmark.question],
                "response": answer.text,
                "target": self.benchmark.target(item),
                "confidence": answer.confidence,
            }
            for (name, metric), scored in zip(self.benchmark.metrics.items(), self._scored(index, found), strict=True)
        ]

    def _health(self, answers: Sequence["_Answer"], done: HarnessResult) -> dict[str, int]:
        nonfinite = sum(not answer.finite for answer in answers)
        if self.benchmark.choices is None:
            silent = [answer for answer in answers if not (answer.text or "").strip()]
            found = {"nonfinite": nonfinite, "cut": sum(answer.cut for answer in answers)}
            return found | wordless(silent)
        same = len({answer.choice for answer in answers}) == 1
        right = {self.benchmark.target(item) == self.benchmark.choices(item)[0] for item in self.items}
        constant = same and right != {True}  # where the first choice is always right, a perfect model is constant
        return {"nonfinite": nonfinite, "constant": int(constant), "truncated": done.truncated}


_Found = Mapping[tuple[int, str, str], dict[str, Any]]
"""lm-eval's samples by item, packaged task and filter."""


@dataclass(frozen=True)
class _Answer:
    """What the model answered: the place of its choice, with its share in the softmax over all, or its words."""

    choice: int | None
    text: str | None
    finite: bool
    cut: bool = False
    confidence: float | None = None
    thought_only: bool = False


def prepared(
    name: str,
    task: TaskBase,
    data: Origin,
    place: Place,
    benchmark: Benchmark,
    facts: Mapping[str, Any] | None = None,
    shots: int = 0,
) -> Packaged:
    """The items in a task's data, each once, and of these the drawn ones. facts: further ones for the report.

    Raises EvaluationError that names the row and the field.
    """
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", data, place)
    distinct = {fingerprint(item): item for item in items_of(f"{where}.data", rows.rows, benchmark)}
    items = draw(where, list(distinct.values()), task.limit, task.sample_seed)
    told = "chat template, greedy answer" if benchmark.chat else "plain text, likelihoods of the answers"
    stated = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates + len(rows.rows) - len(distinct),
        "harness": harness_version(),
        "prompts": f"{told}, {shots}-shot",
        **(facts or {}),
    }
    return Packaged(
        name, benchmark, items, stated, shots, place.scratch, getattr(task, "max_new_tokens", None), task.unit
    )


def items_of(where: str, rows: Sequence[Mapping[str, Any]], benchmark: Benchmark) -> list[Item]:
    """The item of every row. Raises EvaluationError that names the row and what is wrong with it."""
    items = []
    for index, row in enumerate(rows, start=1):
        try:
            items.append(benchmark.item(row))
        except ValueError as error:
            raise EvaluationError(f"{where}: row {index}: {error}") from None
    return items


def texts_of(row: Mapping[str, Any], *fields: str) -> list[str]:
    """The texts in some fields of a row. Raises ValueError for one that is missing, empty or no text."""
    for name in fields:
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise ValueError(f"expected text in field '{name}', found {_shown(row, name)}")
    return [row[name] for name in fields]


def list_of(row: Mapping[str, Any], name: str, kind: type, least: int = 1) -> list[Any]:
    """A list of `kind` in a field of a row. Raises ValueError for anything else, or fewer than `least`."""
    values = row.get(name)
    if not isinstance(values, list) or len(values) < least or not all(isinstance(value, kind) for value in values):
        raise ValueError(f"expected {least} or more of {kind.__name__} in field '{name}', found {_shown(row, name)}")
    return values


def _shown(row: Mapping[str, Any], name: str) -> str:
    """What a field holds, without its words."""
    if name not in row:
        return f"fields {sorted(row)}"
    return "nothing" if row[name] in (None, "", []) else type(row[name]).__name__


def _logprobs(scored: Mapping[str, Any]) -> list[float]:
    return [float(one[0]) for one in scored["filtered_resps"]]


def _confidence(ranked: Sequence[float]) -> float:
    """Share of the best in the softmax of what the choices are ranked by."""
    return 1 / math.fsum(math.exp(value - max(ranked)) for value in ranked)


def _score(scored: Mapping[str, Any], key: str) -> float:
    """lm-eval's number; where its probabilities are all too small for a float, their shares by the same formula."""
    value = float(scored[key])
    if math.isfinite(value):
        return min(1.0, value)  # a share of probability may be 1 and a rounding
    logprobs, labels = _logprobs(scored), scored["doc"]["mc2_targets"]["labels"]
    shares = [math.exp(logprob - max(logprobs)) for logprob in logprobs]
    return math.fsum(s for s, label in zip(shares, labels, strict=True) if label == 1) / math.fsum(shares)
