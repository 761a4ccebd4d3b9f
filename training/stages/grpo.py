"""Group relative policy optimisation (Shao et al. 2024): a checkpoint and prompts in, a checkpoint out.

The model answers each prompt several times, rewards named by the recipe score the answers, and those above their
group's mean become more likely. Answers are drawn in the training processes, by seed, step and row: a training that
was killed, or that more devices share, draws the same ones. The reference model is the start checkpoint and nothing
else: with LoRA the model without its adapter, else a second copy from the same verified folder.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables.tables import PROMPTS
from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check, check
from lineage.errors import TrainingError
from models import load
from models.template import ChatTemplate
from recipes.stages import Grpo
from training import rewards, rows
from training.stages import frame

if TYPE_CHECKING:
    from training.rollouts import Rollouts

VERSION = 3
CHECKS = {
    "prompts_untouched": "the model answers the tokens of the prompts, all of them and no others",
    "advantages_sum_to_zero": "the advantages of the answers to one prompt sum to 0, in every step",
    "scored_as_drawn": "the first step's loss gives each answer the probability at which the model drew it",
    "kl_step0_zero": "before the first step the divergence from the reference is 0: it is the start checkpoint",
    **frame.SAVED,
}


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["prompts"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from datasets import Dataset
    from trl import GRPOConfig

    from training import rollouts, weights
    from training.losses import head

    stage = Grpo.model_validate(job.config)
    given, judge = job.inputs["prompts"], job.inputs.get("rewards")
    prompts = rows.read(given.path / PROMPTS, ("prompt_ids", "verifier"))
    ids = prompts["prompt_ids"].to_pylist()
    plan = rollouts.plan([len(prompt) for prompt in ids], stage)
    training = frame.Training(job, work, log, stop, stage, "prompts", plan)
    start, template = training.start, ChatTemplate.load(training.start)
    with training.begun():
        model = weights.load_for_training(start, stage)
        _must_fit(plan, stage, model.config)
        model.config._name_or_path = str(start)  # what TRL loads the reference model from
        args = GRPOConfig(**arguments(stage, training.arguments()))
        trainer = rollouts.RolloutTrainer(
            plan=plan,
            precision=stage.precision,
            model=model,
            reward_funcs=rewards.functions(
                stage,
                prompts["verifier"].to_pylist(),
                given.path,
                start,
                None if judge is None else judge.path,
                args.device,
                template.said,
            ),
            args=args,
            train_dataset=Dataset.from_dict({"prompt": ids, "row": list(range(len(ids)))}).select(plan.order),
            processing_class=load.tokenizer(start),
            peft_config=weights.lora_config(stage.lora),
        )
        head.score_only_supervised(trainer, answers_share_prompts=True)
        if (end := template.end_of_turn_id) not in trainer.eos_token_ids:
            raise TrainingError(f"{start}: token {end} ends a turn and stops no generation; answers would never end")
        trained = training.train(trainer, {})
        checks = _checks(trained.history, plan, trainer.apart_tolerance, stage)
        return training.save(trainer, trained, checks, ids[plan.order[0]], **_told(trained.history, plan, stage))


def arguments(stage: Grpo, common: dict[str, Any]) -> dict[str, Any]:
    """Arguments of TRL's config: the common ones, and every default of GRPO that bites."""
    return {
        **{name: value for name, value in common.items() if name != "max_length"},
        "num_generations": stage.generations,
        "generation_batch_size": stage.batch_rows,
        "num_iterations": 1,
        "shuffle_dataset": False,
        "max_completion_length": stage.max_new_tokens,
        "temperature": stage.temperature,
        "top_p": stage.top_p,
        "top_k": 0,
        "repetition_penalty": 1.0,
        "beta": stage.beta,
        "loss_type": stage.loss,
        "scale_rewards": stage.scale_rewards,
        "reward_weights": [reward.weight for reward in stage.rewards],
        "mask_truncated_completions": not stage.learn_from_cut,
        "disable_dropout": True,
        "use_vllm": False,
        "log_completions": False,
    }


def _must_fit(plan: "Rollouts", stage: Grpo, config: Any) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and plan.longest + stage.max_new_tokens > positions:
        raise TrainingError(
            f"a prompt of {plan.longest} tokens and {stage.max_new_tokens} new ones exceed the model's {positions} "
            "positions; lower max_length of the prompts, or max_new_tokens"
        )


def _told(history: list[dict[str, float]], plan: "Rollouts", stage: Grpo) -> dict[str, Any]:
    """What the answers were like, over all steps, also those of an attempt that was killed."""
    from training.rollouts import CUT, KL, LENGTH

    answers = [round(entry[LENGTH] * stage.batch_rows) for entry in history]
    ends = {name: {"first": history[0][key], "last": history[-1][key]} for name, key in _TOLD.items()}
    return {
        **ends,
        **({"kl_last": history[-1][KL]} if stage.beta else {}),
        "tokens": sum(answers) + sum(map(plan.prompt_tokens, range(plan.steps))),
        "answer_tokens": sum(answers),
        "answers_cut": sum(round(entry[CUT] * stage.batch_rows) for entry in history),
    }


_TOLD = {"reward": "reward", "length": "completions/mean_length"}


def _checks(history: list[dict[str, float]], plan: "Rollouts", apart_tolerance: float, stage: Grpo) -> dict[str, Check]:
    """What the trainer watched in every step, where it raises as soon as one of these does not hold."""
    from training.rollouts import APART, GROUP_SUM, GROUP_SUM_TOLERANCE, KL, KL_TOLERANCE

    largest = max(entry[GROUP_SUM] for entry in history)
    kl, tolerance = history[0].get(KL), KL_TOLERANCE[stage.precision]
    return {
        "prompts_untouched": check(
            len(history) == plan.steps,
            len(history),
            "in every step (counted here) the model answered the prompts' own token ids",
        ),
        "advantages_sum_to_zero": check(
            largest <= GROUP_SUM_TOLERANCE, largest, "the largest sum of the advantages of one prompt's answers"
        ),
        "scored_as_drawn": check(
            history[0][APART] <= apart_tolerance,
            history[0][APART],
            "nats a token between the log-probabilities of the first step's loss and the model's own on "
            f"each answer alone: within {apart_tolerance:g}",
        ),
        "kl_step0_zero": check(
            kl is None or kl <= tolerance,
            "no reference: beta is 0" if kl is None else kl,
            f"the divergence from the reference before the first step is 0 within {tolerance:g}",
        ),
    }
