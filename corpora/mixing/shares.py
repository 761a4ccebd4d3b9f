"""Which shares, and how much of them, the sources at hand can give: decided before a row is written.

From what every source holds, the recipe's shares and its exhaustion policy comes a plan that the scheduler can
keep to the end, or an error that says which source lacks how much and what to do. A source is asked for no more
than its planned units, so none runs out in the middle.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from corpora.raw import CorpusError
from recipes.schema import Mixture

_ROUNDING = 1e-9

Holdings = Mapping[str, Mapping[str, int]]
"""Units that each source of each group holds, once through."""


@dataclass(frozen=True)
class Plan:
    """`size` units in all; shares of the groups; in each group, shares of its sources. Each level sums to 1."""

    size: int
    groups: dict[str, float]
    within: dict[str, dict[str, float]]


@dataclass(frozen=True)
class _Demand:
    group: str
    source: str
    share: float
    holds: int


def make_plan(mixture: Mixture, holdings: Holdings) -> Plan:
    """The shares to schedule. Raises CorpusError if the policy forbids what the sources would need."""
    within = {group: _inner_shares(mixture, group, held) for group, held in sorted(holdings.items())}
    demands = [
        _Demand(group, source, mixture.shares[group] * share, holdings[group][source])
        for group, inner in within.items()
        for source, share in inner.items()
    ]
    groups = {group: mixture.shares[group] for group in within}
    if mixture.exhaustion == "renormalise":
        return _renormalised(mixture.size, groups, within, holdings)
    epochs = mixture.max_epochs if mixture.exhaustion == "repeat" else 1.0
    possible = math.floor(min(demand.holds * epochs / demand.share for demand in demands) * (1 + _ROUNDING))
    if mixture.exhaustion == "stop":
        return Plan(min(mixture.size, possible), groups, within)
    if possible < mixture.size:
        raise CorpusError(_lacking(mixture, demands, epochs, possible))
    return Plan(mixture.size, groups, within)


def _inner_shares(mixture: Mixture, group: str, held: Mapping[str, int]) -> dict[str, float]:
    """Shares of a group's sources: the recipe's, or by what each source holds."""
    given = mixture.within.get(group)
    if given is not None:
        return dict(sorted(given.items()))
    total = sum(held.values())
    return {source: units / total for source, units in sorted(held.items()) if units}


def _renormalised(
    size: int, groups: Mapping[str, float], within: Mapping[str, Mapping[str, float]], holdings: Holdings
) -> Plan:
    """Members that hold too little give all they have; the others share the rest in proportion."""
    wanted = _fill(size, groups, {group: sum(holdings[group].values()) for group in groups})
    inner = {group: _fill(wanted[group], within[group], holdings[group]) for group in groups}
    total = sum(wanted.values())
    return Plan(
        size=math.floor(total * (1 + _ROUNDING)),
        groups={group: units / total for group, units in wanted.items()},
        within={group: {s: u / wanted[group] for s, u in sources.items()} for group, sources in inner.items()},
    )


def _fill(total: float, shares: Mapping[str, float], holds: Mapping[str, float]) -> dict[str, float]:
    """Units of each member: its share of what is left once those that hold less have given all."""
    given: dict[str, float] = {}
    while len(given) < len(shares):
        rest = total - sum(given.values())
        open_share = sum(share for name, share in shares.items() if name not in given)
        wanted = {name: rest * share / open_share for name, share in shares.items() if name not in given}
        short = {name: float(holds[name]) for name, units in wanted.items() if units > holds[name]}
        given |= short or wanted
    return dict(sorted(given.items()))


def _lacking(mixture: Mixture, demands: list[_Demand], epochs: float, possible: int) -> str:
    unit = mixture.unit.replace("_", " ")
    lines = []
    for demand in demands:
        needed = mixture.size * demand.share
        if needed > demand.holds * epochs * (1 + _ROUNDING):
            passes = f" in {epochs:g} passes" if epochs > 1 else ""
            lines.append(
                f"  group '{demand.group}', source '{demand.source}': needs {needed:,.0f} {unit}, "
                f"has {demand.holds * epochs:,.0f}{passes}, lacks {needed - demand.holds * epochs:,.0f}"
            )
    needed_epochs = max(math.ceil(mixture.size * d.share / d.holds * 100) / 100 for d in demands)
    return (
        f"the mixture of {mixture.size:,} {unit} runs out of text:\n" + "\n".join(lines) + f"\n"
        f"Set size to at most {possible:,}, or exhaustion to 'repeat' with max_epochs of at least {needed_epochs:g}, "
        "or to 'renormalise' or 'stop'"
    )
