"""From pairs to clusters, and which rows of a cluster stay.

A cluster is what verified pairs and equal rows hold together (union-find: two rows of one need not be alike
themselves). Memory: about 100 bytes for each row that is in a cluster, none for the others.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Clusters:
    """Rows in clusters (int64): cluster after cluster, in each the rows that stay first.

    label: number of the cluster, in the order of their first rows. stays: bool. survivor: the first row that stays.
    """

    rows: "Array"
    label: "Array"
    stays: "Array"
    survivor: "Array"


def forest(pairs: "Array") -> "Array":
    """Pairs (uint64: two rows) that hold together what the given ones do: each row with the first it is tied to."""
    import numpy as np

    ties = np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)
    rows, label = (found.astype(np.uint64) for found in components(ties))
    tied: Array = (label[rows != label] << np.uint64(32)) | rows[rows != label]
    return tied


def components(ties: "Array") -> tuple["Array", "Array"]:
    """The rows that are tied (int64; ties, 2), in order, and of each the first row that it is tied to."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(ties):
        return ties[:, 0], ties[:, 0]
    rows, ends = np.unique(ties, return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(rows), len(rows)))
    _, label = connected_components(graph, directed=False)
    _, first = np.unique(label, return_index=True)
    return rows, rows[first[label]]


def clustered(rows: "Array", label: "Array", words: "Array | None", cap: int) -> Clusters:
    """Rows (int64) with the first row of each one's cluster; `cap` of each stay: the first, or those of most words."""
    import numpy as np

    keys = (rows, label) if words is None else (rows, -words, label)
    order = np.lexsort(keys)
    rows, label = rows[order], label[order]
    begins = np.flatnonzero(np.concatenate([[True], label[1:] != label[:-1]])) if len(rows) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(begins, len(rows)))
    rank = np.arange(len(rows)) - np.repeat(begins, sizes)
    return Clusters(rows, np.repeat(np.arange(len(sizes)), sizes), rank < cap, np.repeat(rows[begins], sizes))
