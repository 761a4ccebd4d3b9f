"""Training stages by kind: their data and their own hyper-parameters."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from recipes.execution import TrainingExecution
from recipes.rewards import LengthReward, ModelReward, RewardTerm
from recipes.section import Name, Section
from recipes.trl_settings import LANGUAGE_MODELLING, LORA, OF_EVERY_KIND, Settings, checked

# Names of TRL 1.16, written out because a recipe is checked where TRL cannot be imported; a test compares them.
DpoLoss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]
KtoLoss = Literal["kto", "apo_zero_unpaired"]

SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")
"""DPO losses that `label_smoothing` means something to: the chance that a preference is the other way round."""

NEEDS_SMOOTHING = ("exo_pair",)
"""Of these, those that are infinite without it."""


Quantization = Literal["nf4", "int8"]


def _not_given(value: object) -> bool:
    """What a recipe leaves out stays out of its identity: a field that is added makes no older artefact stale."""
    return not value


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021) on `targets`; the artefact keeps the adapter and the merged weights.

    With `quantization` (QLoRA, Dettmers et al. 2023) the frozen weights are held in 4 or 8 bits while it trains.
    """

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | list[str] = "all-linear"
    quantization: Quantization | None = Field(default=None, exclude_if=_not_given)
    args: dict[str, Any] = Field(default={}, exclude_if=_not_given, description="further settings of PEFT's LoraConfig")

    @field_validator("args")
    @classmethod
    def _args_are_passed_on(cls, args: dict[str, Any]) -> dict[str, Any]:
        return checked("lora", args, _passed_on(), {})


Makes = Literal["language model", "reward model"]


class StageBase(Section):
    """What every training stage has. A step is `batch_rows` rows; `learning_rate` is the peak.

    `trains_on`: the kind of mixture that it takes, if it takes one; `prefers`: what its preferences hold;
    `passes_on`: settings of TRL that `args` may name; `own_settings`: why it may not name those that TRL has for this
    kind alone.
    """

    trains_on: ClassVar[Literal["conversations", "documents"]] = "conversations"
    prefers: ClassVar[Literal["pairs", "unpaired"]] = "pairs"
    makes: ClassVar[Makes] = "language model"
    passes_on: ClassVar[Settings] = OF_EVERY_KIND
    own_settings: ClassVar[dict[str, str]] = {}

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
    args: dict[str, Any] = Field(default={}, exclude_if=_not_given, description="further settings of TRL's config")
    execution: TrainingExecution = TrainingExecution()

    @field_validator("args")
    @classmethod
    def _args_are_passed_on(cls, args: dict[str, Any]) -> dict[str, Any]:
        return checked(_kind_of(cls), args, _passed_on(), cls.own_settings)

    def inputs(self) -> dict[str, tuple[str, ...]]:
        """The nodes that this stage reads, by the field that names them."""
        return {"start": (self.start,)}

    @model_validator(mode="after")
    def _batch_divides(self) -> "StageBase":
        per_pass = self.execution.micro_batch * self.execution.devices
        if self.batch_rows % per_pass:
            raise ValueError(f"batch_rows {self.batch_rows} is not a multiple of micro_batch × devices = {per_pass}")
        return self


