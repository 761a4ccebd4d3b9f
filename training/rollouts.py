"""TRL's GRPO trainer on prompts that are token ids already, with its answers counted and its promises watched.

TRL 1.16 renders prompts by its own call of the template; here its tokenisation hands the ids on as they are. What is
drawn is fixed by seed, step and row (`models.drawing`), for any number of processes. In every step the advantages
of one prompt's answers must sum to 0; in the first the policy must be its own reference, and the loss's
log-probabilities those at which answers were drawn. The answers of a step are drawn when it begins and used up when
it ends, so a checkpoint between steps holds all there is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch  # noqa: TID253 - only job processes import this module
from trl import GRPOTrainer  # noqa: TID253
from trl.trainer.utils import split_tensor_dict  # noqa: TID253

from lineage.errors import TrainingError
from models.drawing import numbers
from recipes.stages import Grpo
from training import drawing
from training.losses import shared_prompts
from training.quantized import is_quantized
from training.rows import StepPlan

KL, GROUP_SUM, CUT, LENGTH = "kl", "advantages/group_sum", "completions/clipped_ratio", "completions/mean_length"
"""Names of what is logged of every step; `GROUP_SUM` is ours."""

APART = "logps/apart"
"""What is logged of the first step: how far the loss's log-probabilities are from the model's own."""

APART_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2}
"""Nats a token, on average: rounding. Another temperature, or answers that see each other, are apart by tenths."""

KL_TOLERANCE = {"fp32": 1e-6, "bf16": 1e-2}
"""Policy and reference see the same rows in other micro-batches: rounding is all that may tell them apart."""

GROUP_SUM_TOLERANCE = 0.05
"""Rounding of equal rewards of size 10 over the 0.0001 that TRL adds to their deviation; mixed groups differ by 1."""


@dataclass(frozen=True)
class Rollouts(StepPlan):
    """The prompts of each step, `batch_rows` of them. How many tokens a step has is known when it was answered."""

    generations: int

    @cached_property
    def rows(self) -> int:
        """Answers in all steps."""
        return self.steps * self.batch_rows * self.generations

    @cached_property
    def tokens(self) -> list[int]:
        """Tokens of prompts and answers before step i, counted from where this process began."""
        return [0] * (self.steps + 1)

    def answered(self, step: int, tokens: int) -> None:
        for later in range(step + 1, self.steps + 1):
            self.tokens[later] += tokens

    def prompt_tokens(self, step: int) -> int:
        """Tokens of the prompts of a step, each as often as it is answered."""
        return self.generations * sum(self.lengths[row] for row in self._step(step))


def plan(lengths: Sequence[int], stage: Grpo) -> Rollouts:
    """Steps over prompts of these lengths (tokens); those at the end that fill no step are left out."""
    prompts = stage.batch_rows // stage.generations
    whole = len(lengths) // prompts * prompts
    if not whole:
        raise TrainingError(
            f"there are {len(lengths)} prompts, a step of batch_rows {stage.batch_rows} with {stage.generations} "
            f"generations needs {prompts}"
        )
    steps = math.ceil(stage.epochs * whole / prompts)
    steps = min(steps, stage.max_steps or steps)
    return Rollouts(list(range(whole)), list(lengths), prompts, steps, stage.generations)


class RolloutTrainer(GRPOTrainer):  # type: ignore[misc]
    """`GRPOTrainer` on rows of `prompt` (token ids) and `row`."""

    _buffered_inputs: list[dict[str, Any]] | None

    def __init__(self, *, plan: Rollouts, precision: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._plan, self._kl_tolerance = plan, KL_TOLERANCE[precision]
        self.apart_tolerance = APART_TOLERANCE["bf16" if is_quantized(self.model) else precision]
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled
        self._read_once = not sharded and shared_prompts.possible(self.model)

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompts, None, {}

    def _generate_single_turn(self, prompt_ids: list[list[int]], *arguments: Any, **named: Any) -> Any:
        first = self.accelerator.process_index * len(prompt_ids)
        drawn = numbers(
            self.args.seed,
            self.state.global_step,
            range(first, first + len(prompt_ids)),
            self.max_completion_length,
        ).to(self.accelerator.device)
        with drawing.drawn_by(
            self.model, drawing.Drawn(drawn, self.temperature, self.top_p), read_once=self._read_once
        ):
            return super()._generate_single_turn(prompt_ids, *arguments, **named)

    def _prepare_inputs(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The micro-batch whose turn it is. TRL shuffles a step's answers; here those to one prompt stay together."""
        turn = self._step % self.args.steps_per_generation
        if turn == 0 or self._buffered_inputs is None:
            made = self._generate_and_score_completions(rows)
            self._buffered_inputs = split_tensor_dict(made, self.args.steps_per_generation)
        inputs: dict[str, Any] = self._buffered_inputs[turn]
        return inputs

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = super()._generate_and_score_completions(inputs)
        must_be_untouched(made, [row["prompt"] for row in inputs])
        if self.state.global_step == 0:
            self._metrics["train"][APART].append(must_be_own(self, made, self.apart_tolerance))
        largest = group_sum(self.accelerator.gather(made["advantages"]), self._plan.generations)
        self._metrics["train"][GROUP_SUM].append(largest)
        tokens = made["prompt_mask"].sum() + made["completion_mask"].sum()
        self._plan.answered(self.state.global_step, int(self.accelerator.reduce(tokens)))
        return made

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        loss = super()._compute_loss(model, inputs)
        if self.beta and self.state.global_step == 0:
            must_be_reference(self._metrics["train"][KL][-1], self._kl_tolerance)
        return loss


