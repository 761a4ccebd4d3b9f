"""What `preview` found, on a terminal: counts of every source, then the first rows as the model will read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.commands.preview import Mixed, Preview, Previewed, as_learned, as_model_reads
from corpora.commands.showing import as_read, console, shortened, table
from corpora.contamination.screen import parts_of
from corpora.data_report.samples import Sample
from corpora.mixing.token_index import Tokenisation
from lineage.errors import CorpusError
from models.template import ChatTemplate
from recipes.schema import Recipe

if TYPE_CHECKING:
    from rich.console import Console

_COUNTS = ("read", "kept", "quarantined", "duplicate", "contaminated", "filtered")


def show_preview(found: Preview) -> None:
    shown = console()
    _show_counts(found.recipe, found.sources, shown)
    for name, planned in found.mixtures.items():
        unit = found.recipe.mixtures[name].unit.replace("_", " ")
        shown.print(f"mixture {name}: {planned if isinstance(planned, str) else f'{planned:,} {unit}'}")
    for name, made in found.preferences.items():
        shown.print(f"preferences {name}: {made if isinstance(made, str) else _judged(made)}")
    _show_rows(found.recipe, found.sources, found.tokenizer, found.no_tokenizer, shown)


def _show_counts(recipe: Recipe, found: Mapping[str, Previewed], shown: "Console") -> None:
    rows: list[Sequence[Any]] = [
        (
            *(name, recipe.sources[name].group, one.metrics["format"]),
            *(_count(one.metrics, count) for count in _COUNTS),
            one.metrics["kept"] if one.distinct is None else one.distinct["kept"],
        )
        for name, one in found.items()
        if one.problem is None
    ]
    if rows:
        shown.print(table(("source", "group", "format", *_COUNTS, "distinct"), rows))
    for name, one in found.items():
        if beyond := one.metrics.get("beyond_limit"):
            shown.print(f"{name}: {beyond:,} more rows were not looked at")
        for step in one.metrics.get("steps", []):
            why = ", ".join(f"{reason} {count:,}" for reason, count in step["reasons"].items())
            shown.print(
                f"{name}: filter {step['kind']}: {step['before']:,} → {step['after']:,}{' · ' + why if why else ''}"
            )
        if one.left_out is not None:
            shown.print(f"{name}: {one.left_out}")
        if one.unread:
            shown.print(f"{name}: not read: {', '.join(one.unread)}")
        for reason, count in one.metrics.get("quarantine_reasons", {}).items():
            shown.print(f"{name}: quarantine: {count:,} × {reason}")
        matched = one.metrics.get("contamination", {}).get("matched", {})
        for task, count in matched.items():
            shown.print(f"{name}: {count:,} copies of items of {task}")
        if one.distinct is not None and one.distinct["kept"] < one.distinct["rows"]:
            shown.print(
                f"{name}: say what others say: {one.distinct['exact']:,} exactly, {one.distinct['near']:,} nearly"
            )
        for mixture, mixed in one.mixtures.items():
            shown.print(f"{name}: in mixture {mixture}: {mixed.problem or _learned(mixed)}")
        if one.problem is not None:
            shown.print(f"{name}: {one.problem}")
    unseen = [f"the rest of {name}" for name, one in found.items() if one.distinct and one.metrics["beyond_limit"]]
    unseen += [name for name in recipe.used_sources() if name not in found]
    if unseen and any(one.distinct for one in found.values()):
        shown.print(f"distinct: compared are the rows above, without {', '.join(unseen)}; among all there may be more")


def _judged(made: Mapping[str, Any]) -> str:
    """What preferences hold, in words."""
    holds = "pairs" if "pairs" in made else "unpaired"
    parts = []
    for rule in made["rules"]:
        out = ", ".join(f"{why.replace('_', ' ')} {rows:,}" for why, rows in rule["left_out"].items() if rows)
        parts.append(f"{rule['source']} ({rule['rule']}) {rule[holds]:,}{'; left out: ' + out if out else ''}")
    bias = f"length bias {made['length_bias']:+.2f}"
    return f"{made[holds]:,} {'pairs' if holds == 'pairs' else 'answers'}, {bias}: {' · '.join(parts)}"


def _learned(mixed: Mixed) -> str:
    """What a mixture makes of a source's rows, in words."""
    found = f"{mixed.rows:,} rows with {mixed.supervised_tokens:,} of {mixed.tokens:,} tokens learnt"
    left_out = ", ".join(f"{why.replace('_', ' ')} {count:,}" for why, count in mixed.left_out.items() if count)
    refused = f" (the first that the template refused: {mixed.refused})" if mixed.refused else ""
    return f"{found}{'; left out: ' + left_out if left_out else ''}{refused}"


