"""QLoRA: frozen weights in 4 or 8 bits while an adapter trains in float32; what comes out is merged without them."""

from pathlib import Path
from typing import Any

import pytest
from made_invariants import StopAfter
from made_jobs import LORA, dpo_job, run_here, sft_job

from jobs.job import Job
from lineage.store import Artifact
from recipes.errors import DONE, INTERRUPTED
from training import quantized as held


def quantized(quantization: str, **more: Any) -> dict[str, Any]:
    return {"lora": {**LORA, "quantization": quantization}, **more}


def sealed(job: Job) -> Artifact:
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    return found


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_the_adapter_is_merged_into_the_start_as_it_was_never_quantised(
    tiny_base: Path, tmp_path: Path, quantization: str
) -> None:
    import torch
    from peft import PeftModel
    from safetensors import safe_open

    from training import weights
    from training.invariants import saved

    found = sealed(sft_job(tiny_base, tmp_path, rows=8, epochs=2.0, **quantized(quantization)))
    assert found.failed_checks == []
    assert found.metrics["loss_last"] < found.metrics["loss_first"]
    with safe_open(found.path / "adapter" / "adapter_model.safetensors", "pt") as adapter:
        assert {adapter.get_slice(name).get_dtype() for name in adapter.keys()} == {"F32"}  # noqa: SIM118
    start = weights.load(tiny_base, torch.float32)
    plain = {name: weight.clone() for name, weight in start.state_dict().items()}
    apart = saved.logits(PeftModel.from_pretrained(start, found.path / "adapter"), list(range(5, 45)))
    merged = weights.load(found.path, torch.float32)
    assert (saved.logits(merged, list(range(5, 45))) - apart).abs().max() < 1e-4
    untouched = [name for name, weight in merged.state_dict().items() if torch.equal(weight, plain[name])]
    assert set(untouched) == {name for name in plain if "proj" not in name}


def test_frozen_weights_are_held_in_few_bits_and_adapters_in_float32(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    from recipes.stages import Sft
    from training import weights

    stage = Sft.model_validate(sft_job(tiny_base, tmp_path, **quantized("nf4")).config)
    model = weights.load_for_training(tiny_base, stage)
    assert held.is_quantized(model)
    assert model.model.layers[0].mlp.down_proj.weight.dtype == torch.uint8
    assert model.model.embed_tokens.weight.dtype == torch.float32
    model.model.norm.weight.data = model.model.norm.weight.data.bfloat16()
    held.adapters_in_float32(model)
    assert model.model.norm.weight.dtype == torch.float32


def test_a_stopped_qlora_resumes_bit_equal(tiny_base: Path, tmp_path: Path) -> None:
    short = quantized("nf4", rows=12, max_steps=3)
    whole = sealed(sft_job(tiny_base, tmp_path / "whole", **short))
    job = sft_job(tiny_base, tmp_path / "cut", **short)
    assert run_here(job, StopAfter(6)) == INTERRUPTED
    found = sealed(job)
    assert found.metrics["resumed_from_step"] > 0
    assert found.digest == whole.digest


def test_the_reference_of_dpo_is_the_start_in_the_same_bits(tiny_base: Path, tmp_path: Path) -> None:
    found = sealed(dpo_job(tiny_base, tmp_path, pairs=8, **quantized("nf4")))
    assert found.failed_checks == []
    assert found.metrics["margins"]["first"] == pytest.approx(0, abs=1e-6)
