"""What the model says while it is trained: greedy answers to a few validation prompts, every so many steps.

Prompts come from the `validation.parquet` beside the training rows, never from sensitive sources. Nothing of it
reaches the training: no gradient is taken and the dice are put back.
"""

import json
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - only job processes import this module

from lineage.errors import TrainingError
from training.loop import randomness

FILE = "samples.json"
_PROMPTS, _NEW_TOKENS = 4, 64
_CANDIDATES = 256
"""Rows looked at for prompts; sensitive ones among them are passed over."""


def prompts(folder: Path) -> list[list[int]]:
    """Token ids of the first validation prompts in the folder of a mixture or of preferences.

    Raises TrainingError where no rows were kept for validation.
    """
    import pyarrow.parquet as pq

    file = folder / "validation.parquet"
    if not file.is_file():
        raise TrainingError(
            "execution.samples_every: no rows are kept for validation; set splits.validation or leave samples_every out"
        )
    rows = next(pq.ParquetFile(file).iter_batches(_CANDIDATES), None)
    open_rows = [row for row in (rows.to_pylist() if rows is not None else []) if not row["sensitive"]]
    return [_prompt(row) for row in open_rows[:_PROMPTS]]


def _prompt(row: dict[str, Any]) -> list[int]:
    """What comes before the first answer."""
    if "prompt_ids" in row:
        return list(row["prompt_ids"])
    return list(row["input_ids"][: row["supervised"].index(True)])


class Samples:
    """Answers so far, kept in `folder` with the checkpoints so that a resumed training has them all."""

    def __init__(self, prompts: list[list[int]], tokenizer: Any, folder: Path) -> None:
        self._prompts, self._tokenizer, self._file = prompts, tokenizer, folder / FILE

    def take(self, model: Any, step: int) -> None:
        """Answer every prompt with the model as it is after `step` steps."""
        training = model.training
        model.eval()
        with randomness.kept(), torch.no_grad():
            answers = [self._answer(model, prompt) for prompt in self._prompts]
        model.train(training)
        entries = [entry for entry in self.read() if entry["step"] < step]
        entries += [
            {"step": step, "prompt": self._text(p), "answer": a} for p, a in zip(self._prompts, answers, strict=True)
        ]
        self._file.write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")

    def read(self) -> list[dict[str, Any]]:
        return json.loads(self._file.read_text(encoding="utf-8")) if self._file.is_file() else []

    def _answer(self, model: Any, prompt: list[int]) -> str:
        ids = torch.tensor([prompt], device=model.device)
        made = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=_NEW_TOKENS,
            pad_token_id=self._tokenizer.pad_token_id,
        )
        return self._text(made[0, len(prompt) :].tolist())

    def _text(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True)).strip()
