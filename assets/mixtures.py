"""What training reads: mixtures in exact shares, preferences, and prompts, all of clean corpora without repeats."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.candidates import measured, read_by
from assets.corpora import BEST_OF_N, DISTINCT, answers_digest, clean_corpora, clean_folders, removed_rows
from assets.pipeline import Pipeline
from corpora import splits as splitting
from corpora.data_report.page import DATA_REPORT, Corpus, Made, tables, write_report
from corpora.feedback import preferences as pairing
from corpora.feedback import prompts as prompting
from corpora.feedback import report
from corpora.feedback.report import PREFERENCE_REPORT
from corpora.mixing import mixture as mixing
from corpora.sources import observe
from lineage.errors import CorpusError
from lineage.node import Given, Markdown, Node
from lineage.store import Artifact
from recipes.mixtures import CandidateRule, Mixture, Preferences, Prompts
from recipes.schema import identity


class OfCorpora(Node):
    """Made of clean corpora, less what repeats in them, in the base model's tokens and template."""

    def __init__(
        self, pipeline: Pipeline, name: str, description: str, sources: Sequence[str], more: Sequence[str] = ()
    ) -> None:
        """more: nodes that it is made from beside the corpora."""
        self._pipeline, self._splits = pipeline, pipeline.recipe.splits
        corpora = (f"clean/{source}" for source in sources)
        super().__init__(pipeline.name, name, description, ("base", DISTINCT, *corpora, *more))

    def takes(self, given: Given) -> dict[str, Artifact]:
        return {name: made for name, made in given.artefacts.items() if name != DISTINCT}

    def outside(self, given: Given) -> dict[str, str]:
        return removed_rows(given[DISTINCT], clean_corpora(given))[0]

    def _removed(self, given: Given) -> dict[str, Path]:
        return removed_rows(given[DISTINCT], clean_corpora(given))[1]


class MixtureRows(OfCorpora):
    """One mixture: token-exact shares in training order, with a report on its data."""

    kind = "mixture"
    informative = (DATA_REPORT,)
    unfinished = mixing.UNFINISHED

    def __init__(self, pipeline: Pipeline, name: str, mixture: Mixture) -> None:
        self._title, self._mixture = name, mixture
        self.checks = "mixture" if mixture.kind == "conversations" else "documents"
        recipe = pipeline.recipe
        self._groups = {name: group for name, group in recipe.feeding.items() if group in mixture.members}
        picked = [f"{BEST_OF_N}/{name}" for name in self._groups if name in recipe.best_of_n]
        shares = ", ".join(f"{group} {share:.0%}" for group, share in mixture.shares.items())
        described = f"{mixture.size:,} {mixture.unit.replace('_', ' ')}: {shares or ', '.join(mixture.groups)}."
        sources = [name for name in self._groups if name in recipe.sources]
        super().__init__(pipeline, f"mixture/{name}", described, sources, picked)

    def version(self) -> dict[str, Any]:
        return {
            "config": identity(self._mixture),
            "version": mixing.VERSION,
            "splits": self._splits.model_dump(mode="json"),
            "versions": mixing.versions(self._mixture),
        }

    def identity(self, given: Given) -> dict[str, Any]:
        splits = self._splits.model_dump(mode="json")
        return {
            "version": mixing.versions(self._mixture),
            "config": {**identity(self._mixture), "splits": splits, "sources": self._groups},
        }

    def config(self, given: Given) -> dict[str, Any]:
        return self._mixture.model_dump(mode="json")

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        metrics = mixing.mix(
            self._mixture,
            {source: (self._groups[source], folder) for source, folder in clean_folders(given).items()},
            given["base"].path,
            work,
            removed=self._removed(given),
            splits=self._splits,
            execution=self._pipeline.recipe.corpora,
        )
        write_report(self._made(given, work, metrics["checks"]))
        return metrics

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        facts = self._made(given, artifact.path, artifact.metrics["checks"]).facts
        return {f"table_{name}": Markdown(table) for name, table in tables(facts).items()}

    def _made(self, given: Given, folder: Path, checks: Mapping[str, Any]) -> Made:
        """What the report is on. folder: of the mixture, sealed or not."""
        return Made(
            recipe=self.recipe,
            name=self._title,
            folder=folder,
            checks=checks,
            corpora={source: Corpus(a.path, a.digest, a.metrics) for source, a in clean_corpora(given).items()},
            distinct=given[DISTINCT].metrics,
            checkpoint=given["base"].path,
        )


