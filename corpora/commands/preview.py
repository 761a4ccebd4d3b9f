"""What a recipe would make of its sources: they are cleaned as in the graph, but into a folder that is thrown away.

Rows are held against the evaluation's items, and against one another for duplicates, across all sources that are
looked at and the mixtures and preferences use. Of a sample of rows this finds fewer than the graph will among all of
them. What is left goes through each mixture that takes it, as far as that is said of single rows: what of them is
learned, and which are left out; whether a mixture is possible where all of its sources were looked at whole; and
through preferences of sources alone. Pairs of candidates are left to the graph.
"""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from corpora.cleaning.clean import clean
from corpora.cleaning.steps import needs_tokenizer
from corpora.commands.inspection import unread_of
from corpora.commands.tokenizer import tokenizer_folder
from corpora.contamination import items
from corpora.data_report.samples import Sample, rendered
from corpora.duplicates import near
from corpora.duplicates.outcome import removed_file
from corpora.feedback.preferences import build_preferences
from corpora.mixing.shares import make_plan
from corpora.mixing.token_index import KINDS, LeftOut, Tokenisation, encoded_rows, without_words
from corpora.tables.tables import ROWS, facts_of, rows_of
from lineage.errors import CorpusError
from lineage.store import Request, Store, home_folder
from models.template import ChatTemplate
from recipes.errors import RecipeError
from recipes.load import load_recipe
from recipes.schema import Recipe
from recipes.sources import Source

_AT_ONCE = 500
"""Rows that are tokenised together."""


@dataclass(frozen=True)
class Place:
    """Where a recipe's sources are read: its folder, the cache, the items of its evaluation, its tokenizer."""

    folder: Path
    cache: Path
    items: Path
    tokenizer: Path | None


@dataclass(frozen=True)
class Previewed:
    """One source: the metrics of its clean corpus and its first rows, or what is wrong with it.

    distinct: its rows among those of all sources: `kept`, `exact` (they equal another) and `near` (they nearly do);
    None if the recipe uses it for nothing that leaves duplicates out. rows: of those that are kept. mixtures: what
    becomes of them in each that takes them. left_out: a note on steps that were not done. unread: fields that change
    nothing of what is read.
    """

    metrics: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = ()
    distinct: Mapping[str, int] | None = None
    mixtures: Mapping[str, "Mixed"] = field(default_factory=dict)
    problem: str | None = None
    left_out: str | None = None
    unread: Sequence[str] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """All but the rows, for a program."""
        mixtures = {name: mixed.facts for name, mixed in self.mixtures.items()}
        names = ("problem", "left_out", "distinct", "unread")
        return {**{name: getattr(self, name) for name in names}, "mixtures": mixtures, **self.metrics}


@dataclass(frozen=True)
class Mixed:
    """What a mixture makes of the rows of a source: rows and tokens to learn from on any side of the splits, how many
    units of the mixture are to train on, how many rows are left out by reason, and what the template said of the first
    that it refused; or why it takes none."""

    tokenisation: Tokenisation
    rows: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    units: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)
    refused: str | None = None
    problem: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        names = ("rows", "tokens", "supervised_tokens", "units", "left_out", "refused", "problem")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Preview:
    """The sources of a recipe that were looked at. preferences: of each entry whose sources all were, what was found,
    or why nothing is. mixtures: whose sources all were, whole: how many units they come to, or why they cannot be made.
    no_tokenizer: why there is none, if there is none."""

    recipe: Recipe
    sources: dict[str, Previewed]
    preferences: dict[str, Mapping[str, Any] | str]
    mixtures: dict[str, int | str]
    tokenizer: Path | None
    no_tokenizer: str

    @property
    def has_problems(self) -> bool:
        """Whether some source cannot be used, by itself or in a mixture that takes it."""
        of_mixtures = (mixed.problem for one in self.sources.values() for mixed in one.mixtures.values())
        made = (*self.preferences.values(), *self.mixtures.values())
        whole = any(isinstance(found, str) for found in made)
        return any(one.problem for one in self.sources.values()) or any(of_mixtures) or whole


def preview_recipe(path: Path, source: str | None, most: int | None, shown: int) -> Preview:
    """Preview a recipe's file, all sources or one. Raises RecipeError, CorpusError."""
    recipe, folder, store = load_recipe(path), path.resolve().parent, Store(home_folder())
    if source is not None and source not in recipe.sources:
        raise RecipeError(f"{path}: '{source}' is no source; sources are {', '.join(recipe.sources)}")
    tokenizer, problem = None, f"the model's tokenizer is not here yet: temper run {path} --select base"
    try:
        tokenizer = tokenizer_folder(recipe, folder, store)
    except CorpusError as error:
        problem = str(error)
    with evaluation_items(recipe, folder, store) as table:
        place = Place(folder, store.home / "cache", table, tokenizer)
        names = [source] if source else list(recipe.sources)
        found, preferences = preview(names, recipe, place, most, shown)
    return Preview(recipe, found, preferences, _planned(recipe, found), tokenizer, problem)


