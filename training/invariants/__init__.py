"""What the field's silent failures break, as checks: each is one function that says which bug it catches.

A training that learns from its prompts, never learns to stop, compares with the wrong reference or resumes half of
its state ends like any other, with a loss that looks right (peers' reports are named with each check). These run on
tiny random models in tests, each with that bug put in, and on every real job: on the first batch before a step is
taken, and on what was saved. Checks of data before it reaches a trainer are in `corpora`, the loss before DPO's first
step in `dpo`, a resume's files in `checkpoints`.
"""

from lineage.checks import Check
from lineage.errors import TrainingError

INVARIANTS = {
    "mask_two_ways": "models.template:ChatTemplate.parity",
    "labels_equal_mask": "training.invariants.labels:labels_equal_mask",
    "pads_by_length": "training.invariants.labels:pads_by_length",
    "end_of_turn_learned": "training.invariants.labels:end_of_turn_learned",
    "one_bos": "training.invariants.labels:one_bos",
    "packed_equals_unpadded": "training.invariants.gradients:packed_equals_unpadded",
    "documents_apart": "training.invariants.isolation:documents_apart",
    "accumulation_equals_whole": "training.invariants.gradients:accumulation_equals_whole",
    "reference_is_start": "training.stages.dpo:step0_check",
    "frozen_unmoved": "training.invariants.saved:frozen_unmoved",
    "adapter_whole": "training.invariants.saved:adapter_whole",
    "merged_equals_adapter": "training.invariants.saved:merged_equals_adapter",
    "reload_equal": "training.invariants.saved:reload_equal",
    "served_as_trained": "training.invariants.rendering:served_as_trained",
    "resume_bit_equal": "training.invariants.saved:bit_equal",
}
"""Every invariant, and where it is. tests/training/test_invariants.py puts its bug in, and sees it caught."""


def required(found: Check, otherwise: str | None = None) -> Check:
    """A check that must pass before a step is taken. Raises TrainingError, which says `otherwise`, if it did not."""
    if not found["passed"]:
        raise TrainingError(otherwise or f"before the first step: {found['description']}; found {found['value']}")
    return found
