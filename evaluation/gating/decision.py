"""What the gate answers: its verdict and the tests that it rests on, as values that become JSON.

The rules that fill them are in `evaluation.gating.gate`, the sentences in `evaluation.gating.wording`.
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
    `min_gain`, or minus the margin; the outcome follows from the two bounds alone. n_clusters: items that share a cause
    are one. n_strata: fixed parts that the items fall into, 1 where the task has none. `power`, for planning, is the
    probability that the lower bound exceeds the threshold if the true gain were `power_gain`.
    alpha: the recipe's; of targets that are alternatives the level at which Holm's procedure tests each.
    p_value: of "the gain is no more than the threshold"; p_adjusted: by Holm, the same where there is no choice.
    counts: False for an alternative target that another one outdoes: its outcome changes nothing.
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
    n_strata: int
    better: int
    worse: int
    threshold: float
    alpha: float
    p_value: float
    p_adjusted: float
    counts: bool = True
    power: float
    power_gain: float
    detectable: float
    items_needed: int | None
    outcome: Outcome
    sentence: str


class Floor(Part):
    """An absolute bound on the candidate alone: a floor, or a ceiling where lower is better.

    Kept only if the one-sided bound at level 1 - alpha (`statistics.mean_bounds`) lies on the right side;
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


class TaskContamination(Part):
    """Items of one task that a report scores, by what became of the training rows that are copies of them.

    clean: no such row. removed: all such rows were taken out before training. kept: at least one was kept, because
    the recipe allows it, for one of `reasons`. unknown: not found in the table of items that was searched for.
    """

    items: int
    clean: int
    removed: int
    kept: int
    unknown: int
    reasons: dict[str, int]


class CleanScore(Part):
    """One metric of one report over all items, and over those without a copy in the training data.

    Means with two-sided 95 % intervals; `clean` is None where no item is left.
    """

    metric: str
    report: str
    n: int
    mean: float
    ci95: tuple[float, float]
    clean_n: int
    clean_mean: float | None
    clean_ci95: tuple[float, float] | None


class Contamination(Part):
    """Evaluation items in the training data: by task, scores without them, and the verdict's tests without them.

    sources: corpora that were searched. tests: role, metric and threshold as in the decision, for context; only of
    metrics that lost items by it. The base model's own training data are not known.
    """

    sources: list[str]
    tasks: dict[str, TaskContamination]
    scores: list[CleanScore]
    tests: list[Test]

    @property
    def kept(self) -> int:
        return sum(task.kept for task in self.tasks.values())

    @property
    def removed(self) -> int:
        return sum(task.removed for task in self.tasks.values())

    @property
    def unknown(self) -> int:
        return sum(task.unknown for task in self.tasks.values())

    @property
    def items(self) -> int:
        return sum(task.items for task in self.tasks.values())


class Decision(Part):
    """A verdict with everything that it rests on; JSON-able, and the same for the same reports.

    reports: report_id and checkpoint digest by role (candidate, reference, anchor). contamination: what is known of
    the suite's items in the training data, with the tests on the others; None if nothing was looked up.
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
    contamination: Contamination | None = None

    @property
    def checks(self) -> "list[Test | Floor]":
        """Everything that the verdict hangs on."""
        return [*(test for test in self.tests if test.counts), *self.floors]

    @property
    def against_itself(self) -> bool:
        """Whether the candidate is the very checkpoint that it would have to beat, which is not tested."""
        candidate, reference = (self.reports[role]["checkpoint_digest"] for role in ("candidate", "reference"))
        return bool(candidate) and candidate == reference

    def to_json(self) -> str:
        """The decision as canonical JSON; `fingerprint` of the same values is its digest."""
        return canonical_json(self.model_dump(mode="json"))