class Grpo(StageBase):
    """GRPO (Shao et al. 2024); the reference model is the `start` checkpoint.

    A step is `batch_rows` answers: `generations` to each of its prompts, drawn from the model as it is at that step.
    So every answer is learned from once, and by the policy that gave it.
    """

    kind: Literal["grpo"]
    passes_on: ClassVar[Settings] = {
        **OF_EVERY_KIND,
        "entropy_coef": float,
        "importance_sampling_level": Literal["token", "sequence"],
        "router_aux_loss_coef": float,
        "top_entropy_quantile": float,
    }
    prompts: Name
    rewards: list[RewardTerm] = Field(min_length=1)
    generations: int = Field(default=8, ge=2, description="answers to a prompt, whose mean reward is the baseline")
    max_new_tokens: int = Field(ge=1, description="a longer answer is cut there, and counted")
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    beta: float = Field(
        default=0.04, ge=0, description="weight of the KL divergence from the reference; 0: without one"
    )
    loss: Literal["dapo", "grpo", "dr_grpo"] = Field(
        default="dapo", description="mean over all tokens, over each answer first, or over a constant length"
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        default="group", description="whose standard deviation the advantages are divided by"
    )
    learn_from_cut: bool = Field(default=True, description="false: answers that were cut do not count in the loss")

    def inputs(self) -> dict[str, tuple[str, ...]]:
        inputs = {**super().inputs(), "prompts": ("prompts", self.prompts)}
        model = next((reward for reward in self.rewards if isinstance(reward, ModelReward)), None)
        return inputs if model is None else {**inputs, "rewards": (model.checkpoint,)}

    @model_validator(mode="after")
    def _batch_is_whole_groups(self) -> "Grpo":
        if self.batch_rows % self.generations:
            raise ValueError(f"batch_rows {self.batch_rows} is not a multiple of generations {self.generations}")
        return self

    @model_validator(mode="after")
    def _rewards_fit(self) -> "Grpo":
        kinds = [reward.kind for reward in self.rewards]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"rewards: {twice[0]} is there twice; give it one weight")
        for reward in self.rewards:
            if isinstance(reward, LengthReward) and reward.free_tokens >= self.max_new_tokens:
                raise ValueError(
                    f"rewards.length.free_tokens {reward.free_tokens} leaves nothing below max_new_tokens "
                    f"{self.max_new_tokens} to count against an answer"
                )
        return self


def _is_none(value: object) -> bool:
    return value is None


class Pretrain(StageBase):
    """Pretraining on a mixture of documents: the loss counts every token but the first of each document.

    On a released model this is continued pretraining. Documents in one sequence do not see each other.
    """

    kind: Literal["pretrain"]
    passes_on: ClassVar[Settings] = LANGUAGE_MODELLING
    trains_on: ClassVar[Literal["conversations", "documents"]] = "documents"
    mixture: Name

    def inputs(self) -> dict[str, tuple[str, ...]]:
        return {**super().inputs(), "mixture": ("mixture", self.mixture)}


class Sft(StageBase):
    """Supervised fine-tuning on a mixture, loss on assistant turns only."""

    kind: Literal["sft"]
    passes_on: ClassVar[Settings] = {
        **LANGUAGE_MODELLING,
        "loss_type": Literal["nll", "dft"],
        "neftune_noise_alpha": float,
    }
    mixture: Name

    def inputs(self) -> dict[str, tuple[str, ...]]:
        return {**super().inputs(), "mixture": ("mixture", self.mixture)}


class OnPreferences(StageBase):
    """A stage that learns from preferences."""

    preferences: Name

    def inputs(self) -> dict[str, tuple[str, ...]]:
        return {**super().inputs(), "preferences": ("preferences", self.preferences)}


class Reward(OnPreferences):
    """A reward model (Bradley and Terry 1952; Stiennon et al. 2020) from pairs: one number for a whole conversation."""

    kind: Literal["reward"]
    makes: ClassVar[Makes] = "reward model"
    center: float | None = Field(
        default=None, gt=0, description="pulls rewards to a mean of zero (Eisenstein et al. 2023); 0.01 is usual"
    )


class Dpo(OnPreferences):
    """Direct preference optimisation (Rafailov et al. 2023); the reference model is the `start` checkpoint."""

    kind: Literal["dpo"]
    passes_on: ClassVar[Settings] = {
        **OF_EVERY_KIND,
        "f_alpha_divergence_coef": float,
        "f_divergence_type": Literal["reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"],
        "ld_alpha": float,
        "router_aux_loss_coef": float,
    }
    beta: float = Field(gt=0)
    loss: DpoLoss = "sigmoid"
    label_smoothing: float | None = Field(
        default=None, ge=0, lt=0.5, exclude_if=_is_none, description=f"of losses {', '.join(SMOOTHED)}"
    )
    discopop_tau: float | None = Field(default=None, gt=0, exclude_if=_is_none, description="of loss discopop")

    @model_validator(mode="after")
    def _fields_fit_the_loss(self) -> "Dpo":
        if self.label_smoothing is not None and self.loss not in SMOOTHED:
            raise ValueError(f"label_smoothing means nothing to loss {self.loss}; it is of {', '.join(SMOOTHED)}")
        if self.loss in NEEDS_SMOOTHING and not self.label_smoothing:
            raise ValueError(f"loss {self.loss} needs label_smoothing above 0, as 0.001")
        if self.discopop_tau is not None and self.loss != "discopop":
            raise ValueError(f"discopop_tau means nothing to loss {self.loss}; it is of discopop")
        return self


