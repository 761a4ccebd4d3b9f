"""Could this gate ever pass? The power of a recipe's guards, from the sizes and margins that it declares.

Nothing has been evaluated when a recipe is written, so the one unknown is assumed: the share of items whose outcome
changes between two equally good models (`discordance`). Power is asked for here and nowhere else: the gate's verdict
follows from what the outcomes show. Strata are left out, as they only make a mean surer.
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl

from recipes import paired
from recipes.promotion import Guard, Promotion
from recipes.schema import Recipe
from recipes.suite import Task


@dataclass(frozen=True)
class Power:
    """What a guard can show. items: None if the recipe leaves their number to the data, as all else then is.

    chance: that an equally good model passes. narrowest: the smallest margin that it passes with the recipe's power.
    needed: items for the declared margin.
    """

    field: str
    guard: Guard
    discordance: float
    items: int | None
    chance: float | None
    narrowest: float | None
    needed: int


def power_of(recipe: Recipe) -> list[Power]:
    """The power of each guard, in the recipe's order."""
    return [
        _power(f"promotion.guards.{place}", guard, recipe.evaluation.tasks[guard.metric.partition("/")[0]], recipe)
        for place, guard in enumerate(recipe.promotion.guards)
    ]


def sentence(power: Power, promotion: Promotion) -> str:
    """What a guard can show, for a person."""
    margin, assumed = _points(power.guard.margin), f"{power.discordance * 100:.3g}% of outcomes assumed to change"
    if power.items is None or power.chance is None or power.narrowest is None:
        return (
            f"{power.guard.metric}: margin {margin} needs {power.needed:,} items ({assumed}); all of the data are used"
        )
    return (
        f"{power.guard.metric}: {power.items:,} items, margin {margin}: an equally good model passes with "
        f"{power.chance:.0%} ({assumed}); for {promotion.power:.0%} the margin must be {_points(power.narrowest)} "
        f"or the items {power.needed:,}"
    )


def refusals(recipe: Recipe) -> list[str]:
    """Guards that an equally good model would too seldom pass: field, figures, mend. None where that is allowed."""
    promotion = recipe.promotion
    if promotion.allow_underpowered:
        return []
    return [
        f"{power.field}: {sentence(power, promotion)}; raise margin or limit, say the guard's own discordance if it is "
        "known to be smaller, or set promotion.allow_underpowered (the gate then mostly answers 'inconclusive' for it)"
        for power in power_of(recipe)
        if power.chance is not None and power.chance < promotion.power
    ]


def _power(field: str, guard: Guard, task: Task, recipe: Recipe) -> Power:
    alpha, power = recipe.promotion.alpha, recipe.promotion.power
    discordance = guard.discordance or task.discordance
    changes = discordance / 2, discordance / 2
    needed = paired.items_needed(*changes, -guard.margin, alpha, power) or 1
    items = _items(task)
    if items is None:
        return Power(field, guard, discordance, None, None, None, needed)
    chance = paired.chance(items, *changes, -guard.margin, alpha)
    return Power(
        field, guard, discordance, items, chance, paired.narrowest_margin(items, discordance, alpha, power), needed
    )


def _items(task: Task) -> int | None:
    """Items that a task draws, if the recipe alone says so."""
    made = dict(parse_qsl(task.data.uri.partition("?")[2])).get("size") if task.data.scheme == "gym" else None
    declared = [int(number) for number in (made, task.limit) if number is not None]
    return min(declared) if declared else task.published


def _points(share: float) -> str:
    number = f"{share * 100:.3g}"
    return f"{number} point" if number == "1" else f"{number} points"
