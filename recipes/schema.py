"""The recipe schema: policy in YAML, refused early when it cannot be right.

A recipe names a base model, its text sources, token-exact mixtures, preference data, training
stages, an evaluation suite, a promotion rule and a schedule. Everything that changes a result is
identity; what only says *how* a machine runs it lives in `execution` and never reaches a
fingerprint. Unknown keys are refused everywhere.

Rules that need a file, a network or a tokenizer are checked where these are read (`corpora`).
"""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from recipes.candidates import BestOfN, Candidates, ModelSignal
from recipes.cleaning import Contamination, Duplicates, Length, Splits
from recipes.execution import CorporaExecution
from recipes.mixtures import CandidateRule, Mixture, Preferences, Prompts
from recipes.promotion import Promotion
from recipes.scratch import FromScratch
from recipes.section import Name, Section, meant
from recipes.sources import Model, Source
from recipes.stages import Makes, Stage
from recipes.suite import Evaluation, JudgedTask


class Schedule(Section):
    """Cron of the retraining job, off until switched on in the UI unless `running`."""

    cron: str
    timezone: str = "UTC"
    running: bool = False

    @field_validator("cron")
    @classmethod
    def _five_fields(cls, cron: str) -> str:
        if len(cron.split()) != 5:
            raise ValueError(f"'{cron}' is not a cron of five fields, as in '0 3 * * 0'")
        return cron


def _kind_of_model(section: Any) -> str:
    own = "architecture" in section if isinstance(section, dict) else isinstance(section, FromScratch)
    return "FromScratch" if own else "Model"


GivenModel = Annotated[
    Annotated[Model, Tag("Model")] | Annotated[FromScratch, Tag("FromScratch")], Discriminator(_kind_of_model)
]
"""What every stage starts from: a released model, by its URI, or one of the recipe's own, by its architecture."""


