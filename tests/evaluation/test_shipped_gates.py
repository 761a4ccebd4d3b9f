"""The gate of every shipped recipe can open and can stay shut: an equal and better model passes, a worse one does not.

Reports have the suite's own sizes and metrics; items of MMLU are those that the task itself makes of rows of all
subjects, so that their groups are what the task says they are.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pytest

from evaluation.gating.gate import decide
from evaluation.report import Report, Sample
from evaluation.task import Place
from evaluation.tasks import mmlu, packaged
from evaluation.tasks.harness import HarnessResult, packaged_tasks
from recipes import paired
from recipes.load import SHIPPED, load_recipe
from recipes.power import power_of
from recipes.promotion import Guard
from recipes.schema import Recipe
from recipes.suite import MmluTask, Task
from tests.evaluation.made_reports import report, samples
from tests.evaluation.made_strata import MMLU

RECIPES = sorted(path.stem for path in SHIPPED.glob("*.yaml") if load_recipe(path).promotion)

ITEMS = {"ifeval": 541, "mmlu": 14_042, "harmful": 200, "benign": 150}
"""Of all rows of what the shipped recipes ask."""


def size(task: str, section: Task, folder: Path) -> int:
    made = dict(parse_qsl(section.data.uri.partition("?")[2])).get("size")
    if section.data.uri.endswith(".txt") and "://" not in section.data.uri:
        return len((folder / section.data.uri).read_text(encoding="utf-8").splitlines())
    return int(made or section.limit or ITEMS[task])


def lower_is_better(section: Task) -> bool:
    benign = section.kind == "refusal" and section.prompts == "benign"
    return benign or (section.kind == "phrases" and not section.wanted)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with as many questions of each subject as MMLU has."""
    folder = tmp_path_factory.mktemp("questions")
    names = sorted(path.stem for path in (packaged_tasks() / "mmlu" / "continuation").glob("mmlu_*.yaml"))
    with (folder / "mmlu.jsonl").open("w", encoding="utf-8") as file:
        for name, count in zip(names, MMLU, strict=True):
            for number in range(count):
                asked = {"question": f"{name} {number}?", "subject": name.removeprefix("mmlu_")}
                file.write(json.dumps({**asked, "choices": ["a", "b", "c", "d"], "answer": number % 4}) + "\n")
    return folder


