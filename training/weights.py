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

from jobs import group
from jobs.progress import say
from lineage.errors import TrainingError
from lineage.store import RECORD
from models.load import Incomplete, weights
from recipes.stages import Lora, StageBase
from training import kernels, quantized
from training.invariants import saved
from training.invariants.rendering import served_as_trained
from training.loop import checkpoints

if TYPE_CHECKING:
    import torch

Loader = Callable[..., Any]
"""Loads the model of a checkpoint folder as `load` does: with its language head, or with another."""

ADAPTER = "adapter"

_PROBED = 64
"""Tokens that the proofs of a saved checkpoint are computed on: a wrong weight shows in the first."""


def load(start: Path, dtype: "torch.dtype", **held: Any) -> Any:
    """The model of a checkpoint folder. Raises TrainingError if it is not there whole.

    held: how its linear layers are held, where not in `dtype` as all else, and how attention is computed.
    """
    try:
        return weights(start, dtype, **held)
    except Incomplete as error:
        raise TrainingError(f"{start}: {error}") from None


def load_for_training(start: Path, stage: StageBase, loaded: Loader = load) -> Any:
    """The start checkpoint in the type that `stage.precision` trains in.

    fp32: everything in float32. bf16 with LoRA: frozen weights in bfloat16, adapters (made by the trainer) in
    float32. bf16 without: float32 master weights, since steps smaller than 1/256 of a weight vanish in
    bfloat16. In both, matrix products are taken in bfloat16 by autocast. With `lora.quantization` the frozen linear
    layers are held in 4 or 8 bits.
    """
    import torch

    kernels.must_be_there(stage.execution)
    if stage.precision == "bf16" and not torch.cuda.is_available():
        _warn_of_emulation()
    frozen_in_bf16 = stage.precision == "bf16" and stage.lora is not None
    dtype = torch.bfloat16 if frozen_in_bf16 else torch.float32
    held = quantized.held(stage.lora.quantization, dtype) if stage.lora else {}
    return quantized.as_packed(loaded(start, dtype, attn_implementation=stage.execution.attention, **held))


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
        **lora.args,
    )


def save(
    trained: Any, start: Path, work: Path, probe: list[int], loaded: Loader = load, own: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Write the trained weights to `work` in the start checkpoint's type and prove them; returns the checks.

    trained: the trainer's model. With LoRA the adapter goes to `adapter/` and is merged in float32 into the start
    checkpoint's own weights, never into quantised ones. probe: token ids of a row, on whose first the proofs are
    computed. loaded: how the model that is trained is loaded. own: files that are the trained model's own, not the
    start's.
    """
    import torch
    from peft import PeftModel

    checks: dict[str, Any] = {}
    whole = _whole_state(trained)
    if not group.leads():
        return checks
    dtype, probe = _dtype(start), probe[:_PROBED]
    checkpoints.need_space(work, sum(file.stat().st_size for file in start.iterdir() if _is_weights(file)))
    device = trained.device
    if isinstance(trained, PeftModel):
        model = None
        if not quantized.is_quantized(trained):
            frozen = next(weight.dtype for weight in trained.parameters() if not weight.requires_grad)
            model = loaded(start, frozen)
            checks["frozen_unmoved"] = saved.frozen_unmoved(trained, model)
        if model is None or model.dtype != torch.float32:
            model = None  # let go before the next is loaded: two copies of a large model may not fit
            model = loaded(start, torch.float32)
        _save_adapter(trained, work / ADAPTER, whole)
        model, merging = _merge(trained, model.to(device), work / ADAPTER, probe)
        checks |= merging
    else:
        model = loaded(start, torch.float32).to(device)
        model.load_state_dict(whole)
    for weight in model.parameters():  # not `model.to`: it would round buffers too, such as rotary frequencies
        weight.data = weight.data.to(dtype)
    _save_weights(model, start, work, own)
    checks["reload_equal"] = saved.reload_equal(model, loaded(work, dtype).to(device), probe)
    checks["served_as_trained"] = served_as_trained(start, work)
    return checks


def _save_weights(model: Any, start: Path, work: Path, own: tuple[str, ...]) -> None:
    model.save_pretrained(work)
    for file in start.iterdir():
        if file.is_file() and not _is_weights(file) and file.name not in (RECORD, "history.json", *own):
            shutil.copyfile(file, work / file.name)


def _is_weights(file: Path) -> bool:
    return file.name.endswith((".safetensors", ".safetensors.index.json"))


def _whole_state(trained: Any) -> dict[str, Any]:
    """Weights by name, put together where processes hold a part of each; all of them must call it."""
    parameters = list(trained.parameters())
    if any(hasattr(parameter, "ds_id") for parameter in parameters):
        from deepspeed.zero import GatheredParameters

        with GatheredParameters(parameters):
            return {name: weight.detach().cpu().clone() for name, weight in trained.state_dict().items()}
    state = trained.state_dict()
    return {name: w.full_tensor() if hasattr(w, "full_tensor") else w for name, w in state.items()}


def _save_adapter(trained: Any, folder: Path, state: dict[str, Any]) -> None:
    """The adapter as PEFT writes it, less what differs between machines and runs: paths, order, a model card."""
    trained.save_pretrained(folder, state_dict=state)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = None
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()
    file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _merge(trained: Any, start: Any, adapter: Path, probe: list[int]) -> tuple[Any, dict[str, Any]]:
    """Start and adapter as one model in float32, and the checks that it lost nothing."""
    from peft import PeftModel

    apart = PeftModel.from_pretrained(start, adapter)
    checks = {"adapter_whole": saved.adapter_whole(trained, apart)}
    before = saved.logits(apart, probe)
    merged = apart.merge_and_unload(safe_merge=True)
    checks["merged_equals_adapter"] = saved.merged_equals_adapter(saved.logits(merged, probe), before)
    return merged, checks


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
