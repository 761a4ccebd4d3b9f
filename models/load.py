"""The weights and the tokenizer of a checkpoint folder, and of nothing else.

Only safetensors are read, nothing is fetched, no code of the checkpoint's own is run, and a tensor that is missing is
missing: transformers would fill it at random.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.errors import CorpusError

if TYPE_CHECKING:
    import torch

SAFE = {"trust_remote_code": False, "local_files_only": True}


class Incomplete(ValueError):
    """Weights that a folder lacks, or has in another shape. `tensors`: their names."""

    def __init__(self, tensors: list[str]) -> None:
        super().__init__(f"{len(tensors)} weights are missing or of another shape, as {tensors[0]}")
        self.tensors = tensors


def weights(
    checkpoint: Path, dtype: "torch.dtype", *, scores: bool = False, drawn: tuple[str, ...] = (), **held: Any
) -> Any:
    """A causal model, or with `scores` one whose head gives a row one number; in evaluation mode.

    drawn: how the names begin of weights that the folder may lack. held: what transformers is told further. Raises
    Incomplete, and OSError or ValueError if no weights can be read.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    attend_at_any_length()
    family = AutoModelForSequenceClassification if scores else AutoModelForCausalLM
    model, info = family.from_pretrained(
        checkpoint,
        dtype=dtype,
        use_safetensors=True,
        output_loading_info=True,
        **SAFE,
        **({"num_labels": 1} if scores else {}),
        **held,
    )
    lacking = sorted(str(key) for key in [*info["missing_keys"], *info["mismatched_keys"]])
    if lacking := [key for key in lacking if not key.startswith(drawn)]:
        raise Incomplete(lacking)
    return model


def attend_at_any_length() -> None:
    """Take cuDNN's attention from those that torch chooses among: it makes a plan for every new shape of a batch, about
    a second, and batches of ragged rows have a new one almost every time (docs/figures.md, On a GPU)."""
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)


def tokenizer(checkpoint: Path) -> Any:
    """Raises CorpusError if there is none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint, **SAFE)
    except (OSError, ValueError) as error:
        raise CorpusError(f"{checkpoint}: no tokenizer can be read: {str(error).splitlines()[0]}") from None
