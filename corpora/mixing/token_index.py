"""Every row of a clean corpus, tokenised once: its tokens, its mask and its length, on disk and read in place.

Rows that are longer than the recipe allows are left out whole and counted, so that none loses its end of turn;
so are rows whose own words spell a control token, which would forge turns. The files are scratch: an Arrow file
per source, memory-mapped, so that rows can be taken in any order without holding them in memory.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.raw import CorpusError
from corpora.rendering import ChatTemplate
from corpora.tables import ROWS, facts_of, index_schema, rows_of

_BATCH = 1000


@dataclass(frozen=True)
class TokenIndex:
    """The rows of one source that a mixture may use; `table` has the columns of `tables.index_schema`."""

    source: str
    group: str
    sensitive: bool
    table: Any
    left_out: dict[str, int]

    def units(self, unit: str) -> Any:
        """Units of each row as an int64 array: supervised tokens, tokens, or 1."""
        import numpy as np

        if unit == "rows":
            return np.ones(self.table.num_rows, dtype=np.int64)
        column = {"supervised_tokens": "n_supervised", "tokens": "n_tokens"}[unit]
        return self.table.column(column).to_numpy().astype(np.int64)


def build_index(
    source: str, group: str, corpus: Path, template: ChatTemplate, max_length: int, scratch: Path
) -> TokenIndex:
    """Tokenise the clean corpus in the folder `corpus`. Raises CorpusError if it holds no conversations."""
    import pyarrow as pa

    facts = facts_of(corpus / ROWS)
    if facts["kind"] != "conversation":
        raise CorpusError(f"source '{source}' holds {facts['kind']} rows; a mixture takes conversations")
    left_out = {"overlong": 0, "control_tokens": 0}
    path = scratch / f"{source}.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, index_schema()) as writer:
        for rows in _batches(rows_of(corpus / ROWS, ["id", "messages"])):
            kept = _encoded(rows, template, max_length, left_out)
            if kept:
                writer.write_table(pa.Table.from_pylist(kept, schema=index_schema()))
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return TokenIndex(source, group, facts["sensitive"], table, left_out)


def _encoded(
    rows: list[dict[str, Any]], template: ChatTemplate, max_length: int, left_out: dict[str, int]
) -> list[dict[str, Any]]:
    plain = [row for row in rows if not template.controls(row["messages"])]
    left_out["control_tokens"] += len(rows) - len(plain)
    kept = []
    for row, (ids, supervised) in zip(plain, template.encode_all([row["messages"] for row in plain]), strict=True):
        if len(ids) > max_length:
            left_out["overlong"] += 1
            continue
        counts = {"n_tokens": len(ids), "n_supervised": sum(supervised)}
        kept.append({**row, "input_ids": ids, "supervised": supervised, **counts})
    return kept


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(itertools.islice(rows, _BATCH)):
        yield batch
