"""Speed, share of the device's peak and memory of SFT and DPO on random-weight models of 0.1 to 1.5 billion parameters.

Rows are random tokens of ragged lengths, log-normal as in chat corpora; the model's weights are drawn, so nothing is
fetched. SFT: batches padded in random order as TRL does by default, batches of like lengths, such batches whose tokens
have weights of the loss, rows packed end to end (with flash attention where it is installed), each compiled or not.
DPO: reference log-probabilities taken in every step, or kept. Isolation: how far documents that share a micro-batch of
pretraining are from what they are alone, for each attention that is there; torch's own kernel for sequences of many
lengths takes the place of flash-attn where that is not installed. Runs end to end on a CPU at toy size, where it has no
share of a peak. The last line is a JSON object with one entry a run; one that ran out of memory says so.
"""

import argparse
import gc
import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jobs.process import install
from models.load import attend_at_any_length


@dataclass(frozen=True)
class Size:
    """A model's sizes, in the family that has them, and rows to train it on."""

    family: str
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    mean_tokens: int = 400
    longest: int = 2048


SIZES = {
    "toy": Size("llama", 64, 128, 2, 4, 2, 512, mean_tokens=12, longest=48),
    "0.1B": Size("llama", 576, 1536, 30, 9, 3, 49_152),
    "0.5B": Size("qwen2", 896, 4864, 24, 14, 2, 151_936),
    "1.5B": Size("qwen2", 1536, 8960, 28, 12, 2, 151_936),
}
_SFT = ("padded", "like lengths", "weighed", "packed")
_DPO = ("reference computed", "reference kept")


def main() -> None:
    install()
    import torch

    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["0.1B", "0.5B", "1.5B"] if on_gpu else ["toy"])
    parser.add_argument("--steps", type=int, default=20 if on_gpu else 4, help="timed, after --warm-up others")
    parser.add_argument("--warm-up", type=int, default=5 if on_gpu else 1)
    parser.add_argument("--batch-rows", type=int, default=64 if on_gpu else 8)
    parser.add_argument("--micro-batch", type=int, default=8 if on_gpu else 4)
    parser.add_argument("--compiled", choices=("no", "yes", "both"), default="both" if on_gpu else "no")
    parser.add_argument("--only", choices=("speed", "isolation"))
    parser.add_argument("--cudnn", action="store_true", help="torch may choose cuDNN's attention, as it does by itself")
    arguments = parser.parse_args()
    if not arguments.cudnn:
        attend_at_any_length()
    compiled = {"no": (False,), "yes": (True,), "both": (False, True)}[arguments.compiled]
    print(f"on {torch.cuda.get_device_name() if on_gpu else 'cpu'}", flush=True)
    results: list[dict[str, Any]] = []
    for name in arguments.sizes:
        if arguments.only != "speed":
            results += isolation(name)
        if arguments.only == "isolation":
            continue
        for kind, how, compile_it in [*_runs("sft", _SFT, compiled), *_runs("dpo", _DPO, (False,))]:
            figures = measured(SIZES[name], kind, how, compile_it, arguments)
            results.append({"size": name, "stage": kind, "how": how, "compiled": compile_it, **figures})
            print("  ".join(f"{key} {_shown(value)}" for key, value in results[-1].items()), flush=True)
    print(json.dumps({"runs": results}))


def isolation(name: str) -> list[dict[str, Any]]:
    """What `documents_apart` gives for micro-batches of 1, 2 and 4 sequences, and what it would give if flash attention
    got them side by side. The largest difference, as a share of the states' size."""
    import torch

    on_gpu = torch.cuda.is_available()
    flash = _flash() or ("flash_attention_2" if on_gpu and _torch_takes_its_place() else None)
    ways = [("sdpa", "fp32"), *([("sdpa", "bf16")] if on_gpu else []), *([(flash, "bf16")] if flash else [])]
    results = []
    for (attention, precision), micro_batch in product(ways, (1, 2, 4)):
        forms = ("as trained", "side by side") if attention == flash and micro_batch > 1 else ("as trained",)
        for form in forms:
            with TemporaryDirectory() as folder:
                found = _apart(SIZES[name], attention, precision, micro_batch, form, Path(folder))
            run = {"attention": attention, "precision": precision, "micro_batch": micro_batch, "form": form}
            results.append({"size": name, "stage": "pretrain", **run, "apart": found})
            print("  ".join(f"{key} {_shown(value)}" for key, value in results[-1].items()), flush=True)
            gc.collect()
    return results


