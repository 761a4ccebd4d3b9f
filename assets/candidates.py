"""Candidates: answers that a checkpoint of the graph gives to prompts, and the signals on them, each its own node."""

from pathlib import Path
from typing import Any

from assets.corpora import BEST_OF_N
from assets.pipeline import Pipeline
from corpora.cleaning import clean as cleaning
from corpora.contamination import items, screen
from corpora.feedback import best_of_n
from corpora.feedback import signals as measuring
from corpora.feedback.candidates import Measured
from corpora.feedback.prompts import NLTK
from lineage.node import Given, Markdown, Node, as_code
from lineage.store import Artifact
from recipes.candidates import BestOfN, Candidates, InstructionsSignal, ModelSignal, Signal
from recipes.mixtures import Preferences
from recipes.schema import identity
from training.stages import version_of

_SHOWN, _LONGEST = 5, 200
"""Prompts that are shown with their best and worst answer, and characters of each text."""
_BAR = "\\|"
"""A bar inside a cell of a table."""


class CandidateRows(Node):
    """Several answers of one checkpoint to each prompt. Their identity holds no signal: a new one leaves them alone."""

    kind = checks = job = "candidates"
    gpu = True

    def __init__(self, pipeline: Pipeline, name: str, section: Candidates) -> None:
        self._section = section
        described = (
            f"{section.samples} answers of {section.checkpoint} to each of prompts/{section.prompts}, "
            f"at temperature {section.temperature:g}."
        )
        upstream = (section.checkpoint, f"prompts/{section.prompts}")
        super().__init__(pipeline.name, f"candidates/{name}", described, upstream)

    def version(self) -> dict[str, Any]:
        return {"version": version_of("candidates"), "config": self._section.drawn_as()}

    def takes(self, given: Given) -> dict[str, Artifact]:
        checkpoint, prompts = (given[name] for name in self.upstream)
        return {"checkpoint": checkpoint, "prompts": prompts}

    def config(self, given: Given) -> dict[str, Any]:
        return self._section.model_dump(mode="json", exclude={"signals"})

    def execution(self) -> dict[str, Any]:
        return self._section.execution.model_dump(mode="json")

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        return {"dagster/row_count": artifact.metrics["prompts"]}


class SignalOn(Node):
    """A number for every candidate."""

    kind = checks = "signal"

    def __init__(
        self, pipeline: Pipeline, candidates: str, section: Candidates, name: str, more: tuple[str, ...] = ()
    ) -> None:
        """more: nodes that it needs beside the candidates."""
        self._name, self._signal = name, section.signals[name]
        self._candidates, self._prompts = f"candidates/{candidates}", f"prompts/{section.prompts}"
        needs = (self._prompts,) if isinstance(self._signal, InstructionsSignal) else ()
        described = f"{_title(self._signal)} of every answer of candidates/{candidates}."
        super().__init__(pipeline.name, f"signals/{candidates}/{name}", described, (self._candidates, *needs, *more))

    def version(self) -> dict[str, Any]:
        return {"version": self._signal.version, "config": self._signal.model_dump(mode="json")}

    def config(self, given: Given) -> dict[str, Any]:
        return self._signal.model_dump(mode="json")

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        prompts = given.artefacts.get(self._prompts)
        punkt = None if prompts is None else prompts.path / NLTK
        return measuring.measure(self._name, self._signal, given[self._candidates].path, work, punkt)

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        """With some answers that it tells apart."""
        examples = measuring.examples(given[self._candidates].path, artifact.path, _SHOWN)
        lines = ["| prompt | best | | worst | |", "| --- | --- | --- | --- | --- |"]
        for asked, best, worst in examples:
            cells = [as_code(asked[-_LONGEST:])]
            cells += [cell for value, text in (best, worst) for cell in (as_code(text[:_LONGEST]), f"{value:.3g}")]
            lines.append(f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |")
        table = {"told_apart": Markdown("\n".join(lines))} if examples else {}
        return {"dagster/row_count": artifact.metrics["answers"], **table}


class ModelSignalOn(SignalOn):
    """The score of a reward model for every candidate, by a job of its own."""

    checks = job = "reward_signal"
    gpu = True

    def __init__(
        self, pipeline: Pipeline, candidates: str, section: Candidates, name: str, signal: ModelSignal
    ) -> None:
        self._own = signal
        super().__init__(pipeline, candidates, section, name, (signal.checkpoint,))

    def version(self) -> dict[str, Any]:
        return {"version": version_of("reward_signal"), "config": identity(self._own)}

    def takes(self, given: Given) -> dict[str, Artifact]:
        candidates, checkpoint = (given[name] for name in self.upstream)
        return {"candidates": candidates, "checkpoint": checkpoint}

    def execution(self) -> dict[str, Any]:
        return self._own.execution.model_dump(mode="json")


def signals_on(pipeline: Pipeline, candidates: str, section: Candidates) -> list[SignalOn]:
    return [
        ModelSignalOn(pipeline, candidates, section, name, signal)
        if isinstance(signal, ModelSignal)
        else SignalOn(pipeline, candidates, section, name)
        for name, signal in section.signals.items()
    ]


class BestAnswers(Node):
    """The best answers of candidates, as a clean corpus that mixtures take."""

    kind, checks = BEST_OF_N, "clean"
    unfinished = cleaning.UNFINISHED

    def __init__(self, pipeline: Pipeline, name: str, section: BestOfN) -> None:
        self._pipeline, self._name, self._section = pipeline, name, section
        self._signals = list(dict.fromkeys([*section.by, *section.at_least]))
        described = f"The best answers of candidates/{section.candidates} by {', then '.join(section.by)}, to imitate."
        upstream = (items.NODE, f"candidates/{section.candidates}", *map(self._signal, self._signals))
        super().__init__(pipeline.name, f"{BEST_OF_N}/{name}", described, upstream)

    def _signal(self, name: str) -> str:
        return f"signals/{self._section.candidates}/{name}"

    def version(self) -> dict[str, Any]:
        return {
            "version": {"best_of_n": best_of_n.VERSION, "clean": cleaning.VERSION, "screen": screen.VERSION},
            "config": {
                **identity(self._section),
                "contamination": identity(self._pipeline.recipe.contamination),
            },
        }

    def config(self, given: Given) -> dict[str, Any]:
        return self._section.model_dump(mode="json")

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        recipe = self._pipeline.recipe
        return best_of_n.pick(
            self._name,
            self._section,
            Measured(
                given[f"candidates/{self._section.candidates}"].path,
                {name: given[self._signal(name)].path for name in self._signals},
            ),
            work,
            items=given[items.NODE].path / items.ITEMS,
            contamination=recipe.contamination,
            execution=recipe.corpora,
        )

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        return {"dagster/row_count": artifact.metrics["kept"]}


def read_by(preferences: Preferences) -> dict[str, list[str]]:
    """By name of candidates the signals that preferences choose by, in the order of their rules."""
    found: dict[str, list[str]] = {}
    for rule in preferences.of_candidates:
        found[rule.candidates] = list(dict.fromkeys([*found.get(rule.candidates, []), *rule.by]))
    return found


def measured(given: Given, preferences: Preferences) -> dict[str, Measured]:
    """The folders of candidates and of signals on them."""
    return {
        candidates: Measured(
            given[f"candidates/{candidates}"].path,
            {signal: given[f"signals/{candidates}/{signal}"].path for signal in signals},
        )
        for candidates, signals in read_by(preferences).items()
    }


def _title(signal: Signal) -> str:
    return signal.kind.replace("_", " ").capitalize()
