"""Candidates of a real model beside transformers' own `generate`: which of them gives more answers a second.

`python -m benchmarks.candidates` lets the warmed-up model of arithmetic-dpo answer its prompts, several times each, and
then `generate` the same prompts in their own order, as many rows to a batch, each row ended at the length that its
answer had. The last line is one JSON object: `candidates_per_s`, `generate_per_s`, `candidates_per_s_ratio`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from corpora.tables.tables import PROMPTS, rows_of
from lineage.store import Store, home_folder
from models.likelihood import left_padded
from models.local import Transformers, load_model
from recipes.candidates import Candidates
from recipes.load import SHIPPED, load_recipe
from training.stages.candidates import all_answers

_RECIPE, _NODES = "arithmetic-dpo", ("warmup", "prompts/sums")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--samples", type=int, default=8, help="answers to each")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-new-tokens", type=int, default=12)
    arguments = parser.parse_args()
    checkpoint, asked = _made()
    prompts = list(rows_of(asked / PROMPTS))[: arguments.prompts]
    section = load_recipe(SHIPPED / f"{_RECIPE}.yaml").candidates["tries"].model_copy(update=_of(arguments))
    model = load_model(checkpoint, section.dtype, section.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        all_answers("warm", model, prompts[:8], section, Path(folder) / "warm", threading.Event())
        began = time.perf_counter()
        answers = all_answers("candidates", model, prompts, section, Path(folder), threading.Event())
        ours = time.perf_counter() - began
    lengths = [[len(answer["tokens"]) + (not answer["cut"]) for answer in answers[row["id"]]] for row in prompts]
    theirs = _generated(model, [row["prompt_ids"] for row in prompts], lengths, section)
    count = len(prompts) * section.samples
    found = {"candidates_per_s": round(count / ours, 1), "generate_per_s": round(count / theirs, 1)}
    print(json.dumps({**found, "candidates_per_s_ratio": round(theirs / ours, 2)}))


def _of(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in ("samples", "batch_size", "max_new_tokens")}


def _made() -> tuple[Path, Path]:
    """Folders of checkpoint and prompts, made by the product's own graph where they are not there yet."""
    store = Store(home_folder())
    name = _RECIPE.replace("-", "_")
    if any(store.ref(name, node) is None for node in _NODES):
        subprocess.run([sys.executable, "-m", "orchestration", "run", _RECIPE], check=True)
    checkpoint, prompts = (store.ref(name, node) for node in _NODES)
    if checkpoint is None or prompts is None:
        raise SystemExit(f"{_RECIPE}: was not made")
    return checkpoint.path, prompts.path


def _generated(model: Transformers, prompts: list[list[int]], lengths: list[list[int]], section: Candidates) -> float:
    """Seconds of `generate` for answers of these lengths."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class At(StoppingCriteria):  # type: ignore[misc]
        def __init__(self, wanted: Any, prompt: int) -> None:
            self._wanted, self._prompt = wanted, prompt

        def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
            return self._wanted <= input_ids.shape[1] - self._prompt

    together = max(1, section.batch_size // section.samples)
    seconds = 0.0
    for start in range(0, len(prompts), together):
        ids, mask, _ = left_padded(prompts[start : start + together], model.model.device)
        wanted = torch.tensor([one for each in lengths[start : start + together] for one in each])
        began = time.perf_counter()
        model.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=True,
            temperature=section.temperature,
            top_k=0,
            num_return_sequences=section.samples,
            max_new_tokens=section.max_new_tokens,
            eos_token_id=None,
            pad_token_id=0,
            stopping_criteria=StoppingCriteriaList([At(wanted.to(ids.device), ids.shape[1])]),
        )
        seconds += time.perf_counter() - began
    return seconds


if __name__ == "__main__":
    main()