def _apart(size: Size, attention: str, precision: str, micro_batch: int, form: str, folder: Path) -> float:
    import pyarrow as pa

    from recipes.stages import Pretrain
    from training import rows
    from training.invariants import isolation
    from training.losses import packed
    from training.stages import pretrain

    execution = {"micro_batch": micro_batch, "attention": attention}
    fields = {"learning_rate": 1e-5, "batch_rows": 4, "seed": 0, "precision": precision, "execution": execution}
    stage = Pretrain.model_validate({"kind": "pretrain", "start": "base", "mixture": "mixture", **fields})
    draw = random.Random(0)
    ids = [_tokens(draw, size, size.longest) for _ in range(stage.batch_rows)]
    starts = [[0, *sorted(draw.sample(range(1, size.longest), 4))] for _ in ids]
    sequences = pa.table({"input_ids": pa.array(ids, pa.list_(pa.int32())), "document_starts": starts})
    plan = rows.plan([len(row) for row in ids], stage)
    trainer = pretrain.trainer_of(stage, _model(size, stage), _tokenizer(size), sequences, plan, folder)
    if form == "side by side":
        trainer.data_collator = packed.Collator(0)
    places = trainer.micro_batches[0]
    batch = trainer.data_collator([trainer.train_dataset[place] for place in places])
    documents = isolation.placed(batch, [packed.documents(sequences, plan.order[place]) for place in places])
    value = float(isolation.documents_apart(trainer, batch, documents, precision)["value"] or 0)
    return value


def _torch_takes_its_place() -> bool:
    """Give transformers torch's attention over sequences of many lengths for flash-attn's; whether torch has it."""
    import transformers.modeling_flash_attention_utils as flash
    from torch.nn.functional import scaled_dot_product_attention
    from transformers import PreTrainedModel

    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False

    def dense(q: Any, k: Any, v: Any, softmax_scale: float | None = None, causal: bool = False) -> Any:
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        found = scaled_dot_product_attention(q, k, v, is_causal=causal, scale=softmax_scale, enable_gqa=True)
        return found.transpose(1, 2)

    def varlen(
        q: Any,
        k: Any,
        v: Any,
        cu_seqlens_q: Any,
        cu_seqlens_k: Any,
        max_seqlen_q: int,
        max_seqlen_k: int,
        softmax_scale: float | None = None,
        causal: bool = False,
    ) -> Any:
        window = (-1, 0) if causal else (-1, -1)
        sizes = (cu_seqlens_q, cu_seqlens_k, int(max_seqlen_q), int(max_seqlen_k))
        return varlen_attn(q, k, v, *sizes, scale=softmax_scale, window_size=window, enable_gqa=True)

    flash._lazy_imports = lambda *_, **__: (dense, varlen, None, flash._pad_input, flash._unpad_input)
    PreTrainedModel._flash_attn_can_dispatch = lambda *_, **__: True
    return True


def measured(size: Size, kind: str, how: str, compile_it: bool, arguments: argparse.Namespace) -> dict[str, Any]:
    """Figures of one run; `error` alone if memory ran out."""
    import torch

    from jobs.memory import ran_out
    from training.loop.memory import BatchTooLarge

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        with TemporaryDirectory() as folder:
            return _run(size, kind, how, compile_it, arguments, Path(folder))
    except (RuntimeError, BatchTooLarge) as error:
        if not isinstance(error, BatchTooLarge) and not ran_out(error):
            raise
        return {"error": "out of memory"}
    finally:
        torch.compiler.reset()


