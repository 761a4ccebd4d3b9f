"""Several clean corpora in exact shares, tokenised, in training order.

The steps: tokenise each corpus once (`token_index`), decide from what it holds which shares are possible
(`shares`), let the deficit scheduler choose row after row from each source's keyed permutation (`scheduler`,
`permutation`), and write. The same inputs give the same bytes. What a trainer does with the rows is left to it;
their order is already the one to train in.
"""

import itertools
import math
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpora.mixing.mixture_checks import check_mixture
from corpora.mixing.permutation import Permutation
from corpora.mixing.scheduler import error_bound, schedule
from corpora.mixing.shares import Plan, make_plan
from corpora.mixing.token_index import TokenIndex, build_index
from corpora.raw import CorpusError
from corpora.rendering import ChatTemplate
from corpora.tables import MANIFEST, ROWS, mixture_schema
from lineage.store import write_json
from recipes.schema import Mixture

VERSION = 1

ALGORITHM = "token deficit by group and source, Feistel order by seed, source and epoch"
_BLOCK = 1 << 16
_BATCH = 2000

Pick = tuple[int, int, int, int]
"""Units, number of the source in the order of names, row, epoch."""


@dataclass
class _Realised:
    """What was written, by source."""

    rows: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    supervised: Counter[str] = field(default_factory=Counter)


def mix(mixture: Mixture, sources: dict[str, tuple[str, Path]], checkpoint: Path, work: Path) -> dict[str, Any]:
    """Write rows.parquet (in training order) and manifest.json into `work` and return the metrics.

    sources: group and clean folder by name. checkpoint: whose tokenizer and template are used. Raises
    CorpusError before anything is written if a group has no rows or the exhaustion policy forbids the shares.
    """
    template = ChatTemplate.load(checkpoint)
    with tempfile.TemporaryDirectory(dir=work) as scratch:
        indexes = [
            build_index(name, group, folder, template, mixture.max_length, Path(scratch))
            for name, (group, folder) in sorted(sources.items())
            if group in mixture.shares
        ]
        plan = make_plan(mixture, _holdings(mixture, indexes))
        realised = _write(plan, mixture, indexes, work / ROWS)
        manifest = _manifest(mixture, plan, indexes, realised, template)
    write_json(work / MANIFEST, manifest)
    checks = check_mixture(work / ROWS, template, manifest)
    return {**{name: manifest[name] for name in _SUMMARY}, "checks": checks}


_SUMMARY = ("unit", "size", "rows", "units", "tokens", "supervised_tokens", "requested", "realised", "sources", "bound")


def picks(plan: Plan, seed: int, units: dict[str, Any], passes: int) -> Iterator[Pick]:
    """The rows of a mixture in training order, until the plan's size is reached.

    units: of every row of each source, as an int64 array. passes: most times a source may be read.
    """
    numbers = {source: number for number, source in enumerate(sorted(units))}
    groups = [
        schedule(list(inner.values()), [_stream(numbers[s], s, units[s], seed, passes) for s in inner])
        for _, inner in sorted(plan.within.items())
    ]
    return schedule([share for _, share in sorted(plan.groups.items())], groups, plan.size)


def _stream(number: int, source: str, units: Any, seed: int, passes: int) -> Iterator[Pick]:
    """The rows of a source, epoch after epoch, each in an order of its own."""
    for epoch in range(passes):
        permutation = Permutation(len(units), f"{seed}/{source}/{epoch}")
        for start in range(0, len(units), _BLOCK):
            rows = permutation.slice(start, min(start + _BLOCK, len(units)))
            yield from zip(
                units[rows].tolist(), itertools.repeat(number), rows.tolist(), itertools.repeat(epoch), strict=False
            )


def _holdings(mixture: Mixture, indexes: list[TokenIndex]) -> dict[str, dict[str, int]]:
    """Units by group and source. Raises CorpusError for a group, or a source with a share of its own, without rows."""
    holdings: dict[str, dict[str, int]] = {group: {} for group in mixture.shares}
    for index in indexes:
        holdings[index.group][index.source] = int(index.units(mixture.unit).sum())
    for group, held in holdings.items():
        needed = mixture.within.get(group, {})
        if not sum(held.values()) or any(not held.get(source) for source in needed):
            found = [
                f"{i.source} has {i.table.num_rows} usable rows ({i.left_out['overlong']} longer than max_length "
                f"{mixture.max_length}, {i.left_out['control_tokens']} with control tokens)"
                for i in indexes
                if i.group == group
            ]
            raise CorpusError(f"mixture group '{group}' has no rows: {'; '.join(found) or 'it has no source'}")
    return holdings


