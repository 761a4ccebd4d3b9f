"""Several clean corpora in exact shares, tokenised, in training order.

The steps: tokenise each corpus once (`token_index`), decide from what it holds which shares are possible
(`shares`) and which rows give them (`selection`), let the deficit scheduler choose row after row from each source's
keyed permutation (`scheduler`, `permutation`), and write (`writing`). The same inputs give the same bytes, in any
number of processes. In memory are 16 bytes a row of the corpora and one block. What a trainer does with the rows
is left to it; their order is already the one to train in.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpora import splits as splitting
from corpora.mixing import packing, token_index
from corpora.mixing.manifest import describe
from corpora.mixing.mixture_checks import check_conversations, check_documents
from corpora.mixing.scheduler import Member, Picks, Schedule
from corpora.mixing.selection import select
from corpora.mixing.shares import Plan, make_plan
from corpora.mixing.token_index import (
    Corpus,
    TokenIndex,
    Tokenisation,
    build_indexes,
    documents_of,
    template_of,
)
from corpora.mixing.writing import Written, write_rows
from corpora.splits import SIDES, Side
from corpora.tables.tables import HELD_OUT, MANIFEST, ROWS, VALIDATION
from lineage.errors import CorpusError
from lineage.files import write_json
from models.template import OTHER_TEMPLATE
from recipes.cleaning import Splits
from recipes.execution import CorporaExecution
from recipes.mixtures import Mixture

VERSION = 2
"""Of shares, selection and schedule; what else has a version of its own is in `versions`."""

_BLOCK = 1 << 16
UNFINISHED = ".index"
"""The folder of what an attempt that ends early leaves to the next one."""
_KEPT_APART: dict[Side, str] = {"validation": VALIDATION, "held_out": HELD_OUT}


def mix(
    mixture: Mixture,
    sources: dict[str, tuple[str, Path]],
    checkpoint: Path,
    work: Path,
    *,
    removed: Mapping[str, Path] | None = None,
    splits: Splits | None = None,
    execution: CorporaExecution | None = None,
) -> dict[str, Any]:
    """Write the rows in training order and manifest.json into `work` and return the metrics.

    The rows are in rows.parquet or its shards (`corpora.tables.shards`); what `splits` keeps from training in
    validation.parquet and held_out.parquet. sources: group and clean folder by name. checkpoint: whose tokenizer and
    template are used. removed: by source, a parquet file of the ids of rows to leave out. Raises CorpusError before
    anything is written if a group has no rows, the exhaustion policy forbids the shares, or the rows are too long
    for the recipe's tolerance.
    """
    splits = splits or Splits()
    corpora = [
        Corpus(name, group, folder, (removed or {}).get(name))
        for name, (group, folder) in sorted(sources.items(), key=lambda item: (item[1][0], item[0]))
        if group in mixture.members
    ]
    digest = _digest(mixture, checkpoint)
    scratch = work / UNFINISHED
    scratch.mkdir(exist_ok=True)
    tokenisation = Tokenisation.of(mixture, checkpoint, splits)
    indexes = build_indexes(corpora, tokenisation, scratch, execution or CorporaExecution())
    try:
        _must_be_taken(indexes)
        plan = make_plan(mixture, _holdings(mixture, indexes))
        members = members_of(plan, mixture.seed, {index.source: index.units(mixture.unit) for index in indexes})
        _must_be_possible(mixture, plan, members)
        written = _write(mixture, members, indexes, work / ROWS)
        manifest = describe(mixture, plan, members, indexes, written, digest)
        manifest["splits"] = {"salt": splits.salt, **_keep_apart(mixture, splits, indexes, work)}
    except CorpusError:  # another recipe is another request: nothing goes on from here
        shutil.rmtree(scratch)
        raise
    shutil.rmtree(scratch)
    write_json(work / MANIFEST, manifest)
    if mixture.kind == "conversations":
        mask = mixture.thinking == "mask"
        checks = check_conversations(work / ROWS, template_of(checkpoint), manifest, mask=mask)
    else:
        tokenizer = documents_of(checkpoint, mixture.end_of_text)
        checks = check_documents(work / ROWS, tokenizer, [corpus.folder for corpus in corpora], manifest)
    return {**{name: manifest[name] for name in _SUMMARY}, "checks": checks}


_SUMMARY = (
    *("kind", "unit", "size", "rows", "units", "tokens", "supervised_tokens", "requested", "planned", "realised"),
    *("sources", "bound", "splits"),
)


def versions(mixture: Mixture) -> dict[str, int]:
    """The algorithms that decide a mixture's bytes: part of its identity."""
    found = {"mixing": VERSION, "tokens": token_index.VERSION, "splits": splitting.VERSION}
    return found | ({"packing": packing.VERSION} if mixture.kind == "documents" else {})


