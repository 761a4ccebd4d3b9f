"""The runs that `benchmarks.training` compares, each in a process of its own: `python -m benchmarks.training_runs`.

TRL's own trainers are given the same model, rows, loss, optimizer, schedule and precision as ours, and keep their
defaults in what is compared: batches of eight rows in random order, padded to the longest, every position scored;
reference log-probabilities taken anew in every step. Reads one JSON object of arguments, prints one of results.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.process import install

SETTINGS: dict[str, Any] = {
    "warmup_share": 0.05,
    "precision": "fp32",
    "seed": 17,
    "checkpoint_steps": 1_000_000,
}
LORA = {"rank": 32, "alpha": 64}
TRL_ROWS = 8
"""`per_device_train_batch_size` when nothing is said."""

_HELD_OUT = 64


def main() -> None:
    """Run what the first argument names on the JSON object in the second."""
    install()
    runs: tuple[Callable[..., dict[str, Any]], ...] = (sft_trl, sft_ours, held_out_losses, dpo, grpo)
    run = {run.__name__: run for run in runs}[sys.argv[1]]
    print(json.dumps(run(**json.loads(sys.argv[2]))))


def sft_trl(
    start: str, mixture: str, longest: int, rows: int, learning_rate: float, save: str, clock: str
) -> dict[str, Any]:
    """TRL's SFT of the first `rows` rows; the model goes to the folder `save`."""
    from trl import SFTTrainer

    table = rows_of(mixture, longest).slice(0, rows)
    trainer = SFTTrainer(**_sft(start, table, learning_rate, batch=TRL_ROWS, steps=-(-rows // TRL_ROWS), random=True))
    return _trained_and_saved(trainer, clock, save)


def sft_ours(
    start: str, mixture: str, longest: int, rows: int, learning_rate: float, save: str, clock: str, order: int = 0
) -> dict[str, Any]:
    """The same rows on the trainer and the batches of our sft stage, bare: nothing is checked or recorded.

    order: 0 for the mixture's own, else the seed of another.
    """
    import numpy as np

    from recipes.stages import Sft
    from training import rows as in_order
    from training.loop.batching import TrainerOfLikeLengths
    from training.losses import head

    table, steps = rows_of(mixture, longest).slice(0, rows), -(-rows // TRL_ROWS)
    if order:
        table = table.take(np.random.default_rng(order).permutation(rows)).combine_chunks()
    stage = Sft.model_validate(stage_fields(learning_rate) | {"max_steps": steps})
    plan = in_order.plan(table["n_tokens"].to_pylist(), stage)
    trainer = TrainerOfLikeLengths(
        micro_batches=in_order.micro_batches(plan, stage.execution.micro_batch),
        **_sft(start, table.take(plan.order), learning_rate, stage.execution.micro_batch, steps, random=False),
    )
    head.score_only_supervised(trainer)
    return _trained_and_saved(trainer, clock, save)


def _trained_and_saved(trainer: Any, clock: str, save: str) -> dict[str, Any]:
    seconds = _trained(trainer, clock)
    trainer.model.merge_and_unload().save_pretrained(save)
    return {"seconds": seconds}


def held_out_losses(models: list[str], mixture: str, longest: int, after: int) -> dict[str, Any]:
    """Mean loss per supervised token of each row that none was trained on, by model."""
    import torch

    from training.weights import load

    table = rows_of(mixture, longest).slice(after, _HELD_OUT)
    found: dict[str, list[float]] = {}
    for folder in models:
        model = load(Path(folder), torch.float32)
        found[folder] = []
        for row in _labelled(table):
            with torch.inference_mode():
                ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
                found[folder].append(float(model(input_ids=ids, labels=labels).loss))
    return {"losses": list(found.values())}


def dpo(start: str, preferences: str, pairs: int, full: bool, repeats: int, clock: str) -> dict[str, Any]:
    """Seconds of DPO steps that know their reference log-probabilities, and of the same that compute them; in turn."""
    seconds: dict[str, list[float]] = {"cached": [], "computed": []}
    losses: dict[str, float] = {}
    for _ in range(repeats):
        for how, spent in seconds.items():
            trainer = _preference_trainer(Path(start), Path(preferences), pairs, full, cached=how == "cached")
            spent.append(_trained(trainer, clock, warm_up=1))  # the first step makes Adam's moments
            losses[how] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry][-1]
    return {"seconds": seconds, "losses": losses}


def grpo(start: str, ours: bool, steps: int, clock: str) -> dict[str, Any]:
    """Seconds of GRPO steps on sums, 64 answers of up to 12 tokens each, after a first one; shorter is better."""
    from datasets import Dataset
    from reasoning_gym import create_dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from recipes.stages import Grpo
    from training import rollouts, weights
    from training.loop import loop
    from training.losses import head
    from training.stages import grpo as stages

    stage = Grpo.model_validate(
        {"kind": "grpo", "start": "base", "prompts": "sums", "rewards": [{"kind": "length", "free_tokens": 1}]}
        | {"generations": 8, "max_new_tokens": 12, "batch_rows": 64, "learning_rate": 1e-6, "max_steps": steps + 1}
        | {"lora": LORA, "execution": {"micro_batch": 16}}
        | SETTINGS
    )
    sums = create_dataset("chain_sum", size=8 * (steps + 1), seed=17, min_terms=2, max_terms=2, max_digits=2)
    asked = [[{"role": "user", "content": problem["question"]}] for problem in sums]
    tokenizer = AutoTokenizer.from_pretrained(start)
    ids = [tokenizer.apply_chat_template(one, add_generation_prompt=True)["input_ids"] for one in asked]
    plan = rollouts.plan([len(row) for row in ids], stage)
    model = weights.load_for_training(Path(start), stage)
    arguments = stages.arguments(stage, loop.arguments(stage, plan, Path("unused"))) | {"save_strategy": "no"}
    given = {
        "model": model,
        "args": GRPOConfig(**arguments),
        "reward_funcs": [lambda completion_ids, **_: [-len(answer) for answer in completion_ids]],
        "train_dataset": Dataset.from_dict({"prompt": ids if ours else asked, "row": list(range(len(ids)))}),
        "processing_class": tokenizer,
        "peft_config": weights.lora_config(stage.lora),
    }
    if ours:
        trainer = rollouts.RolloutTrainer(plan=plan, precision=stage.precision, **given)
        head.score_only_supervised(trainer, answers_share_prompts=True)
    else:
        trainer = GRPOTrainer(**given)
    seconds = _trained(trainer, clock, warm_up=1)
    lengths = [entry["completions/mean_length"] for entry in trainer.state.log_history if "loss" in entry]
    return {"seconds": seconds, "length": sum(lengths[1:]) / steps}


def stage_fields(learning_rate: float) -> dict[str, Any]:
    """An SFT stage as TRL's is set, eight rows to a step."""
    return {
        "kind": "sft",
        "start": "base",
        "mixture": "ragged",
        "learning_rate": learning_rate,
        "batch_rows": TRL_ROWS,
        "lora": LORA,
        "execution": {"micro_batch": 4},
        **SETTINGS,
    }


def _sft(start: str, table: Any, learning_rate: float, batch: int, steps: int, random: bool) -> dict[str, Any]:
    from transformers import AutoTokenizer
    from trl import SFTConfig

    from recipes.stages import Sft
    from training import rows, weights
    from training.loop import loop
    from training.stages import sft

    stage = Sft.model_validate(stage_fields(learning_rate) | {"max_steps": steps})
    plan = rows.plan(table["n_tokens"].to_pylist(), stage)
    arguments = loop.arguments(stage, plan, Path("unused")) | {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": TRL_ROWS // batch,
        "train_sampling_strategy": "random" if random else "sequential",
        "save_strategy": "no",
    }
    return {
        "model": weights.load_for_training(Path(start), stage),
        "args": SFTConfig(**arguments, packing=False, dataset_kwargs={"skip_prepare_dataset": True}),
        "train_dataset": sft._dataset(table.combine_chunks()),
        "processing_class": AutoTokenizer.from_pretrained(start),
        "peft_config": weights.lora_config(stage.lora),
    }


def _preference_trainer(start: Path, preferences: Path, pairs: int, full: bool, cached: bool) -> Any:
    """A trainer of the first `pairs` pairs that is ready for its first step."""
    import pyarrow as pa
    from transformers import AutoTokenizer
    from trl import DPOConfig

    from recipes.stages import Dpo
    from training import rows, weights
    from training.loop import loop
    from training.losses import head, reference
    from training.losses.preference_trainers import PreferenceTrainer
    from training.stages import dpo

    stage = Dpo.model_validate(
        {"kind": "dpo", "start": "base", "preferences": "pairs", "beta": 0.1, "learning_rate": 1e-6}
        | {"batch_rows": 16, "execution": {"micro_batch": 8}}
        | SETTINGS
        | ({} if full else {"lora": LORA})
    )
    table = rows.read(preferences / "pairs.parquet", ("prompt_ids", "chosen_ids", "rejected_ids")).slice(0, pairs)
    plan = rows.plan(rows.pair_lengths(table), stage)
    trainer = PreferenceTrainer(
        micro_batches=rows.micro_batches(plan, stage.execution.micro_batch),
        model=weights.load_for_training(start, stage),
        ref_model=None if cached or stage.lora else weights.load_for_training(start, stage),
        args=DPOConfig(
            **loop.arguments(stage, plan, Path("unused")) | {"save_strategy": "no"},
            beta=stage.beta,
            precompute_ref_log_probs=cached,
        ),
        train_dataset=dpo._dataset(table, plan.order),
        processing_class=AutoTokenizer.from_pretrained(start),
        peft_config=weights.lora_config(stage.lora),
    )
    head.score_only_supervised(trainer)
    if cached:
        known = reference.computed(trainer, trainer.micro_batches)
        columns = zip(*(known[place] for place in sorted(known)), strict=True)
        trainer.train_dataset = dpo._dataset(table, plan.order, pa.table(list(map(list, columns)), reference.COLUMNS))
    return trainer


def rows_of(mixture: str, longest: int) -> Any:
    """Rows of a mixture, in its order, of at most so many tokens."""
    import pyarrow.compute as pc

    from training import rows

    table = rows.read(Path(mixture) / "rows.parquet", ("input_ids", "supervised", "n_tokens"))
    return table.filter(pc.field("n_tokens") <= longest).combine_chunks()


def _labelled(table: Any) -> Any:
    from training.stages import sft

    return sft._dataset(table.combine_chunks())


def _trained(trainer: Any, clock: str, warm_up: int = 0) -> float:
    """Seconds of the steps after so many others: of the wall's clock, or of this process's work."""
    from transformers import PrinterCallback, TrainerCallback

    now = {"wall": time.perf_counter, "cpu": time.process_time}[clock]

    class Clock(TrainerCallback):  # type: ignore[misc]
        began = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.began = now()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.ended = now()
            self.began = self.ended if state.global_step == warm_up else self.began

    watched = Clock()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(watched)
    trainer.train()
    return watched.ended - watched.began


if __name__ == "__main__":
    main()