def _write(plan: Plan, mixture: Mixture, indexes: list[TokenIndex], path: Path) -> _Realised:
    import pyarrow.parquet as pq

    units = {index.source: index.units(mixture.unit) for index in indexes}
    chosen = picks(plan, mixture.seed, units, math.ceil(mixture.max_epochs))
    realised = _Realised()
    with pq.ParquetWriter(path, mixture_schema(), compression="zstd") as writer:
        while batch := list(itertools.islice(chosen, _BATCH)):
            table = _gather(batch, indexes)
            writer.write_table(table)
            _count(realised, batch, indexes, table)
    return realised


def _gather(batch: list[Pick], indexes: list[TokenIndex]) -> Any:
    """The picked rows as one table in the order of the picks."""
    import numpy as np
    import pyarrow as pa

    of_source = np.array([pick[1] for pick in batch])
    rows, epochs = (np.array([pick[column] for pick in batch]) for column in (2, 3))
    parts, places = [], []
    for number, index in enumerate(indexes):
        where = np.flatnonzero(of_source == number)
        if where.size:
            part = index.table.take(pa.array(rows[where]))
            for name, value in (("source", index.source), ("group", index.group), ("sensitive", index.sensitive)):
                part = part.append_column(name, pa.array([value] * where.size))
            parts.append(part.append_column("epoch", pa.array(epochs[where], pa.int32())))
            places.append(where)
    order = np.argsort(np.concatenate(places))
    return pa.concat_tables(parts).take(pa.array(order)).select(mixture_schema().names).cast(mixture_schema())


def _count(realised: _Realised, batch: list[Pick], indexes: list[TokenIndex], table: Any) -> None:
    names = [index.source for index in indexes]
    lengths = zip(table.column("n_tokens").to_pylist(), table.column("n_supervised").to_pylist(), strict=True)
    for (units, number, _, _), (tokens, supervised) in zip(batch, lengths, strict=True):
        name = names[number]
        realised.rows[name] += 1
        realised.units[name] += units
        realised.tokens[name] += tokens
        realised.supervised[name] += supervised


def _manifest(
    mixture: Mixture, plan: Plan, indexes: list[TokenIndex], realised: _Realised, template: ChatTemplate
) -> dict[str, Any]:
    total = sum(realised.units.values())
    largest = max(int(units.max()) for units in (i.units(mixture.unit) for i in indexes) if len(units))
    bound = error_bound(len(plan.groups), largest, total)
    return {
        "unit": mixture.unit,
        "size": plan.size,
        "units": total,
        "rows": sum(realised.rows.values()),
        "tokens": sum(realised.tokens.values()),
        "supervised_tokens": sum(realised.supervised.values()),
        "exhaustion": mixture.exhaustion,
        "requested": mixture.shares,
        "planned": plan.groups,
        "realised": {group: _group(group, indexes, realised, total) for group in plan.groups},
        "sources": {index.source: _source(index, mixture, plan, realised) for index in indexes},
        "largest_row": largest,
        "bound": bound,
        "tolerance": bound,
        "max_length": mixture.max_length,
        "algorithm": ALGORITHM,
        "seed": mixture.seed,
        "template_digest": template.digest,
    }


def _group(group: str, indexes: list[TokenIndex], realised: _Realised, total: int) -> dict[str, Any]:
    members = [index.source for index in indexes if index.group == group]
    units = sum(realised.units[name] for name in members)
    return {
        "units": units,
        "share": units / total,
        "rows": sum(realised.rows[name] for name in members),
        "tokens": sum(realised.tokens[name] for name in members),
        "supervised_tokens": sum(realised.supervised[name] for name in members),
    }


def _source(index: TokenIndex, mixture: Mixture, plan: Plan, realised: _Realised) -> dict[str, Any]:
    available = index.table.num_rows
    rows = realised.rows[index.source]
    return {
        "group": index.group,
        "share": plan.groups[index.group] * plan.within[index.group].get(index.source, 0.0),
        "rows": rows,
        "units": realised.units[index.source],
        "epochs": rows / available if available else 0.0,
        "passes": math.ceil(rows / available) if available else 0,
        "rows_available": available,
        "units_available": int(index.units(mixture.unit).sum()),
        "left_out": index.left_out,
    }
