"""How a page writes numbers."""

from collections.abc import Mapping


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def points(value: float) -> str:
    """A difference in percentage points, with a real minus sign and no minus zero."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def money(sums: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:,.2f} {currency}".strip() for currency, amount in sums.items())


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def number(value: float | None) -> str:
    """A count with a space between thousands."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")
