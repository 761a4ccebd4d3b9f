"""Plots, as SVG: differences with their intervals, scores now and over time, calibration, training curves.

Text stays text and backgrounds stay transparent, so that a page reads in light and in dark and can be
searched. Colours are those of Okabe and Ito (2008), told apart with every kind of colour vision.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import TYPE_CHECKING, Any

from evaluation.gating.decision import Outcome, Test
from evaluation.gating.wording import allowance
from evaluation.pages.calibration import Calibration
from evaluation.pages.history import Scored
from evaluation.report import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#808890"
_SERIES = ("#9aa3ad", "#56b4e9", "#0072b2", "#009e73", "#cc79a7", "#e69f00")
OUTCOME_COLOURS: dict[Outcome, str] = {"pass": "#009e73", "fail": "#d55e00", "inconclusive": "#e69f00"}
_POINTS = 100
_SMOOTH_FROM = 20
"""Fewer points than these are read as they are."""
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "temper",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.frameon": False,
}


def forest(tests: Sequence[Test]) -> str:
    """Paired differences with their two one-sided bounds, beside what each test allows or asks for."""
    with _figure(10.4, 0.9 + 0.44 * len(tests)) as (figure, axes, svg):
        for place, test in enumerate(reversed(tests)):
            colour, threshold = OUTCOME_COLOURS[test.outcome], _POINTS * test.threshold
            axes.plot([threshold, 0], [place, place], color=_INK, linewidth=12, alpha=0.22, solid_capstyle="butt")
            axes.plot(threshold, place, "|", color=_INK, markersize=17, markeredgewidth=2)
            axes.plot([_POINTS * test.lower, _POINTS * test.upper], [place, place], color=colour, linewidth=2.5)
            axes.plot(_POINTS * test.gain, place, "o", color=colour, markersize=7)
            asked = "may lose up to" if test.role == "guard" else "must gain more than"
            beside = "" if test.role == "context" else f"{asked} {allowance(abs(test.threshold))}"
            axes.text(1.02, place, beside, transform=axes.get_yaxis_transform(), va="center", clip_on=False)
        axes.axvline(0, color=_INK, linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(tests)), [f"{t.metric} vs {t.against}" for t in reversed(tests)])
        axes.set_ylim(-0.6, len(tests) - 0.4)
        grey = " · grey: what may be lost, or must be gained" if any(test.role != "context" for test in tests) else ""
        axes.set_xlabel(f"points better (right) or worse (left){grey}")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        figure.tight_layout()
    return svg.getvalue()


def scores(reports: Mapping[str, Report], metrics: Sequence[str]) -> str:
    """Scores of each checkpoint on each metric, with 95 % intervals."""
    import numpy as np

    width = 0.8 / max(1, len(reports))
    with _figure(10.4, 3.4) as (figure, axes, svg):
        for index, (name, report) in enumerate(reports.items()):
            known = [report.results[metric] for metric in metrics]
            means = np.array([result["mean"] for result in known]) * _POINTS
            low, high = (np.array([result["ci95"][side] for result in known]) * _POINTS for side in (0, 1))
            at = np.arange(len(metrics)) + (index - (len(reports) - 1) / 2) * width
            errors = np.maximum(0, [means - low, high - means])
            colour = _SERIES[index % len(_SERIES)]
            axes.bar(at, means, width * 0.92, color=colour, label=name, yerr=errors, ecolor=_INK, capsize=2)
        axes.set_xticks(range(len(metrics)), [metric.replace("/", "\n") for metric in metrics])
        axes.set_ylabel("%")
        axes.legend(loc="upper left", ncols=len(reports), bbox_to_anchor=(0, 1.16))
        figure.tight_layout()
    return svg.getvalue()


def over_time(scored: Sequence[Scored], metrics: Sequence[str]) -> str:
    """Scores of checkpoints in the order of their evaluation, one panel a metric, with 95 % intervals.

    A ring marks the champion, a dashed one a former champion; hollow: trained with launch overrides.
    """
    nodes = list(dict.fromkeys(one.node for one in scored))
    columns = min(2, len(metrics))
    lines = -(-len(metrics) // columns)
    with _figure(5 * columns, 0.5 + 2.1 * lines, panels=(lines, columns)) as (figure, first, svg):
        panels = [first, *(axes for axes in figure.axes if axes is not first)]
        for axes, metric in zip(panels, metrics, strict=False):
            for index, node in enumerate(nodes):
                places = [at for at, one in enumerate(scored) if one.node == node and metric in one.results]
                of_node = [scored[at] for at in places]
                means = [_POINTS * one.results[metric]["mean"] for one in of_node]
                reach = [
                    [
                        abs(_POINTS * one.results[metric]["ci95"][side] - mean)
                        for one, mean in zip(of_node, means, strict=True)
                    ]
                    for side in (0, 1)
                ]
                colour = _SERIES[(index + 2) % len(_SERIES)] if node != "base" else _SERIES[0]
                axes.errorbar(places, means, yerr=reach, fmt="none", ecolor=colour, alpha=0.45, linewidth=1.5)
                faces = ["none" if one.overridden else colour for one in of_node]
                axes.scatter(places, means, s=30, facecolors=faces, edgecolors=colour, zorder=3, label=node)
                for at, one, mean in zip(places, of_node, means, strict=True):
                    if one.was_champion:
                        style = "-" if one.champion else ":"
                        axes.scatter(at, mean, s=130, facecolors="none", edgecolors=_INK, linestyle=style, zorder=4)
            axes.set_title(metric, fontsize=10, color=_INK, loc="left")
            axes.set_ylabel("%")
            shown = sorted({round(i * (len(scored) - 1) / 4) for i in range(5)}) if len(scored) > 1 else [0]
            axes.set_xticks(shown, [scored[at].at[5:16].replace("T", "\n") for at in shown], fontsize=8)
            axes.margins(x=0.08)
        for axes in panels[len(metrics) :]:
            axes.set_axis_off()
        handles, labels = first.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=len(labels), fontsize=9)
        figure.tight_layout(rect=(0, 0, 1, 0.94))
    return svg.getvalue()


def reliability(calibrations: Mapping[str, Calibration]) -> str:
    """How often choices of like confidence are right, by checkpoint; on the dotted line confidence is warranted."""
    with _figure(4.6, 3.6) as (figure, axes, svg):
        axes.plot([0, 100], [0, 100], color=_INK, linewidth=0.8, linestyle=":")
        for index, (name, found) in enumerate(calibrations.items()):
            x, y = ([_POINTS * value for value in side] for side in zip(*_points(found), strict=True))
            sizes = [20 + 200 * b.n / found.n for b in found.bins]
            colour = _SERIES[(2 * index) % len(_SERIES)]
            axes.plot(x, y, color=colour, linewidth=1.2, alpha=0.7)
            axes.scatter(x, y, s=sizes, color=colour, alpha=0.75, label=name)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_xlabel("confidence in the choice taken, %")
        axes.set_ylabel("right, %")
        axes.legend(loc="upper left", markerscale=0.6)
        figure.tight_layout()
    return svg.getvalue()


def _points(found: Calibration) -> list[tuple[float, float]]:
    return [(b.confidence, b.accuracy) for b in found.bins]


def curves(history: Sequence[Mapping[str, Any]]) -> str:
    """Loss by step, with its running mean; also the margin of preferred answers, or the reward of the model's own."""
    from matplotlib.ticker import MaxNLocator

    with _figure(5, 2.7) as (figure, axes, svg):
        steps, losses = _series(history, "loss")
        smooth = len(losses) >= _SMOOTH_FROM
        axes.plot(steps, losses, color=_SERIES[2], linewidth=1 if smooth else 1.8, alpha=0.4 if smooth else 1)
        if smooth:
            axes.plot(steps, _running_mean(losses), color=_SERIES[2], linewidth=2)
        axes.set_xlabel("step")
        axes.set_ylabel("loss", color=_SERIES[2])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        for name, label in (("rewards/margins", "reward margin"), ("reward", "reward")):
            steps, rewards = _series(history, name)
            if steps:
                other = axes.twinx()
                other.plot(steps, rewards, color=_SERIES[5], linewidth=1.6)
                other.set_ylabel(label, color=_SERIES[5])
                other.spines["right"].set_visible(True)
        figure.tight_layout()
    return svg.getvalue()


def _series(history: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    """Steps and values of one logged number; entries without it (a final summary) are left out."""
    entries = [entry for entry in history if name in entry]
    return [entry["step"] for entry in entries], [entry[name] for entry in entries]


def _running_mean(values: Sequence[float]) -> list[float]:
    """Each value's mean with its neighbours, a tenth of the series in all."""
    reach = max(1, len(values) // 20)
    return [fmean(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))]


@contextmanager
def _figure(
    width: float, height: float, panels: tuple[int, int] = (1, 1)
) -> "Iterator[tuple[Figure, Axes, io.StringIO]]":
    """A figure of inches `width` × `height`, its first axes, and a buffer that holds its SVG (no prologue) afterwards.

    panels: rows and columns of axes.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, height))
        FigureCanvasSVG(figure)
        axes = figure.subplots(*panels, squeeze=False)
        yield figure, axes[0, 0], buffer
        raw = io.StringIO()
        figure.savefig(raw, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = raw.getvalue()
    buffer.write(text[text.index("<svg") :])
