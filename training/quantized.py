"""Weights held in few bits while an adapter is trained (QLoRA, Dettmers et al. 2023)."""

import warnings
from typing import TYPE_CHECKING, Any

from recipes.stages import Quantization

if TYPE_CHECKING:
    import torch


def held(quantization: Quantization | None, dtype: "torch.dtype") -> dict[str, Any]:
    """What transformers is told of weights in few bits; products with them are taken in `dtype`."""
    from transformers import BitsAndBytesConfig

    if quantization is None:
        return {}
    if quantization == "int8":
        warnings.filterwarnings("ignore", message="MatMul8bitLt")  # of every product: its inputs are cast to float16
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": nf4}


def as_packed(model: Any) -> Any:
    """The model, its weights kept as they were quantised.

    bitsandbytes packs 4-bit weights anew when a CPU with bf16 instructions first reads them without gradients, and
    rounds their scales: what is trained would no longer be what the reference was computed with.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def adapters_in_float32(model: Any) -> None:
    """TRL rounds the adapters of quantised models to bfloat16, in which small steps vanish; here they stay exact."""
    if is_quantized(model):
        for weight in model.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()


def is_quantized(model: Any) -> bool:
    return bool(getattr(model, "is_loaded_in_4bit", False) or getattr(model, "is_loaded_in_8bit", False))
