"""Libraries that make a training faster, asked for before a model is loaded: a missing one is one message."""

import importlib.util
import shutil
from collections.abc import Callable

from lineage.errors import TrainingError
from recipes.execution import TrainingExecution


def must_be_there(execution: TrainingExecution) -> None:
    """Raises TrainingError that names the field, what it needs, and what to do."""
    if execution.liger and importlib.util.find_spec("liger_kernel") is None:
        raise TrainingError("execution.liger: Liger is not installed; pip install liger-kernel (it needs a GPU)")
    if execution.attention in _FLASH and not _FLASH[execution.attention]():
        raise TrainingError(
            f"execution.attention {execution.attention}: not installed, or no GPU is here; pip install flash-attn, "
            "or leave attention out"
        )
    if execution.compile and not (_on_gpu() or shutil.which("g++") or shutil.which("clang++")):
        raise TrainingError("execution.compile: on a CPU it needs a C++ compiler; install g++, or leave compile out")


def _flash_2() -> bool:
    from transformers.utils import is_flash_attn_2_available

    return bool(is_flash_attn_2_available())


def _flash_3() -> bool:
    from transformers.utils import is_flash_attn_3_available

    return bool(is_flash_attn_3_available())


def _on_gpu() -> bool:
    import torch

    return bool(torch.cuda.is_available())


_FLASH: dict[str | None, Callable[[], bool]] = {"flash_attention_2": _flash_2, "flash_attention_3": _flash_3}