def members_of(plan: Plan, seed: int, units: Mapping[str, Any]) -> list[Member]:
    """The sources that give rows, by group and name, each with the rows that it gives.

    units: of every row of each source, as an integer array.
    """
    quotas = plan.quotas()
    return [
        Member(group, source, select(units[source], f"{seed}/{source}", quotas[source]), units[source])
        for group, inner in sorted(plan.within.items())
        for source in sorted(inner)
        if quotas[source]
    ]


def _digest(mixture: Mixture, checkpoint: Path) -> str:
    if mixture.kind == "conversations":
        return template_of(checkpoint).digest
    return documents_of(checkpoint, mixture.end_of_text).digest


def _holdings(mixture: Mixture, indexes: list[TokenIndex]) -> dict[str, dict[str, int]]:
    """Units by group and source. Raises CorpusError for a group, or a source with a share of its own, without rows."""
    holdings: dict[str, dict[str, int]] = {group: {} for group in mixture.members}
    for index in indexes:
        holdings[index.group][index.source] = int(index.units(mixture.unit).sum(dtype="int64"))
    for group, held in holdings.items():
        needed = mixture.within.get(group, {})
        if not sum(held.values()) or any(not held.get(source) for source in needed):
            found = [_usable(mixture, index) for index in indexes if index.group == group]
            raise CorpusError(f"mixture group '{group}' has no rows: {'; '.join(found) or 'it has no source'}")
    return holdings


def _usable(mixture: Mixture, index: TokenIndex) -> str:
    reasons = {
        "overlong": f"longer than max_length {mixture.max_length}",
        "control_tokens": "with control tokens",
        "tools": "with tool calls, which the template cannot express",
        "template": "that the template refuses",
        "unanswered": "without an answer",
        "near_duplicate": "near duplicates of others",
    }
    apart = sum(len(index.sides[side]) for side in _KEPT_APART)
    said = [f"{index.left_out[reason]} {text}" for reason, text in reasons.items() if index.left_out[reason]]
    said += [f"{apart} in validation and held_out"] if apart else []
    first = f"; the first is {index.refused}" if index.refused else ""
    return f"{index.source} has {len(index.rows)} usable rows" + (f" ({', '.join(said)}{first})" if said else "")


def _must_be_taken(indexes: Sequence[TokenIndex]) -> None:
    """Raise CorpusError if the template refuses more of a source than it takes."""
    for index in indexes:
        refused, kept = index.left_out["template"], sum(len(index.sides[side]) for side in SIDES)
        if refused > kept:
            raise CorpusError(
                f"source '{index.source}': the chat template refuses {refused} conversations and takes {kept}; "
                f"the first is {index.refused}. {OTHER_TEMPLATE}"
            )


def _must_be_possible(mixture: Mixture, plan: Plan, members: list[Member]) -> None:
    """Raise CorpusError if no row fits, or if those that do miss the recipe's tolerance."""
    unit = mixture.unit.replace("_", " ")
    total = sum(member.selection.units for member in members)
    if not total:
        raise CorpusError(f"a mixture of {plan.size:,} {unit} is smaller than every row; set size higher")
    for group, share in plan.groups.items():
        own = sum(member.selection.units for member in members if member.group == group)
        if mixture.tolerance is not None and abs(own / total - share) > mixture.tolerance:
            raise CorpusError(
                f"mixture group '{group}': the rows at hand give it {own / total:.4%} of {total:,} {unit}, "
                f"not {share:.4%} to within tolerance {mixture.tolerance:.4%}; "
                "set size or tolerance higher, or give the group shorter rows"
            )


def _write(mixture: Mixture, members: list[Member], indexes: list[TokenIndex], path: Path) -> Written:
    by_source = {index.source: index for index in indexes}
    schedule = Schedule(members)

    def blocks() -> Iterator[Picks]:
        while len((picks := schedule.take(_BLOCK)).row):
            yield picks

    total = sum(member.selection.count for member in members)
    own = [by_source[member.source] for member in members]
    return write_rows(path, blocks(), total, own, "train", mixture.sequence_length)


def _keep_apart(mixture: Mixture, splits: Splits, indexes: list[TokenIndex], work: Path) -> dict[str, Any]:
    """Write the rows that are not trained on, source after source in their own order; returns their counts."""
    shares = {"validation": splits.validation, "held_out": splits.held_out}
    found: dict[str, Any] = {}
    for side, name in _KEPT_APART.items():
        if shares[side]:
            counts = [len(index.sides[side]) for index in indexes]
            blocks = (block for number, rows in enumerate(counts) for block in _in_own_order(number, rows))
            written = write_rows(work / name, blocks, sum(counts), indexes, side, mixture.sequence_length)
            given = {index.source: written.given[index.source] for index in indexes}
            found[side] = {"share": shares[side], "rows": written.rows, "by_source": given}
    return found


def _in_own_order(member: int, rows: int) -> Iterator[Picks]:
    import numpy as np

    for start in range(0, rows, _BLOCK):
        numbers = np.arange(start, min(start + _BLOCK, rows))
        yield Picks(np.full(len(numbers), member), numbers, np.zeros(len(numbers), np.int32))
