"""How a training went, small enough for lines of metadata: curves of its history, and what the model said meanwhile."""

import json
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from lineage.node import Markdown, as_code
from lineage.store import Artifact

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_SERIES = {
    "loss": "loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_s": "tokens/s",
    "padded_tokens_per_s": "tokens/s with pads",
    "mfu_percent": "MFU in %",
    "rewards/margins": "margin",
    "rewards/accuracies": "pairs in the right order",
    "logps/chosen": "log-probability of chosen",
    "logps/rejected": "log-probability of rejected",
    "reward": "reward",
    "completions/mean_length": "answer length",
    "kl": "KL",
}
"""Of a history's entries, in the order shown."""

_SHOWN_ANSWER = 300


def curve(checkpoint: Artifact) -> dict[str, Any]:
    """`loss_curve`, `curves` and `samples` metadata from what the training wrote beside its checkpoint, if it did."""
    history = _read(checkpoint, "history.json")
    series = {name: [entry[name] for entry in history if name in entry] for name in _SERIES}
    metadata = {}
    if losses := series["loss"]:
        metadata["loss_curve"] = Markdown(f"`{sparkline(losses)}` {losses[0]:.3f} → {losses[-1]:.3f}")
        metadata["curves"] = Markdown(_table(series))
    if samples := _read(checkpoint, "samples.json"):
        metadata["samples"] = Markdown(_answers(samples))
    return metadata


def sparkline(values: list[float]) -> str:
    """At most 40 bars, each the mean of its share of the values."""
    size = -(-len(values) // _WIDTH)
    means = [fmean(values[start : start + size]) for start in range(0, len(values), size)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)


def _read(checkpoint: Artifact, name: str) -> list[dict[str, Any]]:
    file = checkpoint.path / name
    entries: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return entries


def _table(series: dict[str, list[float]]) -> str:
    rows = [
        f"| {_SERIES[name]} | `{sparkline(values)}` | {values[0]:.4g} | {values[-1]:.4g} |"
        for name, values in series.items()
        if values
    ]
    return "\n".join(["| | over the steps | first | last |", "| --- | --- | --- | --- |", *rows])


def _answers(samples: Sequence[dict[str, Any]]) -> str:
    """The answers of the last time, under their prompts."""
    last = samples[-1]["step"]
    shown = [f"after step {last}:"]
    for entry in samples:
        if entry["step"] == last:
            prompt, answer = (as_code(entry[name][-_SHOWN_ANSWER:]) for name in ("prompt", "answer"))
            shown.append(f"- {prompt}\n    - {answer}")
    return "\n".join(shown)