@contextmanager
def evaluation_items(recipe: Recipe, folder: Path, store: Store) -> Iterator[Path]:
    """The table of the suite's items: the sealed one, else one made for the moment. Raises CorpusError."""
    tasks, cache = recipe.evaluation.tasks, store.home / "cache"
    payload = items.payload_of(tasks, items.digests_of(tasks, folder, cache))
    sealed = store.find(Request(recipe.name, items.NODE, payload))
    if sealed is not None:
        yield sealed.path / items.ITEMS
        return
    with tempfile.TemporaryDirectory() as scratch:
        items.collect(tasks, folder, cache, Path(scratch))
        yield Path(scratch) / items.ITEMS


def preview(
    names: Sequence[str], recipe: Recipe, place: Place, most: int | None, shown: int
) -> tuple[dict[str, Previewed], dict[str, Mapping[str, Any] | str]]:
    """Clean sources, of their rows the first `most` (None: all), and keep `shown` rows of what is left of each; and
    what `Preview.preferences` says."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / "clean" / name for name in names}
        found = {name: _cleaned(name, recipe, place, most, folder) for name, folder in folders.items()}
        work = Path(scratch) / "distinct"
        work.mkdir()
        searched = {n: folders[n] for n in recipe.used_sources() if n in found and found[n].problem is None}
        counts = near.find(searched, recipe.duplicates, work, recipe.corpora)["sources"] if searched else {}
        for name in (name for name in names if found[name].problem is None):
            removed = {row["id"] for row in rows_of(removed_file(work, name))} if name in counts else set()
            kept = (row for row in rows_of(folders[name] / ROWS) if row["id"] not in removed)
            first = list(islice(kept, shown))
            mixtures = _mixed(recipe, name, itertools.chain(first, kept), folders[name], place.tokenizer)
            found[name] = replace(found[name], rows=first, distinct=counts.get(name), mixtures=mixtures)
        sound = {name: folders[name] for name in names if found[name].problem is None}
        tables = {name: removed_file(work, name) for name in counts}
        preferences = _preferred(recipe, sound, tables, place, Path(scratch) / "preferences")
    return found, preferences


def _preferred(
    recipe: Recipe, clean: Mapping[str, Path], removed: Mapping[str, Path], place: Place, work: Path
) -> dict[str, Mapping[str, Any] | str]:
    found: dict[str, Mapping[str, Any] | str] = {}
    for name, preferences in recipe.preferences.items():
        named = list(dict.fromkeys(rule.source for rule in preferences.of_sources))
        if place.tokenizer is None or preferences.of_candidates or not clean.keys() >= {*named}:
            continue
        (work / name).mkdir(parents=True)
        try:
            found[name] = build_preferences(
                preferences,
                {source: clean[source] for source in named},
                {source: recipe.sources[source] for source in named},
                place.tokenizer,
                place.folder,
                work / name,
                removed={source: removed[source] for source in named if source in removed},
                splits=recipe.splits,
            )
        except CorpusError as error:
            found[name] = str(error)
    return found


def _mixed(
    recipe: Recipe, name: str, rows: Iterator[dict[str, Any]], folder: Path, tokenizer: Path | None
) -> dict[str, Mixed]:
    """What becomes of a source's rows in every mixture that takes them; nothing where there is no tokenizer."""
    taking = {n: m for n, m in recipe.mixtures.items() if recipe.sources[name].group in m.members}
    if tokenizer is None or not taking:
        return {}
    kind, held = facts_of(folder / ROWS)["kind"], list(rows)
    found = {}
    for mixture_name, mixture in taking.items():
        tokenisation = Tokenisation.of(mixture, tokenizer, recipe.splits)
        if KINDS.get(kind) != mixture.kind:
            problem = f"takes {mixture.kind}, and {name} holds {kind} rows"
            found[mixture_name] = Mixed(tokenisation, problem=problem)
            continue
        try:
            counted = _counted(held, tokenisation, mixture.unit)
        except CorpusError as error:
            found[mixture_name] = Mixed(tokenisation, problem=str(error))
            continue
        unsaid = without_words(counted.refused) if recipe.sources[name].sensitive else counted.refused
        found[mixture_name] = replace(counted, refused=unsaid)
    return found


