"""What a stage trains on, in which order, and how many tokens each step sees.

Rows come pre-tokenised from an upstream artefact, already shuffled, and are taken in their order: so the
shares of a mixture, exact at every prefix of it, are exact after every step. Only inside a step, where
order changes nothing but rounding, rows are put longest first, and may be cut into micro-batches of like
lengths, so that little is padded. Every epoch goes through the same order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables.shards import shards_of
from lineage.errors import TrainingError
from recipes.stages import StageBase

if TYPE_CHECKING:
    import pyarrow as pa

NOT_SUPERVISED = -100
"""The label that torch's cross entropy leaves out by default."""

PAIR = ("prompt_ids", "chosen_ids", "rejected_ids")
"""Columns of a preference pair."""


@dataclass(frozen=True)
class StepPlan:
    """The order of rows within an epoch, and what each optimizer step takes from it."""

    order: list[int]
    lengths: list[int]
    batch_rows: int
    steps: int

    @property
    def longest(self) -> int:
        """Tokens of the longest row."""
        return max(self.lengths)

    @property
    def needed(self) -> int:
        """Places of `order` that some step takes: all, unless training ends within the first epoch."""
        return min(len(self.order), self.steps * self.batch_rows)

    @cached_property
    def rows(self) -> int:
        """Rows trained on in all steps."""
        return sum(len(self._step(step)) for step in range(self.steps))

    @cached_property
    def tokens(self) -> list[int]:
        """Tokens trained on before step i, prompts included: `tokens[0]` is 0, `tokens[steps]` is all."""
        per_step = (sum(self.lengths[row] for row in self._step(step)) for step in range(self.steps))
        return [0, *accumulate(per_step)]

    def _step(self, step: int) -> list[int]:
        start = step % math.ceil(len(self.order) / self.batch_rows) * self.batch_rows
        return self.order[start : start + self.batch_rows]


def plan(lengths: Sequence[int], stage: StageBase) -> StepPlan:
    """Steps over rows of these lengths (tokens), `stage.batch_rows` rows each, the last of an epoch maybe fewer."""
    if not lengths:
        raise TrainingError("there are no rows to train on")
    order: list[int] = []
    for step in range(0, len(lengths), stage.batch_rows):
        rows = range(step, min(step + stage.batch_rows, len(lengths)))
        order += sorted(rows, key=lambda row: (-lengths[row], row))
    steps = math.ceil(stage.epochs * math.ceil(len(lengths) / stage.batch_rows))
    return StepPlan(order, list(lengths), stage.batch_rows, min(steps, stage.max_steps or steps))


_CUT_TOGETHER = 64
"""Rows whose micro-batches are chosen together: the search takes the square of them for each micro-batch."""


def micro_batches(plan: StepPlan, rows: int, processes: int = 1) -> list[list[int]]:
    """Places in `plan.order`, micro-batch by micro-batch: as many as with `rows` rows in each, but less padded.

    None has more padded tokens than the first `rows` rows of its step would, so that memory is what `rows` says.
    (The demo's mixture in steps of 16 rows and 4 micro-batches: tokens fill 99 % of the slots; 76 % in fours.)
    processes: they take turns, so every step has a multiple of that many. Raises TrainingError where an epoch's last
    step has fewer rows than there are processes.
    """
    found: list[list[int]] = []
    for step in range(0, len(plan.order), plan.batch_rows):
        end = min(step + plan.batch_rows, len(plan.order))
        budget = rows * plan.lengths[plan.order[step]]
        together = max(1, _CUT_TOGETHER // (rows * processes)) * rows * processes
        for start in range(step, end, together):
            places = list(range(start, min(start + together, end)))
            lengths = [plan.lengths[plan.order[place]] for place in places]
            cuts = _cut(lengths, _parts(len(lengths), rows, processes), budget)
            found += [places[a:b] for a, b in zip([0, *cuts], [*cuts, len(places)], strict=True)]
    return found


def _parts(count: int, rows: int, processes: int) -> int:
    parts = math.ceil(math.ceil(count / rows) / processes) * processes
    if parts > count:
        raise TrainingError(
            f"the last step of an epoch has {count} rows, fewer than execution.devices {processes}; change batch_rows"
        )
    return parts


def _cut(lengths: Sequence[int], parts: int, budget: int) -> list[int]:
    """Where to cut falling lengths into so many parts that the fewest slots are padded, none above the budget."""
    count = len(lengths)
    slots: list[float] = [math.inf] * count + [0]
    ways: list[list[int]] = [[] for _ in range(count + 1)]
    for _ in range(parts):
        shorter, cuts = slots, ways
        slots, ways = [math.inf] * (count + 1), [[] for _ in range(count + 1)]
        for start in range(count):
            for end in range(start + 1, min(count, start + budget // lengths[start]) + 1):
                needed = (end - start) * lengths[start] + shorter[end]
                if needed < slots[start]:
                    slots[start], ways[start] = needed, [end, *cuts[end]]
    return ways[0][:-1]


def must_fit(plan: StepPlan, model_config: Any) -> None:
    """Raise TrainingError if a row is longer than the positions that the model knows."""
    positions = getattr(model_config, "max_position_embeddings", None)
    if positions is not None and plan.longest > positions:
        raise TrainingError(
            f"the longest row has {plan.longest} tokens, the model {positions} positions; lower max_length"
        )


def read(file: Path, columns: Sequence[str]) -> "pa.Table":
    """Columns of an upstream parquet file, or of its shards in order."""
    import pyarrow.parquet as pq

    table: pa.Table = pq.read_table(shards_of(file), columns=list(columns))
    return table


def pair_lengths(pairs: "pa.Table") -> list[int]:
    """Tokens of both conversations of a pair, prompt counted twice: what a step computes."""
    import pyarrow.compute as pc

    prompt, chosen, rejected = (pc.list_value_length(pairs[name]).to_pylist() for name in PAIR)
    return [2 * p + c + r for p, c, r in zip(prompt, chosen, rejected, strict=True)]
