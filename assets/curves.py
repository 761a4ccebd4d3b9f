"""Curves of a training small enough for a line of metadata: its loss, and what a stage with rewards was rewarded."""

import json
from statistics import fmean
from typing import Any

import dagster as dg

from lineage.store import Artifact

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40
_CURVES = {"loss": "loss_curve", "reward": "reward_curve", "completions/mean_length": "length_curve"}


def curve(checkpoint: Artifact) -> dict[str, Any]:
    """A curve for each of `_CURVES` that the checkpoint's `history.json` has."""
    history = checkpoint.path / "history.json"
    if not history.is_file():
        return {}
    entries = json.loads(history.read_text(encoding="utf-8"))
    series = {shown: [entry[name] for entry in entries if name in entry] for name, shown in _CURVES.items()}
    return {
        shown: dg.MetadataValue.md(f"`{sparkline(values)}` {values[0]:.3f} → {values[-1]:.3f}")
        for shown, values in series.items()
        if values
    }


def sparkline(values: list[float]) -> str:
    """At most 40 bars, each the mean of its share of the values."""
    size = -(-len(values) // _WIDTH)
    means = [fmean(values[start : start + size]) for start in range(0, len(values), size)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)