def _counted(rows: Sequence[dict[str, Any]], tokenisation: Tokenisation, unit: str) -> Mixed:
    left_out = LeftOut()
    found, train = Counter[str](), Counter[str]()
    for start in range(0, len(rows), _AT_ONCE):
        for side, _, ids, learned in encoded_rows(list(rows[start : start + _AT_ONCE]), tokenisation, left_out):
            own = {"rows": 1, "tokens": len(ids), "supervised_tokens": int(learned.sum())}
            found.update(own)
            train.update(own if side == "train" else {})
    whole = found["rows"], found["tokens"], found["supervised_tokens"]
    return Mixed(tokenisation, *whole, train[unit], left_out.rows, left_out.refused)


def _planned(recipe: Recipe, found: Mapping[str, Previewed]) -> dict[str, int | str]:
    """What `Preview.mixtures` says."""
    planned: dict[str, int | str] = {}
    for name, mixture in recipe.mixtures.items():
        taken = [source for source, section in recipe.sources.items() if section.group in mixture.members]
        whole = (source in found and not found[source].metrics.get("beyond_limit") for source in taken)
        made = any(section.group in mixture.members for section in recipe.best_of_n.values())
        if made or not all(whole) or any(_mixed_or_none(found[source], name) is None for source in taken):
            continue
        holdings: dict[str, dict[str, int]] = {group: {} for group in mixture.members}
        for source in taken:
            holdings[recipe.sources[source].group][source] = found[source].mixtures[name].units
        empty = [group for group, held in holdings.items() if not sum(held.values())]
        try:
            planned[name] = f"groups without rows: {', '.join(empty)}" if empty else make_plan(mixture, holdings).size
        except CorpusError as error:
            planned[name] = str(error)
    return planned


def _mixed_or_none(source: Previewed, mixture: str) -> Mixed | None:
    mixed = source.mixtures.get(mixture)
    return None if mixed is None or mixed.problem is not None else mixed


def _cleaned(name: str, recipe: Recipe, place: Place, most: int | None, work: Path) -> Previewed:
    source = recipe.sources[name]
    left_out = None
    if source.difficulty is not None and not _has_weights(place.tokenizer):
        source = source.model_copy(update={"steps": source.row_steps})
        left_out = "filter difficulty is left out: materialize base first, whose weights score the rows"
    if place.tokenizer is None and needs_tokenizer(source):
        return Previewed({}, problem="a step counts tokens; materialize base first, for its tokenizer")
    work.mkdir(parents=True)
    try:
        metrics = clean(
            name,
            _limited(source, most),
            place.folder,
            place.cache,
            work,
            items=place.items,
            contamination=recipe.contamination,
            checkpoint=place.tokenizer,
            execution=recipe.corpora,
        )
    except CorpusError as error:
        return Previewed({}, problem=str(error))
    return Previewed(metrics, left_out=left_out, unread=unread_of(source, place.folder, place.cache))


def as_learned(row: Mapping[str, Any], tokenisation: Tokenisation, tokenizer: Any) -> tuple[list[Sample], str | None]:
    """The rows that a mixture makes of a conversation, and why it leaves some or all of it out, if it does."""
    left_out = LeftOut()
    found = [
        rendered({**row, "source": "", **own, "input_ids": ids.tolist(), "supervised": learned.tolist()}, tokenizer)
        for _, own, ids, learned in encoded_rows([{**row}], tokenisation, left_out)
    ]
    reasons = [left_out.refused or reason.replace("_", " ") for reason in left_out.rows]
    return found, "; ".join(reasons) or None


def as_model_reads(row: Mapping[str, Any], template: ChatTemplate) -> list[Sample]:
    """A conversation, or a prompt with its only or chosen answer, in tokens with the loss mask: the rows that it is
    learned in. Raises CorpusError."""
    messages = row.get("messages") or [*row["prompt"], *(row.get("chosen") or row["completion"])]
    [rows] = template.rendered([messages], [row.get("tools")])
    found = []
    for one in rows:
        ids, supervised = template.encode_rendered(one)
        read = {"source": row["source"], "input_ids": ids, "supervised": supervised}
        read["loss_weights"] = template.loss_weights(one)
        found.append(rendered(read, template.tokenizer))
    return found


def _has_weights(checkpoint: Path | None) -> bool:
    return checkpoint is not None and any(checkpoint.glob("*.safetensors"))


def _limited(source: Source, most: int | None) -> Source:
    limits = [limit for limit in (source.limit, most) if limit is not None]
    return source.model_copy(update={"limit": min(limits, default=None)})
