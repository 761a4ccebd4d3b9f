"""A loss curve small enough for a line of metadata."""

import json
from statistics import fmean
from typing import Any

import dagster as dg

from lineage.store import Artifact

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


def curve(checkpoint: Artifact) -> dict[str, Any]:
    """`loss_curve` metadata from the checkpoint's `history.json`, if it has one with losses."""
    history = checkpoint.path / "history.json"
    if not history.is_file():
        return {}
    losses = [entry["loss"] for entry in json.loads(history.read_text(encoding="utf-8")) if "loss" in entry]
    if not losses:
        return {}
    return {"loss_curve": dg.MetadataValue.md(f"`{sparkline(losses)}` {losses[0]:.3f} → {losses[-1]:.3f}")}


def sparkline(values: list[float]) -> str:
    """At most 40 bars, each the mean of its share of the values."""
    size = -(-len(values) // _WIDTH)
    means = [fmean(values[start : start + size]) for start in range(0, len(values), size)]
    low, high = min(means), max(means)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(_BARS[round((mean - low) * scale)] for mean in means)
