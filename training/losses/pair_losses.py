"""What each of TRL's DPO losses comes to when policy and reference are the same model.

All log ratios are then 0, and each formula a number: it tells a reference that is not the start checkpoint before
a step is taken. `test_pair_losses` holds TRL's own code against it.
"""

import math

from recipes.stages import Dpo


def at_start(stage: Dpo) -> float | None:
    """The loss of `stage` at log ratios of 0; None for `sft`, which looks at no reference."""
    ln2, smoothing, squared = math.log(2), stage.label_smoothing or 0.0, (1 / (2 * stage.beta)) ** 2
    if stage.loss == "exo_pair":
        return -ln2 - (math.log(smoothing) + math.log1p(-smoothing)) / 2
    values = {
        **dict.fromkeys(("sigmoid", "sigmoid_norm", "robust", "aot", "aot_unpaired"), ln2),
        **dict.fromkeys(("nca_pair", "bco_pair"), 2 * ln2),
        **dict.fromkeys(("hinge", "apo_zero", "apo_down"), 1.0),
        "discopop": (ln2 + 1) / 2,
        "ipo": squared,
        "sppo_hard": 2 * squared,
    }
    return values.get(stage.loss)
