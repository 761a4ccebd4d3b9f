"""What must hold of a mixture before anything trains on it, measured on the files that were written.

Shares against the recipe's tolerance, or the bound that the scheduler promises; tokens and mask of each row against
two other ways of computing them; a supervised end of turn in every row; sequences that are full and documents that
are whole. Each result has `passed`, `blocking`, `value` and `description`, and quotes no text.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from corpora.mixing.documents import DocumentTokenizer
from corpora.tables.tables import ROWS, batches_of, rows_of
from lineage.checks import Check, check
from models.template import ChatTemplate

PARITY_ROWS = 2000
"""Rows re-encoded in the other ways, evenly spread over a larger mixture: each costs about a millisecond."""

_DOCUMENTS = 200
"""The first of each source that are tokenised once more, one by one, and looked for in the sequences."""

_ROUNDING = 1e-9


def check_conversations(
    path: Path, template: ChatTemplate, manifest: dict[str, Any], *, mask: bool = False
) -> dict[str, Check]:
    """All checks of a written mixture of conversations, by name. mask: whether thoughts are not to be learned."""
    return {
        "shares": _shares(manifest),
        "share_bound": _bound(manifest),
        "supervised_end_of_turn": _ends(path, template.end_ids),
        "template_parity": _parity(path, template, manifest["rows"], mask),
    }


def check_documents(
    path: Path, tokenizer: DocumentTokenizer, corpora: list[Path], manifest: dict[str, Any]
) -> dict[str, Check]:
    """All checks of written sequences of documents, by name. corpora: the clean folders that they come from."""
    return {
        "shares": _shares(manifest),
        "share_bound": _bound(manifest),
        "sequences_full": _full(path, manifest),
        "documents_whole": _whole(path, tokenizer, corpora),
    }


def _shares(manifest: dict[str, Any]) -> Check:
    errors = {
        group: abs(manifest["realised"][group]["share"] - planned) for group, planned in manifest["planned"].items()
    }
    worst = max(errors, key=lambda group: errors[group])
    return check(
        errors[worst] <= manifest["tolerance"] + _ROUNDING,
        errors[worst],
        (
            f"largest error of a group's share ({worst}) in the whole, as a fraction: {manifest['tolerance']:.4g} is "
            f"allowed; of prefixes the scheduler's bound, on the way to this size, is {manifest['bound']:.4g}"
        ),
    )


def _bound(manifest: dict[str, Any]) -> Check:
    start, units = manifest["within_tolerance_from"], manifest["units"]
    return check(
        start <= units,
        manifest["bound"],
        (
            f"no prefix of {start:,} units or more is off by more than {manifest['tolerance']:.4g}"
            if start <= units
            else f"shares are proved within the tolerance {manifest['tolerance']:.4g} from {start:,} units on, which "
            f"is more than the {units:,} at hand: prefixes may be off by more; lower max_length or raise size"
        ),
        blocks=False,
    )


def _ends(path: Path, end_ids: frozenset[int]) -> Check:
    import numpy as np

    missing = 0
    for batch in batches_of(path, ["input_ids", "supervised"]):
        ids, supervised = (batch.column(name) for name in ("input_ids", "supervised"))
        counted = np.isin(ids.flatten().to_numpy(), list(end_ids))
        counted &= supervised.flatten().to_numpy(zero_copy_only=False)
        upto = np.concatenate([[0], np.cumsum(counted)])
        offsets = ids.offsets.to_numpy() - ids.offsets[0].as_py()
        missing += int(np.count_nonzero(np.diff(upto[offsets]) == 0))
    return check(
        missing == 0,
        missing,
        "rows without a supervised end of turn",
    )


def _parity(path: Path, template: ChatTemplate, rows: int, mask: bool) -> Check:
    step = max(1, -(-rows // PARITY_ROWS))
    seen: set[tuple[str, int]] = set()
    differing: list[str] = []
    for row in _every(path, ["id", "messages", "tools", "input_ids", "supervised"], step):
        shown = row["id"], len(row["messages"])
        if shown in seen:
            continue
        seen.add(shown)
        problem = template.parity(row["messages"], (row["input_ids"], row["supervised"]), row["tools"], mask=mask)
        if problem is not None:
            differing.append(problem)
    found = f"; the first: {differing[0]}" if differing else ""
    return check(
        not differing,
        len(differing),
        f"of {len(seen)} rows, those whose tokens or mask differ between ways of computing them{found}",
    )


def _every(path: Path, columns: list[str], step: int) -> Iterator[dict[str, Any]]:
    """The first row and every `step`-th after it; the others do not become Python objects."""
    import pyarrow as pa

    skip = 0
    for batch in batches_of(path, columns):
        yield from batch.take(pa.array(range(skip, batch.num_rows, step), pa.int64())).to_pylist()
        skip = (skip - batch.num_rows) % step if batch.num_rows > skip else skip - batch.num_rows


def _full(path: Path, manifest: dict[str, Any]) -> Check:
    lengths = [n for batch in batches_of(path, ["n_tokens"]) for n in batch.column("n_tokens").to_pylist()]
    short = sum(length != manifest["sequence_length"] for length in lengths[:-1])
    missing = manifest["tokens"] - sum(lengths)
    return check(
        short == 0 and missing == 0,
        short,
        (
            f"sequences but the last that do not have {manifest['sequence_length']} tokens; of {manifest['tokens']:,} "
            f"tokens of documents {missing:,} are in none; the last sequence has {lengths[-1]}"
        ),
    )


def _whole(path: Path, tokenizer: DocumentTokenizer, corpora: list[Path]) -> Check:
    expected = {
        row["id"]: tokenizer.encode_one(row["text"])
        for folder in corpora
        for row in islice(rows_of(folder / ROWS, ["id", "text"]), _DOCUMENTS)
    }
    found: dict[tuple[str, int], list[int]] = {}
    for row in rows_of(path, ["input_ids", "document_starts", "documents"]):
        ends = [*row["document_starts"][1:], len(row["input_ids"])]
        for start, end, document in zip(row["document_starts"], ends, row["documents"], strict=True):
            if document["id"] in expected:
                found.setdefault((document["id"], document["epoch"]), []).extend(row["input_ids"][start:end])
    differing = sum(ids != expected[name] for (name, _), ids in found.items())
    return check(
        differing == 0,
        differing,
        (
            f"of {len(found)} documents that were tokenised once more, those whose pieces in the sequences, put "
            "together, are not their tokens and the one that ends them"
        ),
    )
