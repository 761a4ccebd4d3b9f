"""Packed sequences as a model reads them: several documents in a row of tokens, none of which sees another.

What keeps them apart is their positions, which begin again at 0 with each document, and no attention mask beside
them: transformers then makes the block-diagonal mask itself, and would make none if it were given a mask of ones.
Flash attention takes no mask: for it a micro-batch is one row, all sequences end to end, with the places where
documents begin; of several rows it would let all that is in a row see each other. The loss cannot tell whether this
works (without it, it differs by a ten-thousandth); gradients and hidden states can (`training.invariants`).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from training.rows import NOT_SUPERVISED

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

_MASKED = ("sdpa", "eager")
"""Attention that is told by a mask what each token sees. Flash attention has none and is told lengths."""


def dataset(sequences: "pa.Table") -> Any:
    """Rows of `input_ids`, `labels` and `seq_lengths` (tokens of each document) from packed sequences.

    A label is the token itself; the first of each document has none, since nothing of its own comes before it.
    """
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    ids, starts = (sequences[name].combine_chunks() for name in ("input_ids", "document_starts"))
    flat, offsets = ids.flatten(), ids.offsets.to_numpy() - ids.offsets[0].as_py()
    first = starts.flatten().to_numpy() + np.repeat(offsets[:-1], np.diff(starts.offsets.to_numpy()))
    labels = flat.to_numpy().copy()
    labels[first] = NOT_SUPERVISED
    lengths = np.diff(np.append(first, len(labels)))
    return Dataset(
        pa.table(
            {
                "input_ids": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat),
                "labels": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(labels, pa.int32())),
                "seq_lengths": pa.ListArray.from_arrays(
                    pa.array(starts.offsets.to_numpy() - starts.offsets[0].as_py(), pa.int32()),
                    pa.array(lengths, pa.int32()),
                ),
            }
        )
    )


@dataclass(frozen=True)
class Collator:
    """A micro-batch of sequences: ids, labels and positions, padded behind by what is a document of its own."""

    pad_id: int

    def __call__(self, sequences: list[dict[str, Any]]) -> dict[str, "torch.Tensor"]:
        import torch

        width = max(len(sequence["input_ids"]) for sequence in sequences)
        rows = []
        for sequence in sequences:
            short = width - len(sequence["input_ids"])
            lengths = [*sequence["seq_lengths"], *([short] if short else [])]
            rows.append(
                (
                    list(sequence["input_ids"]) + [self.pad_id] * short,
                    list(sequence["labels"]) + [NOT_SUPERVISED] * short,
                    [place for length in lengths for place in range(length)],
                )
            )
        columns = zip(("input_ids", "labels", "position_ids"), zip(*rows, strict=True), strict=True)
        return {name: torch.tensor(column) for name, column in columns}


def collator(pad_id: int, attention: str) -> Any:
    """Collates sequences in the form in which this attention, by transformers' name, keeps their documents apart."""
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    if attention in _MASKED:
        return Collator(pad_id)
    return DataCollatorForLanguageModeling(pad_token_id=pad_id, padding_free=True)


def documents(sequences: "pa.Table", row: int) -> list[list[int]]:
    """The documents of a packed sequence, token by token."""
    ids, starts = (sequences[name][row].as_py() for name in ("input_ids", "document_starts"))
    return [ids[start:end] for start, end in pairwise([*starts, len(ids)])]


def perplexity(trainer: Any, sequences: "pa.Table", rows: int) -> float:
    """exp of the mean loss of all counted tokens of packed sequences. rows: sequences read together."""
    import math

    import torch

    model, held = trainer.model.eval(), dataset(sequences)
    loss, tokens = 0.0, 0
    with torch.no_grad(), trainer.accelerator.autocast():
        for start in range(0, len(held), rows):
            taken = [held[place] for place in range(start, min(start + rows, len(held)))]
            scored = model(**trainer._prepare_inputs(trainer.data_collator(taken)), use_cache=False, fused_lm_head=True)
            loss -= float(scored.log_probs.double().sum())
            tokens += int(scored.label_mask.sum())
    model.train()
    return math.exp(loss / max(1, tokens))