class Recipe(Section):
    """One pipeline. Its name is the file's name."""

    name: Name
    description: str = ""
    owners: list[str] = []
    model: GivenModel
    sources: dict[Name, Source] = Field(min_length=1)
    contamination: Contamination = Contamination()
    duplicates: Duplicates = Duplicates()
    splits: Splits = Splits()
    mixtures: dict[Name, Mixture] = {}
    preferences: dict[Name, Preferences] = {}
    prompts: dict[Name, Prompts] = {}
    candidates: dict[Name, Candidates] = {}
    best_of_n: dict[Name, BestOfN] = {}
    stages: dict[Name, Stage] = Field(min_length=1)
    evaluation: Evaluation
    promotion: Promotion
    schedule: Schedule | None = None
    corpora: CorporaExecution = CorporaExecution()

    def metric_names(self) -> set[str]:
        """`<task>/<metric>` for each task of the suite: what a target or a guard may name."""
        return {f"{name}/{metric}" for name, task in self.evaluation.tasks.items() for metric in task.metrics}

    def used_sources(self) -> list[str]:
        """Sources whose rows reach a mixture, preferences or prompts, in the order of the recipe."""
        groups = {group for mixture in self.mixtures.values() for group in mixture.members}
        paired = {rule.source for preferences in self.preferences.values() for rule in preferences.of_sources}
        asked = {source for prompts in self.prompts.values() for source in prompts.sources}
        return [name for name, source in self.sources.items() if source.group in groups or name in paired | asked]

    @property
    def feeding(self) -> dict[str, str]:
        """What mixtures are made of, sources and best answers of candidates, each with its group."""
        sources = {name: source.group for name, source in self.sources.items()}
        return sources | {name: picked.group for name, picked in self.best_of_n.items()}

    def drawn_from(self, candidates: str, signals: list[str]) -> list[str]:
        """The checkpoints whose answers candidates are, and whose word on them these signals are."""
        section = self.candidates.get(candidates)
        if section is None:
            return []
        judging = (section.signals.get(name) for name in signals)
        return [section.checkpoint, *(one.checkpoint for one in judging if isinstance(one, ModelSignal))]

    @model_validator(mode="after")
    def _names_refer_to_something(self) -> "Recipe":
        problems = [
            *self._data_problems(),
            *self._candidate_problems(),
            *self._stage_problems(),
            *self._evaluation_problems(),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _data_problems(self) -> list[str]:
        groups = set(self.feeding.values())
        problems = [
            f"mixtures.{name}.{'shares' if mixture.shares else 'groups'}.{group}: no source has this group "
            f"(groups: {sorted(groups)})"
            for name, mixture in self.mixtures.items()
            for group in mixture.members
            if group not in groups
        ]
        problems += [
            f"mixtures.{name}.within.{group}: sources of this group are {sorted(members)}, shares name {sorted(inner)}"
            for name, mixture in self.mixtures.items()
            for group, inner in mixture.within.items()
            if set(inner) != (members := {n for n, own in self.feeding.items() if own == group})
        ]
        problems += [
            f"mixtures.{name}.temperature: every share is written out, so it would change nothing"
            for name, mixture in self.mixtures.items()
            if mixture.temperature != 1 and mixture.shares and not self._open_shares(mixture)
        ]
        problems += [
            f"preferences.{name}.{preferences.holds}.{i}.source: '{rule.source}' is not a source"
            for name, preferences in self.preferences.items()
            for i, rule in enumerate(preferences.rules)
            if not isinstance(rule, CandidateRule) and rule.source not in self.sources
        ]
        problems += [
            f"prompts.{name}.sources.{i}: '{source}' is not a source"
            for name, prompts in self.prompts.items()
            for i, source in enumerate(prompts.sources)
            if source not in self.sources
        ]
        problems += [
            f"sources.{name}: format 'prompts' needs 'answers', a YAML file of answers by category; without it the "
            "rows serve `prompts` alone"
            for name in self._answered_sources()
            if self.sources[name].format == "prompts" and self.sources[name].answers is None
        ]
        problems += [
            f"duplicates.source_order.{i}: '{name}' is not a source"
            for i, name in enumerate(self.duplicates.source_order)
            if name not in self.sources
        ]
        return [*problems, *self._untrained_problems()]

    def _untrained_problems(self) -> list[str]:
        """What an untrained model cannot score, and its tokenizer cannot be trained on: no source, or one that is
        cleaned with that very tokenizer."""
        if not isinstance(self.model, FromScratch):
            return []
        problems = [
            f"sources.{name}.steps: difficulty is scored with the base model, and this recipe's is untrained"
            for name, source in self.sources.items()
            if source.difficulty is not None
        ]
        for i, name in enumerate(self.model.tokenizer.sources):
            if name not in self.sources:
                problems.append(f"model.tokenizer.sources.{i}: '{name}' is not a source")
            elif any(isinstance(step, Length) and step.unit == "tokens" for step in self.sources[name].steps):
                problems.append(
                    f"model.tokenizer.sources.{i}: a step of '{name}' counts tokens of the tokenizer that is trained "
                    "on it; let it count words or characters"
                )
        return problems

    def _answered_sources(self) -> list[str]:
        """Sources whose rows must hold an answer: those that are mixed or paired, or serve nothing else."""
        only_asked = {source for prompts in self.prompts.values() for source in prompts.sources}
        groups = {group for mixture in self.mixtures.values() for group in mixture.members}
        only_asked -= {rule.source for preferences in self.preferences.values() for rule in preferences.of_sources}
        return [name for name, source in self.sources.items() if source.group in groups or name not in only_asked]

    def _open_shares(self, mixture: Mixture) -> bool:
        """Whether some mixed group has several sources whose shares are not written out."""
        fed = list(self.feeding.values())
        return any(fed.count(group) > 1 for group in mixture.members if group not in mixture.within)

    def _candidate_problems(self) -> list[str]:
        """Candidates of what is not there, and pairs by signals that are not."""
        problems = []
        checkpoints = {"base", *self.stages}
        for name, section in self.candidates.items():
            if section.checkpoint not in checkpoints:
                told = f"'{section.checkpoint}' is no checkpoint{meant(section.checkpoint, checkpoints)}"
                problems.append(f"candidates.{name}.checkpoint: {told}")
            elif (made := self._makes(section.checkpoint)) != "language model":
                problems.append(
                    f"candidates.{name}.checkpoint: '{section.checkpoint}' is a {made}, which answers nothing"
                )
            if section.prompts not in self.prompts:
                told = f"'{section.prompts}' is not a prompts entry{meant(section.prompts, self.prompts)}"
                problems.append(f"candidates.{name}.prompts: {told}")
            problems += [
                f"candidates.{name}.signals.{signal}.checkpoint: '{one.checkpoint}' is no stage of kind reward"
                for signal, one in section.signals.items()
                if isinstance(one, ModelSignal) and self._makes(one.checkpoint) != "reward model"
            ]
        for name, preferences in self.preferences.items():
            for i, rule in enumerate(preferences.pairs):
                if not isinstance(rule, CandidateRule):
                    continue
                where = f"preferences.{name}.pairs.{i}"
                if rule.candidates not in self.candidates:
                    told = f"'{rule.candidates}' is not a candidates entry{meant(rule.candidates, self.candidates)}"
                    problems.append(f"{where}.candidates: {told}")
                    continue
                signals = self.candidates[rule.candidates].signals
                problems += [
                    f"{where}.by.{j}: '{signal}' is none of the signals on candidates.{rule.candidates} "
                    f"{list(signals)}{meant(signal, signals)}"
                    for j, signal in enumerate(rule.by)
                    if signal not in signals
                ]
        return [*problems, *self._best_of_n_problems()]

    def _best_of_n_problems(self) -> list[str]:
        """Best answers of what is not there, by signals that are not, or under the name of a source."""
        problems = []
        for name, picked in self.best_of_n.items():
            if name in self.sources:
                problems.append(f"best_of_n.{name}: a source has this name")
            if picked.candidates not in self.candidates:
                told = f"'{picked.candidates}' is not a candidates entry{meant(picked.candidates, self.candidates)}"
                problems.append(f"best_of_n.{name}.candidates: {told}")
                continue
            signals = self.candidates[picked.candidates].signals
            problems += [
                f"best_of_n.{name}.{field}: '{signal}' is none of the signals on candidates.{picked.candidates} "
                f"{list(signals)}{meant(signal, signals)}"
                for field, named in (("by", picked.by), ("at_least", picked.at_least))
                for signal in named
                if signal not in signals
            ]
        return problems

    def _comes_later(self, node: tuple[str, ...], earlier: list[str]) -> str | None:
        """The checkpoint whose answers, or whose word on answers, a stage's data is made of, if it is not made before
        that stage."""
        answering: list[str] = []
        if node[0] == "preferences" and node[-1] in self.preferences:
            for rule in self.preferences[node[-1]].of_candidates:
                answering += self.drawn_from(rule.candidates, rule.by)
        if node[0] == "mixture" and node[-1] in self.mixtures:
            for picked in self.best_of_n.values():
                if picked.group in self.mixtures[node[-1]].members:
                    answering += self.drawn_from(picked.candidates, [*picked.by, *picked.at_least])
        return next((name for name in answering if name in self.stages and name not in earlier), None)

    def _stage_problems(self) -> list[str]:
        problems: list[str] = []
        earlier = ["base"]
        for name, stage in self.stages.items():
            if name in _RESERVED:
                problems.append(f"stages.{name}: this name is reserved")
            if stage.start not in earlier:
                problems.append(
                    f"stages.{name}.start: '{stage.start}' is none of the checkpoints before it {earlier}"
                    + meant(stage.start, earlier)
                )
            elif (made := self._makes(stage.start)) != "language model":
                problems.append(
                    f"stages.{name}.start: '{stage.start}' is a {made}; {stage.kind} trains language models"
                )
            problems += [
                f"stages.{name}.{role}: {problem}"
                for role, node in stage.inputs().items()
                if (problem := self._input_problem(stage, node))
            ]
            problems += [
                f"stages.{name}.{role}: '{node[-1]}' rests on '{later}', which is not made before it"
                for role, node in stage.inputs().items()
                if (later := self._comes_later(node, earlier))
            ]
            problems += self._reward_model_problems(name, stage, earlier)
            earlier.append(name)
        return problems

    def _makes(self, checkpoint: str) -> Makes:
        return self.stages[checkpoint].makes if checkpoint in self.stages else "language model"

    def _reward_model_problems(self, name: str, stage: Stage, earlier: list[str]) -> list[str]:
        """What gives rewards must be a reward model, made before."""
        return [
            f"stages.{name}.rewards: '{node[-1]}' is no earlier stage of kind reward"
            for role, node in stage.inputs().items()
            if role == "rewards" and (node[-1] not in earlier or self._makes(node[-1]) != "reward model")
        ]

    def _input_problem(self, stage: Stage, node: tuple[str, ...]) -> str | None:
        """What is wrong with the data that a stage reads, if anything."""
        if node[0] == "prompts" and node[-1] not in self.prompts:
            return f"'{node[-1]}' is not a prompts entry{meant(node[-1], self.prompts)}"
        if node[0] == "preferences":
            if node[-1] not in self.preferences:
                return f"'{node[-1]}' is not a preferences entry{meant(node[-1], self.preferences)}"
            if (holds := self.preferences[node[-1]].holds) != stage.prefers:
                return f"'{node[-1]}' holds {holds}; {stage.kind} takes {stage.prefers}"
        if node[0] == "mixture":
            if node[-1] not in self.mixtures:
                return f"'{node[-1]}' is not a mixture{meant(node[-1], self.mixtures)}"
            if (kind := self.mixtures[node[-1]].kind) != stage.trains_on:
                return f"'{node[-1]}' holds {kind}; {stage.kind} takes {stage.trains_on}"
        return None

    def _evaluation_problems(self) -> list[str]:
        checkpoints = {"base", *self.stages}
        problems = [
            f"evaluation.reports.{i}: '{name}' is no checkpoint{meant(name, checkpoints)}"
            for i, name in enumerate(self.evaluation.reports)
            if name not in checkpoints
        ]
        problems += [
            f"evaluation.reports.{i}: '{name}' is a {made}; the suite scores language models"
            for i, name in enumerate(self.evaluation.reports)
            if (made := self._makes(name)) != "language model"
        ]
        candidate = self.promotion.candidate
        if candidate not in checkpoints:
            problems.append(f"promotion.candidate: '{candidate}' is no checkpoint{meant(candidate, checkpoints)}")
        for needed in ("base", candidate):
            if needed in checkpoints and needed not in self.evaluation.reports:
                problems.append(f"evaluation.reports: '{needed}' is missing; the gate compares it")
        metrics = self.metric_names()
        targets = self.promotion.targets
        named = {f"target.of.{i}" if len(targets) > 1 else "target": t.metric for i, t in enumerate(targets)}
        named |= {f"guards.{i}": g.metric for i, g in enumerate(self.promotion.guards)}
        problems += [
            f"promotion.{field}.metric: '{metric}' is none of {sorted(metrics)}{meant(metric, metrics)}"
            for field, metric in named.items()
            if metric not in metrics
        ]
        problems += [
            f"promotion.{field}.metric: {problem}"
            for field, metric in named.items()
            if metric in metrics and (problem := self._advisory_problem(metric))
        ]
        return problems

    def _advisory_problem(self, metric: str) -> str | None:
        """Why promotion may not rest on a metric of a judge, if it is one."""
        task = metric.partition("/")[0]
        judged = self.evaluation.tasks[task]
        if isinstance(judged, JudgedTask) and judged.advisory:
            return f"'{metric}' is a judge's opinion; say advisory: false in evaluation.tasks.{task} to let it decide"
        return None


_RESERVED = {
    "base",
    "reference",
    "reference_logprobs",
    "raw",
    "evaluation_items",
    "clean",
    "distinct",
    "mixture",
    "preferences",
    "prompts",
    "candidates",
    "signals",
    "report",
    "decision",
    "registry",
}


def identity(section: Section) -> dict[str, Any]:
    """The part of a recipe section that names a result: everything but `execution` and where bytes lie.

    Bytes are identified by digest, so `uri` is left out too: moving a file makes nothing stale.
    """
    dumped = section.model_dump(mode="json", exclude={"uri": True, "sha256": True, "licence": True})
    return {name: _without_execution(value) for name, value in dumped.items() if name != "execution"}


def _without_execution(value: Any) -> Any:
    """The same without `execution` anywhere inside, as a judge has its own."""
    if isinstance(value, dict):
        return {name: _without_execution(inner) for name, inner in value.items() if name != "execution"}
    return [_without_execution(inner) for inner in value] if isinstance(value, list) else value
