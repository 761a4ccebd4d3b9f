"""What came of the search for duplicates: the tables, and the figures that people look at.

clusters.parquet has a line for each row of a cluster; removed/<source>.parquet the ids of the rows that a mixture or
preferences leave out. No text is in them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.duplicates.clusters import Clusters, clustered, components
from corpora.duplicates.sketch import Block
from corpora.duplicates.verification import similarities
from corpora.tables.tables import ROWS, facts_of
from lineage.checks import check
from lineage.errors import CorpusError
from lineage.files import atomically
from recipes.cleaning import Duplicates

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

CLUSTERS = "clusters.parquet"
ALGORITHM = "MinHash of 32 bits in bands over prompt and answer together, exact Jaccard, connected components"

_MOST_ROWS = 1 << 32
_SIZES = (2, 3, 4, 8, 16, 64, 256, 1024)
_BATCH = 1 << 16


def removed_file(folder: Path, source: str) -> Path:
    """The table of the rows of a source that are left out: one column, id."""
    return folder / "removed" / f"{source}.parquet"


@dataclass(frozen=True)
class Sources:
    """Clean corpora in the order in which their rows come first; `first` numbers each one's first row, and the end."""

    names: tuple[str, ...]
    folders: tuple[Path, ...]
    kinds: tuple[str, ...]
    first: tuple[int, ...]

    @classmethod
    def of(cls, folders: dict[str, Path], order: Sequence[str]) -> "Sources":
        import pyarrow.parquet as pq

        names = tuple(sorted(folders, key=lambda name: (order.index(name) if name in order else len(order), name)))
        first = [0]
        for name in names:
            first.append(first[-1] + pq.read_metadata(folders[name] / ROWS).num_rows)
        if first[-1] >= _MOST_ROWS:
            raise CorpusError(f"duplicates: {first[-1]:,} rows in all; at most {_MOST_ROWS:,} can be compared")
        kinds = tuple(facts_of(folders[name] / ROWS)["kind"] for name in names)
        return cls(names, tuple(folders[name] for name in names), kinds, tuple(first))

    def ids(self, number: int, rows: "Array") -> "pa.Array":
        """Ids of rows of one source, given in any order by their number among all rows."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        order = np.argsort(rows)
        wanted = rows[order] - self.first[number]
        found = [pa.array([], pa.string())]
        at = 0
        with pq.ParquetFile(self.folders[number] / ROWS) as file:
            for batch in file.iter_batches(_BATCH, columns=["id"], use_threads=False):
                begin, end = np.searchsorted(wanted, (at, at + batch.num_rows))
                found.append(batch.column("id").take(pa.array(wanted[begin:end] - at)))
                at += batch.num_rows
        return pa.concat_arrays(found).take(pa.array(np.argsort(order)))


@dataclass(frozen=True)
class Outcome:
    """Rows in clusters, how alike each is to the first that stays, and whether it equals another word for word."""

    clusters: Clusters
    jaccard: "Array"
    equal: "Array"

    @classmethod
    def of(cls, cut: list[Block], section: Duplicates, copies: "Array", edges: "Array") -> "Outcome":
        """copies: rows equal to one before them, and that one (int64; copies, 2). edges: as `clusters.forest`'s."""
        import numpy as np

        ties = np.stack([edges >> np.uint64(32), edges & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)
        rows, label = components(np.concatenate([ties, copies]))
        words = _words(cut, rows) if section.survivor == "longest" else None
        found = clustered(rows, label, words, section.cap)
        original, survivor = _original(found.rows, copies), _original(found.survivor, copies)
        kept = np.isin(original, original[found.stays])
        return cls(found, _likeness(original, survivor, cut), kept | (original != found.rows))

    def write(self, sources: Sources, section: Duplicates, work: Path) -> dict[str, Any]:
        import numpy as np
        import pyarrow as pa

        found = self.clusters
        of_source = np.searchsorted(sources.first, found.rows, side="right") - 1
        ids: list[Any] = []
        places: list[Any] = []
        counts = {}
        for number, name in enumerate(sources.names):
            where = np.flatnonzero(of_source == number)
            ids.append(sources.ids(number, found.rows[where]) if len(where) else pa.array([], pa.string()))
            places.append(where)
            out = np.flatnonzero(~found.stays[where])
            out = out[np.argsort(found.rows[where][out])]
            _save(removed_file(work, name), pa.table({"id": ids[-1].take(pa.array(out))}))
            rows, equal = sources.first[number + 1] - sources.first[number], int(self.equal[where][out].sum())
            near = len(out) - equal
            counts[name] = {"rows": rows, "kept": rows - len(out), "exact": equal, "near": near}
        order = pa.array(np.argsort(np.concatenate(places)))
        columns = {
            "cluster": pa.array(found.label),
            "source": pa.array(np.array(sources.names, object)[of_source], pa.string()),
            "id": pa.concat_arrays(ids).take(order),
            "survivor": pa.array(found.stays),
            "jaccard": pa.array(self.jaccard),
        }
        _save(work / CLUSTERS, pa.table(columns))
        return self._metrics(sources, section, counts)

    def _metrics(self, sources: Sources, section: Duplicates, counts: dict[str, dict[str, int]]) -> dict[str, Any]:
        import unicodedata

        from corpora.duplicates import minhash
        from corpora.words import scripts

        rows = sources.first[-1]
        removed = rows - sum(count["kept"] for count in counts.values())
        bands, band_rows = minhash.bands_of(section.threshold, section.permutations)
        share = removed / rows if rows else 0.0
        return {
            "rows": rows,
            "kept": rows - removed,
            "removed": removed,
            "exact": sum(count["exact"] for count in counts.values()),
            "near": sum(count["near"] for count in counts.values()),
            "sources": counts,
            "clusters": int(self.clusters.label[-1]) + 1 if len(self.clusters.label) else 0,
            "cluster_sizes": dict(_histogram(self.clusters.label)),
            "algorithm": ALGORITHM,
            "bands": bands,
            "rows_per_band": band_rows,
            "folding": f"{scripts.VERSION}, Unicode {unicodedata.unidata_version}",
            "checks": {
                "near_duplicate_share": check(
                    share <= section.max_share,
                    share,
                    f"{removed:,} of {rows:,} rows say what another says; a share over {section.max_share:g} "
                    "may mean rows from few templates",
                    blocks=False,
                )
            },
        }


def _histogram(label: "Array") -> Iterator[tuple[str, int]]:
    """Clusters by size."""
    import numpy as np

    sizes = np.bincount(label)
    for low, after in zip(_SIZES, (*_SIZES[1:], None), strict=True):
        name = f"{low}+" if after is None else (str(low) if after == low + 1 else f"{low}-{after - 1}")
        count = int(((sizes >= low) & (after is None or sizes < after)).sum())
        if count:
            yield name, count


def _words(cut: list[Block], rows: "Array") -> "Array":
    """Words of rows, which are in order (int64)."""
    import numpy as np

    found = [np.zeros(0, np.int64)]
    for block in cut:
        begin, end = np.searchsorted(rows, (block.first, block.first + block.rows))
        found.append(np.fromfile(block.file("words"), np.int64)[rows[begin:end] - block.first])
    return np.concatenate(found)


def _original(rows: "Array", copies: "Array") -> "Array":
    """Of each row the first that equals it: the one whose shingles were kept."""
    import numpy as np

    if not len(copies):
        return rows
    at = np.minimum(np.searchsorted(copies[:, 0], rows), len(copies) - 1)
    return np.where(copies[at, 0] == rows, copies[at, 1], rows)


def _likeness(one: "Array", other: "Array", cut: list[Block]) -> "Array":
    """How alike rows are (float64): 1 if they are the same row, else by their shingles."""
    import numpy as np

    differ = one != other
    low, high = np.minimum(one, other)[differ], np.maximum(one, other)[differ]
    found = np.ones(len(one))
    if differ.any():
        found[differ] = similarities((low.astype(np.uint64) << np.uint64(32)) | high.astype(np.uint64), cut)
    return found


def _save(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    path.parent.mkdir(exist_ok=True)
    with atomically(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=_BATCH)