def _runs(kind: str, ways: tuple[str, ...], compiled: tuple[bool, ...]) -> Iterator[tuple[str, str, bool]]:
    return ((kind, how, compile_it) for how, compile_it in product(ways, compiled))


def _run(
    size: Size, kind: str, how: str, compile_it: bool, arguments: argparse.Namespace, folder: Path
) -> dict[str, Any]:
    import torch
    from transformers import PrinterCallback

    from training.loop import memory
    from training.loop.measures import Meter

    steps = arguments.steps + arguments.warm_up
    fields = {
        "start": "base",
        "learning_rate": 1e-5,
        "batch_rows": arguments.batch_rows,
        "max_steps": steps,
        "precision": "bf16" if torch.cuda.is_available() else "fp32",
        "seed": 0,
        "execution": {
            "micro_batch": arguments.micro_batch,
            "compile": compile_it,
            "packing": how == "packed",
            "attention": _flash() if how == "packed" else None,
        },
    }
    make = _sft_trainer if kind == "sft" else _dpo_trainer
    trainer, plan, job = make(size, how, fields, folder)
    meter = Meter(trainer, plan, job)
    clock = _Clock(meter, arguments.warm_up)
    memory.announce_batches(trainer, meter.count)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(clock.callback())
    trainer.train()
    figures = clock.figures
    peak = {"peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9} if torch.cuda.is_available() else {}
    wanted = ("tokens_per_s", "padded_tokens_per_s", "mfu_percent")
    return {name: round(figures[name], 2) for name in wanted if name in figures} | peak


class _Clock:
    """Restarts the meter after the warm-up and reads it after the last step."""

    def __init__(self, meter: Any, warm_up: int) -> None:
        self._meter, self._warm_up = meter, warm_up
        self.figures: dict[str, float] = {}

    def callback(self) -> Any:
        import torch
        from transformers import TrainerCallback

        clock = self

        class Callback(TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if state.global_step == clock._warm_up:
                    clock._meter.start(state.global_step, 0.0)
                clock.figures = clock._meter.figures(state.global_step)

        return Callback()


def _sft_trainer(size: Size, how: str, fields: dict[str, Any], folder: Path) -> tuple[Any, Any, Any]:
    import pyarrow as pa
    from trl import SFTConfig, SFTTrainer

    from recipes.stages import Sft
    from training import rows
    from training.loop import loop
    from training.loop.batching import TrainerOfLikeLengths
    from training.losses import head, weighted
    from training.stages import sft

    stage = Sft.model_validate({"kind": "sft", "mixture": "mixture", **fields})
    draw = random.Random(0)
    lengths = _lengths(draw, size, stage.batch_rows * fields["max_steps"])
    ids = [_tokens(draw, size, length) for length in lengths]
    counted = [[place >= len(row) // 2 for place in range(len(row))] for row in ids]
    columns = {"input_ids": pa.array(ids, pa.list_(pa.int32())), "supervised": pa.array(counted)}
    if how == "weighed":
        columns["loss_weights"] = pa.array([[0.5 * learned for learned in row] for row in counted])
    table = pa.table(columns)
    plan = rows.plan([len(row) for row in ids], stage)
    dataset = sft._with_weights(sft._dataset(table), table) if how == "weighed" else sft._dataset(table)
    given = {
        "model": _model(size, stage),
        "args": SFTConfig(
            **_unsaved(loop.arguments(stage, plan, folder))
            | {"train_sampling_strategy": "random" if how == "padded" else "sequential"},
            packing=False,
            padding_free=stage.execution.packing,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        "train_dataset": dataset.select(plan.order),
        "processing_class": _tokenizer(size),
    }
    if how == "padded":
        return SFTTrainer(**given), plan, _job(stage, folder)
    batches = rows.micro_batches(plan, stage.execution.micro_batch)
    trainer = TrainerOfLikeLengths(micro_batches=batches, **given)
    if how == "weighed":
        trainer.data_collator = weighted.Collator(trainer.data_collator)
    head.score_only_supervised(trainer)
    return trainer, plan, _job(stage, folder)


def _dpo_trainer(size: Size, how: str, fields: dict[str, Any], folder: Path) -> tuple[Any, Any, Any]:
    import pyarrow as pa
    from trl import DPOConfig

    from recipes.stages import Dpo
    from training import rows
    from training.loop import loop
    from training.losses import head, reference
    from training.losses.preference_trainers import PreferenceTrainer
    from training.stages import dpo

    stage = Dpo.model_validate({"kind": "dpo", "preferences": "pairs", "beta": 0.1, **fields})
    draw, count = random.Random(0), stage.batch_rows * fields["max_steps"]
    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    columns = [[_tokens(draw, size, -(-length // 2)) for length in _lengths(draw, size, count)] for _ in names]
    table = pa.table([pa.array(column, pa.list_(pa.int32())) for column in columns], names=names)
    plan = rows.plan(rows.pair_lengths(table), stage)
    kept = how == "reference kept"
    trainer = PreferenceTrainer(
        micro_batches=rows.micro_batches(plan, stage.execution.micro_batch),
        model=_model(size, stage),
        ref_model=None if kept else _model(size, stage),
        args=DPOConfig(**_unsaved(loop.arguments(stage, plan, folder)), beta=stage.beta, precompute_ref_log_probs=kept),
        train_dataset=dpo._dataset(table, plan.order),
        processing_class=_tokenizer(size),
    )
    head.score_only_supervised(trainer)
    if kept:
        known = reference.computed(trainer, trainer.micro_batches)
        values = zip(*(known[place] for place in sorted(known)), strict=True)
        trainer.train_dataset = dpo._dataset(table, plan.order, pa.table(list(map(list, values)), reference.COLUMNS))
    return trainer, plan, _job(stage, folder)


def _unsaved(arguments: dict[str, Any]) -> dict[str, Any]:
    return arguments | {"save_strategy": "no", "logging_steps": 1_000}


def _job(stage: Any, folder: Path) -> Any:
    from jobs.job import Job, JobInput

    inputs = {role: JobInput(path=folder, digest="") for role in stage.inputs()}
    return Job(
        kind=stage.kind,
        recipe="benchmark",
        node=stage.kind,
        ref=stage.kind,
        home=folder,
        payload={},
        config=stage.model_dump(mode="json"),
        execution={},
        inputs=inputs,
    )


def _model(size: Size, stage: Any) -> Any:
    """Float32 master weights, as `training.weights` loads them for full fine-tuning."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        size.family,
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        vocab_size=size.vocabulary,
        max_position_embeddings=2 * size.longest,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation=stage.execution.attention
        )


def _tokenizer(size: Size) -> Any:
    """A tokenizer that nothing is tokenised with: the trainers ask it for a pad token."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2}, unk_token="<unk>")
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(words), pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )


def _flash() -> str | None:
    """The newest flash attention that can be used here, if any."""
    from transformers.utils import is_flash_attn_2_available, is_flash_attn_3_available

    if is_flash_attn_3_available():
        return "flash_attention_3"
    return "flash_attention_2" if is_flash_attn_2_available() else None


def _lengths(draw: random.Random, size: Size, count: int) -> list[int]:
    """Tokens of rows: log-normal with sigma 1 about the mean, from 8 up to the longest."""
    median = size.mean_tokens / math.exp(0.5)
    return [min(size.longest, max(8, round(median * draw.lognormvariate(0, 1)))) for _ in range(count)]


def _tokens(draw: random.Random, size: Size, length: int) -> list[int]:
    return [draw.randrange(3, size.vocabulary) for _ in range(length)]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
