"""What a mixture says of itself: shares asked for, planned and given, to the unit, with the bound that was proved."""

import math
from typing import Any

from corpora.mixing.scheduler import Bound, Member, bounds, nested
from corpora.mixing.shares import Plan
from corpora.mixing.token_index import TokenIndex
from corpora.mixing.writing import Written
from corpora.splits import SIDES
from recipes.mixtures import Mixture

ALGORITHM = "largest deficit by group and source; Feistel order by seed, source and epoch; closing rows by subset sum"
PACKING = "documents concatenated in that order and cut"


def bounds_of(plan: Plan, members: list[Member]) -> tuple[dict[str, Bound], dict[str, Bound]]:
    """Units that each group, and each source in the whole mixture, can be off its share at any prefix.

    From the weights that are scheduled and the largest row of each source, as `scheduler` proves it; and the units
    by which the selected rows miss the planned shares, which the weights differ by.
    """
    held = {member.source: member.selection.units for member in members}
    largest = {member.source: int(member.units.max()) for member in members}
    inside = {group: [m.source for m in members if m.group == group] for group in plan.groups}
    by_group = {group: sum(held[source] for source in sources) for group, sources in inside.items()}
    total = sum(by_group.values())
    outer = bounds(
        {group: units / total for group, units in by_group.items()},
        {group: max((largest[source] for source in sources), default=0) for group, sources in inside.items()},
    )
    inner = {}
    for group, sources in inside.items():
        weights = {source: held[source] / max(1, by_group[group]) for source in sources}
        for source, bound in bounds(weights, {source: largest[source] for source in sources}).items():
            planned = total * plan.groups[group] * plan.within[group][source]
            inner[source] = _wider(nested(outer[group], bound, weights[source]), abs(planned - held[source]))
    outer = {g: _wider(bound, abs(total * plan.groups[g] - by_group[g])) for g, bound in outer.items()}
    return outer, inner


def end_bound(plan: Plan, members: list[Member]) -> float:
    """Units that a group can be off its share in the whole mixture.

    A source misses its quota by no more than half its largest row (the rows of a pass up to its quota, or one more,
    are among the sets that `selection` chooses from), and the quotas are whole: two units more.
    """
    missed = {member.source: int(member.units.max()) / 2 + 2 for member in members}
    total = sum(missed.values()) + 1
    own = {group: sum(missed[m.source] for m in members if m.group == group) for group in plan.groups}
    return max(own[group] + share * total + 1 for group, share in plan.groups.items())


def _wider(bound: Bound, units: float) -> Bound:
    return Bound(bound.ahead + units, bound.behind + units)


def describe(
    mixture: Mixture, plan: Plan, members: list[Member], indexes: list[TokenIndex], written: Written, digest: str
) -> dict[str, Any]:
    """The manifest: JSON values."""
    units = written.units(mixture.unit)
    total = sum(units.values())
    outer, inner = bounds_of(plan, members)
    worst = max(max(bound) for bound in outer.values())
    selected = {member.source: member for member in members}
    return {
        "kind": mixture.kind,
        "unit": mixture.unit,
        "size": plan.size,
        "units": total,
        "rows": written.rows,
        "tokens": sum(written.tokens.values()),
        "supervised_tokens": sum(written.supervised.values()),
        "exhaustion": mixture.exhaustion,
        "temperature": mixture.temperature,
        "requested": plan.requested,
        "planned": plan.groups,
        "within": plan.within,
        "realised": {group: _group(group, indexes, written, units, total) for group in plan.groups},
        "sources": {
            index.source: _source(index, mixture, plan, selected.get(index.source), written, units) for index in indexes
        },
        "largest_row": max(int(member.units.max()) for member in members),
        "bounds": {
            "groups": {group: bound._asdict() for group, bound in outer.items()},
            "sources": {source: bound._asdict() for source, bound in inner.items()},
        },
        "bound": worst / total,
        "tolerance": mixture.tolerance if mixture.tolerance is not None else end_bound(plan, members) / total,
        "within_tolerance_from": math.ceil(worst / mixture.tolerance) if mixture.tolerance is not None else total,
        "max_length": mixture.max_length,
        "long": mixture.long,
        "sequence_length": mixture.sequence_length,
        "algorithm": ALGORITHM if mixture.kind == "conversations" else f"{ALGORITHM}; {PACKING}",
        "seed": mixture.seed,
        "template_digest": digest,
    }


def _group(
    group: str, indexes: list[TokenIndex], written: Written, units: dict[str, int], total: int
) -> dict[str, Any]:
    inside = [index.source for index in indexes if index.group == group]
    own = sum(units.get(source, 0) for source in inside)
    return {
        "units": own,
        "share": own / total,
        "rows": sum(written.given[source] for source in inside),
        "tokens": sum(written.tokens[source] for source in inside),
        "supervised_tokens": sum(written.supervised[source] for source in inside),
    }


def _source(
    index: TokenIndex, mixture: Mixture, plan: Plan, member: Member | None, written: Written, units: dict[str, int]
) -> dict[str, Any]:
    available, rows = len(index.rows), written.given[index.source]
    return {
        "group": index.group,
        "share": plan.groups[index.group] * plan.within[index.group].get(index.source, 0.0),
        "rows": rows,
        "units": units.get(index.source, 0),
        "largest_row": int(member.units.max()) if member is not None else 0,
        "epochs": rows / available if available else 0.0,
        "passes": math.ceil(rows / available) if available else 0,
        "rows_available": available,
        "units_available": int(index.units(mixture.unit).sum()),
        "left_out": index.left_out,
        "first_refused": index.refused,
        "more_rows": index.more,
        "cut_rows": index.cut,
        "weighted_rows": index.weighted,
        "splits": {side: len(index.sides[side]) for side in SIDES},
    }
