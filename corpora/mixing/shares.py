"""Which shares, and how much of them, the sources at hand can give: decided before a row is written.

From what every source holds, the recipe's shares and its exhaustion policy comes a plan that the scheduler can
keep to the end, or an error that says which source lacks how much and what to do. Shares that the recipe leaves
open follow from what is held, as n^(1/temperature): proportional at 1, nearer to equal above it (Devlin et al.
2019; Conneau et al. 2020 write it as n^alpha). In whole units the plan is a quota for each source, so that none
is asked for more than it has and none runs out in the middle.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from lineage.errors import CorpusError
from recipes.mixtures import Mixture

_ROUNDING = 1e-9

Holdings = Mapping[str, Mapping[str, int]]
"""Units that each source of each group holds, once through."""


@dataclass(frozen=True)
class Plan:
    """`size` units in all; shares of the groups; in each group, shares of its sources. Each level sums to 1.

    `requested` are the groups' shares before the exhaustion policy; `holds` the most units that a source can give.
    """

    size: int
    requested: dict[str, float]
    groups: dict[str, float]
    within: dict[str, dict[str, float]]
    holds: dict[str, int]

    def quotas(self) -> dict[str, int]:
        """Whole units that each source gives, groups first: they add up to `size` as nearly as what is held allows."""
        by_group = _whole(self.size, self.groups)
        found = {
            s: units for group, inner in self.within.items() for s, units in _whole(by_group[group], inner).items()
        }
        return {source: min(units, self.holds[source]) for source, units in found.items()}


@dataclass(frozen=True)
class _Demand:
    group: str
    source: str
    share: float
    holds: int


def make_plan(mixture: Mixture, holdings: Holdings) -> Plan:
    """The shares to schedule. Raises CorpusError if the policy forbids what the sources would need."""
    groups = _requested(mixture, holdings)
    within = {group: _inner_shares(mixture, group, held) for group, held in sorted(holdings.items())}
    epochs = mixture.max_epochs if mixture.exhaustion == "repeat" else 1.0
    holds = {source: math.floor(units * epochs) for held in holdings.values() for source, units in held.items()}
    if mixture.exhaustion == "renormalise":
        return _renormalised(Plan(mixture.size, groups, groups, within, holds), holdings)
    demands = [
        _Demand(group, source, groups[group] * share, holdings[group][source])
        for group, inner in within.items()
        for source, share in inner.items()
    ]
    possible = math.floor(min(demand.holds * epochs / demand.share for demand in demands) * (1 + _ROUNDING))
    if possible < mixture.size and mixture.exhaustion != "stop":
        raise CorpusError(_lacking(mixture, demands, epochs, possible))
    return Plan(min(mixture.size, possible), groups, groups, within, holds)


def tempered(held: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Shares in proportion to n^(1/temperature), of members that hold n units; those that hold none have none."""
    scaled = {name: units ** (1 / temperature) for name, units in sorted(held.items()) if units}
    total = math.fsum(scaled.values())
    return {name: weight / total for name, weight in scaled.items()}


def _requested(mixture: Mixture, holdings: Holdings) -> dict[str, float]:
    """Shares of the groups: the recipe's, or by what each group holds."""
    if mixture.shares:
        return dict(sorted(mixture.shares.items()))
    return tempered({group: sum(held.values()) for group, held in holdings.items()}, mixture.temperature)


def _inner_shares(mixture: Mixture, group: str, held: Mapping[str, int]) -> dict[str, float]:
    """Shares of a group's sources: the recipe's, or by what each source holds."""
    given = mixture.within.get(group)
    return dict(sorted(given.items())) if given is not None else tempered(held, mixture.temperature)


def _renormalised(plan: Plan, holdings: Holdings) -> Plan:
    """Members that hold too little give all they have; the others share the rest in proportion."""
    wanted = _fill(plan.size, plan.groups, {group: sum(holdings[group].values()) for group in plan.groups})
    inner = {group: _fill(wanted[group], plan.within[group], holdings[group]) for group in plan.groups}
    total = sum(wanted.values())
    return replace(
        plan,
        size=math.floor(total * (1 + _ROUNDING)),
        groups={group: units / total for group, units in wanted.items()},
        within={group: {s: u / wanted[group] for s, u in sources.items()} for group, sources in inner.items()},
    )


def _whole(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Whole units in these shares that add up to `total`: the largest remainders are rounded up."""
    exact = {name: total * share for name, share in shares.items()}
    units = {name: math.floor(value + _ROUNDING) for name, value in exact.items()}
    missing = total - sum(units.values())
    for name in sorted(exact, key=lambda name: (units[name] - exact[name], name))[: max(0, missing)]:
        units[name] += 1
    return units


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