def must_be_untouched(made: dict[str, Any], prompts: list[list[int]]) -> None:
    """Raise TrainingError unless the model answered these very ids."""
    for ids, mask, prompt in zip(made["prompt_ids"].tolist(), made["prompt_mask"].tolist(), prompts, strict=True):
        if [token for token, counts in zip(ids, mask, strict=True) if counts] != prompt:
            raise TrainingError("the prompts that the trainer answers are not those given; this trl cannot be used")


def must_be_own(trainer: Any, made: dict[str, Any], tolerance: float) -> float:
    """Mean distance, in nats a token, of what the loss takes for log-probabilities of the first prompt's answers from
    those of plain logits, each answer alone, at the temperature it was drawn at. Raises TrainingError if it is more.
    """
    first = {name: made[name][: trainer.num_generations] for name in _ANSWERED}
    ids = torch.cat([first["prompt_ids"], first["completion_ids"]], dim=1)
    mask = torch.cat([first["prompt_mask"], first["completion_mask"]], dim=1)
    apart: list[float] = []
    with torch.no_grad(), trainer.accelerator.autocast():
        used, *_ = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, first["completion_ids"].shape[1]
        )
        for row, counted in enumerate(first["completion_mask"].bool()):
            alone = ids[row][mask[row].bool()]
            logits = trainer.model(input_ids=alone[None], use_cache=False).logits[0, :-1].float() / trainer.temperature
            own = logits.log_softmax(-1).gather(-1, alone[1:, None])[:, 0]
            apart += (used[row][counted] - own[len(own) - int(counted.sum()) :]).abs().tolist()
    mean = sum(apart) / max(1, len(apart))
    if not mean <= tolerance:
        raise TrainingError(
            f"the log-probabilities that the loss takes are {mean:.3g} nats a token from the model's own: "
            "it would learn from other answers than were drawn; this trl cannot be used"
        )
    return mean


_ANSWERED = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")


def group_sum(advantages: Any, generations: int) -> float:
    """The largest sum of one prompt's advantages. Raises TrainingError unless all are 0."""
    largest = float(advantages.view(-1, generations).sum(dim=1).abs().max())
    if not largest <= GROUP_SUM_TOLERANCE:
        raise TrainingError(
            f"the advantages of one prompt's answers sum to {largest:.4f}, not to 0: they are not of one group"
        )
    return largest


def must_be_reference(kl: float, tolerance: float) -> None:
    """Raise TrainingError if model and reference differ before the first step."""
    if not kl <= tolerance:
        raise TrainingError(
            f"the divergence from the reference is {kl:.3g} before the first step, not 0: "
            "the reference model is not the start checkpoint"
        )