def _count(metrics: Mapping[str, Any], name: str) -> int:
    """Rows that were looked at, and what became of them: those beyond the limit are no news."""
    beyond = int(metrics["beyond_limit"]) if name in ("read", "filtered") else 0
    return int(metrics[name]) - beyond


def _show_rows(
    recipe: Recipe, found: Mapping[str, Previewed], tokenizer: Path | None, problem: str, shown: "Console"
) -> None:
    """problem: why there is no tokenizer, if there is none; then rows are shown as they are."""
    template = None
    if tokenizer is not None:
        try:
            template = ChatTemplate.load(tokenizer)
        except CorpusError as error:
            problem = str(error)
    if template is None:
        shown.print(f"\nRows as the model reads them: {problem}")
    for name, one in found.items():
        if one.rows and recipe.sources[name].sensitive:
            shown.print(f"\n{name}: text of a sensitive source is not shown")
            continue
        for row in one.rows:
            place_of = f"{row['origin']['file']}:{row['origin']['line']}"
            shown.print(f"\n{name} · {place_of}", style="bold")
            settings = _settings(one.mixtures) if template is not None and row.get("messages") else {}
            for mixed, mixtures in settings.items():
                _show_learned(row, mixed, mixtures, template, shown)
            if not settings:
                _show_row(row, template, shown)


def _settings(mixtures: Mapping[str, Mixed]) -> dict[Tokenisation, list[str]]:
    """The mixtures that take a source's rows, by how they do."""
    found: dict[Tokenisation, list[str]] = {}
    for name, mixed in mixtures.items():
        if mixed.problem is None:
            found.setdefault(mixed.tokenisation, []).append(name)
    return found


def _show_learned(
    row: Mapping[str, Any],
    tokenisation: Tokenisation,
    mixtures: list[str],
    template: ChatTemplate | None,
    shown: "Console",
) -> None:
    """A conversation as the mixtures of these names learn it."""
    samples, left_out = as_learned(row, tokenisation, template.tokenizer if template else None)
    shown.print(f"as learned in {', '.join(mixtures)}", style="dim")
    _show_samples(samples, shown)
    if left_out is not None:
        shown.print(f"left out{' in part' if samples else ''}: {left_out}")
        if not samples:
            shown.print(shortened("\n".join(parts_of(row))), soft_wrap=True)


def _show_samples(samples: Sequence[Sample], shown: "Console") -> None:
    for place, sample in enumerate(samples, start=1):
        if len(samples) > 1:
            said = "the template shows an answer otherwise once others follow it, or it is too long for one"
            shown.print(f"row {place} of {len(samples)}: {said}", style="dim")
        shown.print(as_read(sample, coloured=shown.is_terminal and not shown.no_color), soft_wrap=True)
        shown.print(f"{sample.tokens:,} tokens, {sample.learnt}", style="dim")


def _show_row(row: Mapping[str, Any], template: ChatTemplate | None, shown: "Console") -> None:
    if template is None or not (row.get("messages") or row.get("chosen") or row.get("completion")):
        text = "\n".join(parts_of(row))
        shown.print(shortened(text), soft_wrap=True)
        return
    try:
        samples = as_model_reads(row, template)
    except CorpusError as error:
        shown.print(str(error))
        return
    _show_samples(samples, shown)
    if row.get("rejected"):
        shown.print("rejected: " + shortened("\n".join(parts_of({"rejected": row["rejected"]}))), soft_wrap=True)
    if row.get("label") is not None:
        shown.print("a good answer" if row["label"] else "a bad answer")