class PreferenceRows(OfCorpora):
    """One set of preferences, pairs or single answers, by the recipe's rules."""

    kind = "preferences"
    informative = (PREFERENCE_REPORT,)

    def __init__(self, pipeline: Pipeline, name: str, preferences: Preferences) -> None:
        self._title, self._preferences = name, preferences
        self.checks, what = {
            "pairs": ("preferences", "Chosen and rejected answers"),
            "unpaired": ("unpaired", "Good and bad answers"),
        }[preferences.holds]
        rules = ", ".join(
            f"candidates/{rule.candidates} ({', then '.join(rule.by)})"
            if isinstance(rule, CandidateRule)
            else f"{rule.source} ({rule.rule})"
            for rule in preferences.rules
        )
        self._named = list(dict.fromkeys(rule.source for rule in preferences.of_sources))
        candidates = [
            node
            for of, signals in read_by(preferences).items()
            for node in (f"candidates/{of}", *(f"signals/{of}/{signal}" for signal in signals))
        ]
        super().__init__(pipeline, f"preferences/{name}", f"{what} from {rules}.", self._named, candidates)

    def version(self) -> dict[str, Any]:
        return {
            "config": identity(self._preferences),
            "version": pairing.VERSION,
            "splits": self._splits.model_dump(mode="json"),
            "versions": pairing.versions(),
        }

    def identity(self, given: Given) -> dict[str, Any]:
        config = {**identity(self._preferences), "splits": self._splits.model_dump(mode="json")}
        return {"version": pairing.versions(), "config": config}

    def outside(self, given: Given) -> dict[str, str]:
        found = super().outside(given)
        for rule in self._preferences.of_sources:
            found |= answers_digest(self._pipeline, rule.answers)
        return found

    def config(self, given: Given) -> dict[str, Any]:
        return self._preferences.model_dump(mode="json")

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        metrics = pairing.build_preferences(
            self._preferences,
            clean_folders(given),
            {source: self._pipeline.recipe.sources[source] for source in self._named},
            given["base"].path,
            self._pipeline.folder,
            work,
            removed=self._removed(given),
            splits=self._splits,
            candidates=measured(given, self._preferences),
        )
        report.write_report(self.recipe, self._title, work, metrics, self._preferences.seed)
        return metrics

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        return {f"table_{name}": Markdown(table) for name, table in report.tables(artifact.path).items()}


class PromptRows(OfCorpora):
    """Prompts that a model learns on by rewards: rows of clean corpora with their verifiers."""

    kind = checks = "prompts"

    def __init__(self, pipeline: Pipeline, name: str, prompts: Prompts) -> None:
        self._prompts = prompts
        described = f"Prompts of {', '.join(prompts.sources)}, with what their answers are checked by."
        super().__init__(pipeline, f"prompts/{name}", described, prompts.sources)

    def version(self) -> dict[str, Any]:
        config = self._prompts.model_dump(mode="json", exclude={"punkt"})
        return {
            "version": {"prompts": prompting.VERSION, "splits": splitting.VERSION},
            "config": {**config, "splits": self._splits.model_dump(mode="json")},
        }

    def outside(self, given: Given) -> dict[str, str]:
        punkt = self._prompts.punkt
        self._sources_unchanged(given)
        resource = {} if punkt is None else {"punkt": observe(punkt, self._pipeline.folder, given.cache)}
        return super().outside(given) | resource

    def config(self, given: Given) -> dict[str, Any]:
        return self._prompts.model_dump(mode="json")

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        removed = self._removed(given)
        rows = [
            prompting.Asked(source, self._pipeline.recipe.sources[source], folder, removed.get(source))
            for source, folder in clean_folders(given).items()
        ]
        folder, base = self._pipeline.folder, given["base"].path
        return prompting.build_prompts(self._prompts, rows, base, folder, given.cache, work, self._splits)

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        return {"dagster/row_count": artifact.metrics["prompts"]}

    def _sources_unchanged(self, given: Given) -> None:
        """Verifiers are read from the sources again, so these must be what their clean corpora were made from."""
        for source, artifact in clean_corpora(given).items():
            now = observe(self._pipeline.recipe.sources[source], self._pipeline.folder, given.cache)
            if now != artifact.record["inputs"]["raw"]:
                raise CorpusError(f"source '{source}' changed after clean/{source} was made: materialize that first")