def asked(name: str, section: MmluTask, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """The samples that the task makes of its items, whatever their scores."""

    def answered(model: Any, tasks: Any, *args: Any, **options: Any) -> HarnessResult:
        one = {"filter": "none", "acc": 0.0, "acc_norm": 0.0, "filtered_resps": [[-1.0], [-2.0], [-3.0], [-4.0]]}
        found = {
            task.name: [
                {**one, "doc_id": index, "doc": item, "arguments": [[item["question"]]]}
                for index, item in enumerate(task.splits["test"])
            ]
            for task in tasks
        }
        return HarnessResult(found, {}, 0, 0)

    monkeypatch.setattr(packaged, "run_harness", answered)
    section = section.model_copy(update={"data": section.data.model_copy(update={"uri": "mmlu.jsonl", "sha256": None})})
    return mmlu.prepare(name, section, Place(folder, folder, folder)).run(None, lambda done: None).samples  # type: ignore[arg-type]


class Judged:
    """A recipe's promotion on made outcomes."""

    def __init__(self, recipe: Recipe, items: Callable[[str, MmluTask], list[Sample]]) -> None:
        self.recipe, self.rows = recipe, {}
        named = [one.metric for one in (*recipe.promotion.targets, *recipe.promotion.guards)]
        for metric in named:
            name = metric.partition("/")[0]
            section = recipe.evaluation.tasks[name]
            if isinstance(section, MmluTask):
                self.rows[metric] = [{**row, "prompt": None, "response": None} for row in items(name, section)]
            else:
                n = size(name, section, SHIPPED)
                self.rows[metric] = samples(metric, [0] * n, higher=not lower_is_better(section), text=False)

        # base: a twentieth on the targets, under half of what a guard wants, a tenth of what it does not want
        self.scores = {target.metric: self._share(target.metric, 0.05) for target in recipe.promotion.targets}
        for guard in recipe.promotion.guards:
            level = 0.45 if self.rows[guard.metric][0]["higher_is_better"] else 0.1
            self.scores[guard.metric] = self._share(guard.metric, level)
        self.report = self._report("base", self.scores)

    def n(self, metric: str) -> int:
        return len(self.rows[metric])

    def better(self) -> dict[str, np.ndarray]:
        """Targets better by what is asked for and three standard errors."""
        gains = {
            target.metric: target.min_gain + min(0.3, 3 / math.sqrt(self.n(target.metric)))
            for target in self.recipe.promotion.targets
        }
        return {metric: self._share(metric, 0.05 + gain) for metric, gain in gains.items()}

    def changed(self, guard: Guard, lost: float = 0.0) -> np.ndarray:
        """As many items won and lost as are planned for, and `lost` more lost; spread over all items."""
        half = next(power.discordance for power in power_of(self.recipe) if power.guard == guard) / 2
        higher, scores = self.rows[guard.metric][0]["higher_is_better"], self.scores[guard.metric]
        good, rng = scores == (1.0 if higher else 0.0), np.random.default_rng(1)
        won = rng.permutation(np.flatnonzero(~good))[: round(half * len(scores))]
        turned = rng.permutation(np.flatnonzero(good))[: len(won) + math.ceil(lost * len(scores))]
        found = scores.copy()
        found[won], found[turned] = 1 - found[won], 1 - found[turned]
        return found

    def verdict(self, scores: Mapping[str, np.ndarray]) -> str:
        """Of a candidate with these scores."""
        candidate = self._report("candidate", {**self.scores, **scores})
        base = self.report
        return decide(self.recipe.promotion, candidate, base, base, reference_kind="base", overridden=False).verdict

    def _share(self, metric: str, share: float) -> np.ndarray:
        """So many ones, spread over all items."""
        n = self.n(metric)
        return np.random.default_rng(2).permutation(np.r_[np.ones(round(share * n)), np.zeros(n - round(share * n))])

    def _report(self, name: str, scores: Mapping[str, np.ndarray]) -> Report:
        rows = [
            {**row, "score": float(score)}
            for metric, values in scores.items()
            for row, score in zip(self.rows[metric], values, strict=True)
        ]
        return report(name, rows)  # type: ignore[arg-type]


@pytest.fixture(params=RECIPES)
def judged(request: pytest.FixtureRequest, questions: Path, monkeypatch: pytest.MonkeyPatch) -> Judged:
    recipe = load_recipe(SHIPPED / f"{request.param}.yaml")
    return Judged(recipe, lambda name, section: asked(name, section, questions, monkeypatch))


def test_the_gate_opens_for_the_better_and_for_nobody_else(judged: Judged) -> None:
    better, guards = judged.better(), judged.recipe.promotion.guards
    assert judged.verdict(better) == "pass"  # equal answers to what guards ask
    equal = {guard.metric: judged.changed(guard) for guard in guards}
    assert judged.verdict({**better, **equal}) == "pass"
    assert judged.verdict(equal) in ("fail", "inconclusive")
    for guard in guards:
        worse = {guard.metric: judged.changed(guard, lost=guard.margin)}
        assert judged.verdict({**better, **equal, **worse}) in ("fail", "inconclusive")


@pytest.mark.parametrize("name", RECIPES)
def test_its_guards_were_planned_with_the_power_that_it_asks_for(name: str) -> None:
    recipe = load_recipe(SHIPPED / f"{name}.yaml")
    for power in power_of(recipe):
        task = power.guard.metric.partition("/")[0]
        changes, n = power.discordance / 2, size(task, recipe.evaluation.tasks[task], SHIPPED)
        chance = paired.chance(n, changes, changes, -power.guard.margin, recipe.promotion.alpha)
        assert chance >= recipe.promotion.power and power.items in (None, n)
