"""Weights in and out of a stage: how they are loaded for a precision, merged, saved and proven.

A checkpoint's configuration, tokenizer and chat template are not changed by training, so their files are
copied byte for byte from the start checkpoint; only the weights are new. What is proven: the merged model
computes what start and adapter compute together, and the saved folder reloads to the model that was saved.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.store import RECORD
from recipes.stage_base import Lora, StageBase
from training import TrainingError
from training.progress import say

if TYPE_CHECKING:
    import torch

Loader = Callable[[Path, "torch.dtype"], Any]
"""Loads the model of a checkpoint folder in a type: with its language head, or with another."""

ADAPTER = "adapter"
_MERGE_TOLERANCE = 1e-3
"""Largest difference of fp32 logits, relative to their largest size, that merging may cause by rounding."""


def load(start: Path, dtype: "torch.dtype") -> Any:
    """The model of a checkpoint folder; only safetensors, no code of the checkpoint's own."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        start, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
    )
    return model


def load_for_training(start: Path, stage: StageBase, loaded: Loader = load) -> Any:
    """The start checkpoint in the type that `stage.precision` trains in.

    fp32: everything in float32. bf16 with LoRA: frozen weights in bfloat16, adapters (made by the trainer) in
    float32. bf16 without: float32 master weights, since steps smaller than 1/256 of a weight vanish in
    bfloat16. In both, matrix products are taken in bfloat16 by autocast.
    """
    import torch

    if stage.precision == "bf16" and not torch.cuda.is_available():
        _warn_of_emulation()
    frozen_in_bf16 = stage.precision == "bf16" and stage.lora is not None
    return loaded(start, torch.bfloat16 if frozen_in_bf16 else torch.float32)


def lora_config(lora: Lora | None, task_type: str = "CAUSAL_LM") -> Any:
    """What PEFT is asked for, or None for full fine-tuning."""
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type=task_type,
    )


def save(
    trained: Any, start: Path, work: Path, probe: list[int], loaded: Loader = load, own: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Write the trained weights to `work` in the start checkpoint's type and prove them; returns the checks.

    trained: the trainer's model. With LoRA the adapter goes to `adapter/` and is merged in float32 into the
    start checkpoint's own weights. probe: token ids of a row, what the proofs are computed on. loaded: how the
    model that is trained is loaded. own: files that are the trained model's own and not those of the start.
    """
    import torch
    from peft import PeftModel

    checks = {}
    dtype = _dtype(start)
    device = trained.device
    if isinstance(trained, PeftModel):
        _save_adapter(trained, work / ADAPTER)
        model, checks["merged_equals_adapter"] = _merge(loaded(start, torch.float32).to(device), work / ADAPTER, probe)
    else:
        model = loaded(start, torch.float32).to(device)
        model.load_state_dict(trained.state_dict())
    for weight in model.parameters():  # not `model.to`: it would round buffers too, such as rotary frequencies
        weight.data = weight.data.to(dtype)
    _save_weights(model, start, work, own)
    checks["reload_equal"] = _reloads(model, loaded(work, model.dtype), probe)
    return checks


def _save_weights(model: Any, start: Path, work: Path, own: tuple[str, ...]) -> None:
    model.save_pretrained(work)
    for file in start.iterdir():
        if file.is_file() and not _is_weights(file) and file.name not in (RECORD, "history.json", *own):
            shutil.copyfile(file, work / file.name)


def _is_weights(file: Path) -> bool:
    return file.name.endswith((".safetensors", ".safetensors.index.json"))


def _save_adapter(trained: Any, folder: Path) -> None:
    """The adapter as PEFT writes it, less what differs between machines and runs: paths, order, a model card."""
    trained.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = None
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _merge(start: Any, adapter: Path, probe: list[int]) -> tuple[Any, dict[str, Any]]:
    from peft import PeftModel

    apart = PeftModel.from_pretrained(start, adapter)
    before = _logits(apart, probe)
    merged = apart.merge_and_unload(safe_merge=True)
    after = _logits(merged, probe)
    apart_by = float((after - before).abs().max() / before.abs().max())
    return merged, {
        "passed": apart_by <= _MERGE_TOLERANCE,
        "blocking": True,
        "value": apart_by,
        "description": f"logits of start + adapter and of the merged weights in fp32 differ by at most "
        f"{_MERGE_TOLERANCE:g} of the largest",
    }


def _reloads(model: Any, again: Any, probe: list[int]) -> dict[str, Any]:
    """Equal logits; or equal weights and logits within their type's last bits: a head of one number is a single sum,
    taken in another order where its weights lie otherwise in memory."""
    import torch

    saved, reloaded = _logits(model, probe), _logits(again.to(model.device), probe)
    apart = float((saved - reloaded).abs().max())
    weights = again.state_dict()
    same = all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    return {
        "passed": torch.equal(saved, reloaded)
        or (same and apart <= 4 * torch.finfo(model.dtype).eps * float(saved.abs().max())),
        "blocking": True,
        "value": apart,
        "description": "the saved folder reloads to the very logits of the model that was saved",
    }


def _logits(model: Any, probe: list[int]) -> "torch.Tensor":
    import torch

    model.eval()
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([probe], device=model.device), use_cache=False).logits
    return logits.float()


def _dtype(checkpoint: Path) -> "torch.dtype":
    import torch

    name = json.loads((checkpoint / "config.json").read_text(encoding="utf-8")).get("dtype")
    dtype = getattr(torch, str(name), None)
    if not isinstance(dtype, torch.dtype):
        raise TrainingError(f"{checkpoint / 'config.json'}: dtype {name!r} is not a torch type")
    return dtype


def _warn_of_emulation() -> None:
    import torch

    if "AVX512" not in (capability := torch.backends.cpu.get_cpu_capability()):
        say(f"this CPU ({capability}) has no bf16 instructions: precision fp32 is several times faster here")
