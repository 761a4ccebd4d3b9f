"""What the gate answers: its verdict and the tests that it rests on, as values that become JSON.

The rules that fill them are in `evaluation.gate`, the sentences in `evaluation.wording`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from lineage.hashing import canonical_json
from recipes.promotion import Promotion

Verdict = Literal["pass", "fail", "inconclusive", "incomparable", "invalid"]
Outcome = Literal["pass", "fail", "inconclusive"]
Role = Literal["target", "guard", "context"]


class Part(BaseModel):
    """Base of what a decision is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Test(Part):
    """One paired comparison, turned so that a positive `gain` is always an improvement.

    lower, upper: one-sided bounds of the gain at level 1 - alpha. `threshold` is what `lower` must exceed:
    `min_gain`, or minus the margin. `power` is the probability of that if the true gain were `power_gain`.
    detectable: the smallest distance to the threshold that is shown with the recipe's power, so the
    narrowest margin or the smallest gain for which this many items suffice. items_needed: how many items
    like these would, at the true gain assumed (for the target the one observed).
    """

    __test__ = False  # its name starts as pytest's classes do

    metric: str
    role: Role
    against: str
    higher_is_better: bool
    candidate: float
    reference: float
    gain: float
    lower: float
    upper: float
    se: float
    n: int
    n_clusters: int
    better: int
    worse: int
    threshold: float
    power: float
    power_gain: float
    detectable: float
    items_needed: int | None
    outcome: Outcome
    sentence: str


class Floor(Part):
    """An absolute bound on the candidate alone: a floor, or a ceiling where lower is better.

    Kept only if the one-sided bound at level 1 - alpha (Wilson, or clustered) lies on the right side;
    failed only if the other one lies on the wrong side; otherwise inconclusive.
    """

    metric: str
    higher_is_better: bool
    floor: float
    score: float
    low: float
    high: float
    outcome: Outcome
    sentence: str


class Decision(Part):
    """A verdict with everything that it rests on; JSON-able, and the same for the same reports.

    reports: report_id and checkpoint digest by role (candidate, reference, anchor).
    """

    version: int
    verdict: Verdict
    reasons: list[str]
    promotion: Promotion
    reference_kind: Literal["champion", "base"]
    overridden: bool
    reports: dict[str, dict[str, str]]
    suite_digest: str
    tests: list[Test]
    floors: list[Floor]

    @property
    def checks(self) -> "list[Test | Floor]":
        """Everything that took part in the verdict."""
        return [*self.tests, *self.floors]

    def to_json(self) -> str:
        """The decision as canonical JSON; `fingerprint` of the same values is its digest."""
        return canonical_json(self.model_dump(mode="json"))
