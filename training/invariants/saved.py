"""What was saved: the weights that were trained, merged without loss, read back to the very model.

Weights go in and out of a stage in `weights`, which calls these on every checkpoint it writes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.checks import Check, check
from lineage.hashing import file_digest

if TYPE_CHECKING:
    import torch

MERGE_TOLERANCE = 1e-3
"""Largest difference of fp32 logits, relative to their largest size, that merging may cause by rounding."""


def frozen_unmoved(trained: Any, start: Any) -> Check:
    """What an adapter was trained on is, bit for bit, the start checkpoint that it will be merged into.

    trained: the trainer's model with its adapter; start: the checkpoint, in the type that the frozen weights have.
    Catches frozen weights that were trained, and adapters whose initialisation changes them (PiSSA, OLoRA): merged
    into the start they make a model that nobody trained.
    """
    import torch

    of_start = dict(start.named_parameters())
    moved = 0
    for name, weight in trained.get_base_model().named_parameters():
        if ".modules_to_save." in name or "lora_" in name:
            continue
        plain = name.replace(".base_layer.", ".").replace(".original_module.", ".")
        moved += not torch.equal(weight.detach().cpu(), of_start[plain].detach().cpu())
    return check(moved == 0, moved, "frozen tensors that are not those of the start checkpoint: none may be")


def adapter_whole(trained: Any, reloaded: Any) -> Check:
    """The adapter on disk holds every tensor that was trained, with the values that it had.

    Both are models with an adapter. Catches adapters that are saved empty or in part (trl#4416; peft#2450, #2892) and
    trained modules that are no part of the file (peft#1300).
    """
    import torch
    from peft import get_peft_model_state_dict

    of_trained, of_file = get_peft_model_state_dict(trained), get_peft_model_state_dict(reloaded)
    lost = sum(
        name not in of_file or not torch.equal(value.detach().cpu(), of_file[name].detach().cpu().to(value.dtype))
        for name, value in of_trained.items()
    )
    return check(
        lost == 0 and bool(of_trained), lost, f"of {len(of_trained)} tensors of the adapter, those that were not saved"
    )


def merged_equals_adapter(merged: "torch.Tensor", apart: "torch.Tensor") -> Check:
    """Logits of the merged weights are those of start and adapter, both in fp32, but for rounding.

    Catches merges in low precision or into quantised weights (peft#1043, #1836, #2321) and a wrong scale.
    """
    by = float((merged - apart).abs().max() / apart.abs().max())
    return check(
        by <= MERGE_TOLERANCE,
        by,
        "logits of start + adapter and of the merged weights in fp32 differ by at most "
        f"{MERGE_TOLERANCE:g} of the largest",
    )


def reload_equal(model: Any, reloaded: Any, probe: list[int]) -> Check:
    """The model in memory and the folder read back have the same weights and the same logits, to the bit.

    Catches tensors that a save leaves out and a load fills at random, tied weights that came apart (peft#2898), and
    buffers rounded on the way. The one number of a head that scores is a single sum, taken in another order where its
    weights lie otherwise in memory: there the last bits may differ.
    """
    import torch

    again = reloaded.state_dict()
    same = all(torch.equal(weight, again[name]) for name, weight in model.state_dict().items())
    first, second = logits(model, probe), logits(reloaded, probe)
    apart = float((first - second).abs().max())
    rounding = 4 * torch.finfo(model.dtype).eps * float(first.abs().max()) if first.shape[-1] == 1 else 0.0
    return check(
        same and apart <= rounding, apart, "the saved folder reloads to the very weights and logits of what was saved"
    )


def logits(model: Any, probe: list[int]) -> "torch.Tensor":
    """What a model says of one row of tokens, in float32."""
    import torch

    model.eval()
    with torch.no_grad():
        said: torch.Tensor = model(input_ids=torch.tensor([probe], device=model.device), use_cache=False).logits
    return said.float()


def bit_equal(resumed: Path, whole: Path, informative: tuple[str, ...] = ()) -> Check:
    """Two checkpoint folders hold the same files with the same bytes: one trained in one go, one killed and resumed.

    informative: files that hold times. Catches a resume that repeats or skips rows, or forgets optimizer, schedule or
    dice (datasets#7538; LF#6352; accelerate PR#4071).
    """
    names = (_names(resumed) | _names(whole)) - set(informative)
    differing = sorted(name for name in names if _differs(resumed / name, whole / name))
    return check(not differing, len(differing), f"files that differ: {', '.join(differing) or 'none'}")


def _names(folder: Path) -> set[str]:
    files = (file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    return {name for name in files if not name.startswith(".record")}


def _differs(first: Path, second: Path) -> bool:
    return not (first.is_file() and second.is_file()) or file_digest(first) != file_digest(second)
