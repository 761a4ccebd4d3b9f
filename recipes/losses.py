"""The losses of preference stages, by the names that TRL 1.16 has for them.

A recipe is checked where TRL cannot be imported, so the names are written out; a test compares them with TRL's own.
What they are is said in docs/recipes.md.
"""

from typing import Literal

DpoLoss = Literal[
    "sigmoid",
    "hinge",
    "ipo",
    "exo_pair",
    "nca_pair",
    "robust",
    "bco_pair",
    "sppo_hard",
    "aot",
    "aot_unpaired",
    "apo_zero",
    "apo_down",
    "discopop",
    "sft",
    "sigmoid_norm",
]
KtoLoss = Literal["kto", "apo_zero_unpaired"]

SMOOTHED = ("robust", "exo_pair", "aot", "aot_unpaired")
"""DPO losses that `label_smoothing` means something to: the chance that a preference is the other way round."""

NEEDS_SMOOTHING = ("exo_pair",)
"""Of these, those that are infinite without it."""