class Kto(OnPreferences):
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024) on answers that are each good or bad, in no pairs.

    `kl_rows` rows together estimate how far the policy has moved, and their mean is part of the loss: so they are
    one forward pass, which several devices may share, and not a matter of `execution`.
    """

    kind: Literal["kto"]
    passes_on: ClassVar[Settings] = {**OF_EVERY_KIND, "router_aux_loss_coef": float}
    prefers: ClassVar[Literal["pairs", "unpaired"]] = "unpaired"
    beta: float = Field(gt=0)
    loss: KtoLoss = "kto"
    kl_rows: int = Field(default=4, ge=2)
    desirable_weight: float = Field(default=1.0, gt=0)
    undesirable_weight: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _forward_passes_are_of_kl_rows(self) -> "Kto":
        if self.execution.micro_batch not in (1, self.kl_rows):
            raise ValueError(f"execution.micro_batch is kl_rows = {self.kl_rows} in kto: leave it out")
        if self.batch_rows % self.kl_rows:
            raise ValueError(f"batch_rows {self.batch_rows} is not a multiple of kl_rows {self.kl_rows}")
        if self.kl_rows % self.execution.devices:
            raise ValueError(f"kl_rows {self.kl_rows} is not a multiple of execution.devices {self.execution.devices}")
        return self


class Orpo(OnPreferences):
    """Odds ratio preference optimisation (Hong et al. 2024): learns the chosen answers and the pairs at once.

    There is no reference model; `beta` is the paper's λ, the weight of the odds ratio.
    """

    kind: Literal["orpo"]
    beta: float = Field(gt=0)


class Simpo(OnPreferences):
    """Simple preference optimisation (Meng et al. 2024): pairs by the mean log-probability of their answers' tokens.

    There is no reference model, and nothing but `learning_rate` keeps the model near its start: the paper's are 3e-7 to
    1e-6, with `beta` 2 to 2.5 and `gamma` 0.3 to 1.6.
    """

    kind: Literal["simpo"]
    own_settings: ClassVar[dict[str, str]] = {
        "alpha": "AlphaPO's, another loss",
        "cpo_alpha": "CPO's weight of the chosen answers' own loss, which SimPO does without",
        "label_smoothing": "not the paper's loss",
        "simpo_gamma": "the recipe has a field for it: gamma",
    }
    beta: float = Field(default=2.0, gt=0)
    gamma: float = Field(default=1.0, ge=0, description="by how much the chosen answer's reward is to be higher")


def _no_ppo(stage: Any) -> Any:
    if isinstance(stage, dict) and stage.get("kind") == "ppo":
        raise ValueError(
            "kind ppo: TRL has no PPO trainer any more; learn from rewards with kind grpo, which needs no value model, "
            "or from pairs with kind dpo"
        )
    return stage


Stage = Annotated[
    Annotated[Pretrain | Sft | Reward | Dpo | Kto | Orpo | Simpo | Grpo, Field(discriminator="kind")],
    BeforeValidator(_no_ppo),
]


def _kind_of(section: type[StageBase]) -> str:
    (kind,) = get_args(section.model_fields["kind"].annotation)
    return str(kind)


KINDS: dict[str, type[StageBase]] = {_kind_of(section): section for section in get_args(get_args(Stage)[0])}
"""Every kind of training stage."""


def _passed_on() -> dict[str, Settings]:
    return {**{kind: section.passes_on for kind, section in KINDS.items()}, "lora": LORA}
