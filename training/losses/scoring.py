"""A language model with a head that scores: one number for a whole conversation, read at its last token.

transformers finds the last token of a padded row by the pad token's id. Where that is also the token that ends a
turn it would read the word before it, so a reward model gets a pad token that no conversation holds.
"""

import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.checks import Check, check
from lineage.errors import TrainingError
from models.load import Incomplete, weights
from training.invariants import required
from training.weights import Loader

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

OWN = ("config.json", "generation_config.json")
"""Files in which a reward model differs from the language model that it was made of."""

_CLOSE = {"fp32": 1e-4, "bf16": 5e-2}
"""Largest difference of a reward in a padded batch from that of the row alone: of rewards about 1."""


def loader(seed: int, pad_id: int) -> Loader:
    """Loads a checkpoint as a reward model; a head that it does not bring is drawn by seed."""
    return partial(_load, seed=seed, pad_id=pad_id)


def _load(checkpoint: Path, dtype: "torch.dtype", *, seed: int, pad_id: int, **held: Any) -> Any:
    import torch
    from trl.trainer.reward_trainer import suppress_seqcls_warning

    with torch.random.fork_rng(), suppress_seqcls_warning():
        torch.manual_seed(seed)
        try:
            return weights(checkpoint, dtype, scores=True, drawn=("score.",), pad_token_id=pad_id, **held)
        except Incomplete as error:
            raise TrainingError(f"{checkpoint}: {error}") from None


def set_free_pad(tokenizer: Any, columns: Iterable["pa.ChunkedArray"]) -> None:
    """Let `tokenizer` pad with a special token that is in none of the rows: its own pad token, else the first such.

    Raises TrainingError if there is none.
    """
    import pyarrow.compute as pc

    used: set[int] = set()
    for column in columns:
        used.update(pc.unique(pc.list_flatten(column)).to_pylist())
    specials = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    for number in [tokenizer.pad_token_id, *sorted(specials)]:
        if number in specials and number not in used:
            tokenizer.pad_token = specials[number]
            return
    raise TrainingError("every special token of the tokenizer is in some row: none is left to pad with")


def write_pad(work: Path, tokenizer: Any) -> None:
    """Say in a checkpoint's tokenizer which token pads; its other files stay as they are."""
    file = work / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["pad_token"] = tokenizer.pad_token
    file.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def last_token_check(trainer: Any, batch: dict[str, Any], precision: str) -> Check:
    """Compare the rewards of a padded batch with the head's score of each row's last token, row by row."""
    import torch

    model = trainer.model.eval()
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    inputs = trainer._prepare_inputs(batch)
    apart = 0.0
    with torch.no_grad(), trainer.accelerator.autocast():
        together = model(**inputs, use_cache=False).logits[:, 0].float()
        for row, (ids, mask) in enumerate(zip(inputs["input_ids"], inputs["attention_mask"], strict=True)):
            hidden = plain.base_model(input_ids=ids[mask.bool()][None], use_cache=False).last_hidden_state
            apart = max(apart, float((plain.score(hidden[0, -1]).float() - together[row]).abs()))
    model.train()
    found = check(
        apart <= _CLOSE[precision] * max(1.0, float(together.abs().max())),
        apart,
        "the reward of a padded row is the score of its last token, read without padding",
    )
    return required(
        found, "the reward model does not read the last token of each row; this transformers cannot be used"
    )


def accuracy(trainer: Any, pairs: "pa.Table", rows: int) -> float:
    """Share of pairs whose chosen answer has the higher reward. rows: pairs scored together."""
    import torch

    right = 0
    model = trainer.model.eval()
    table = pairs.to_pylist()
    for start in range(0, len(table), rows):
        batch = trainer._prepare_inputs(trainer.data_collator(table[start : start + rows]))
        with torch.no_grad(), trainer.accelerator.autocast():
            chosen, rejected = model(**batch, use_cache=False).logits[:, 0].float().chunk(2)
        right += int((chosen > rejected).sum())
    return right / len(table)
