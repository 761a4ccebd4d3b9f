"""What a format is: how its rows are told from others by their fields, and what they mean."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from corpora.formats.items import Item

Fields = dict[str, Any]


@dataclass(frozen=True)
class Format:
    """`fits` tells from a row's fields alone, by naming those that decide; `read` converts, or raises RowError.

    A row is one item, but for trees, which may hold several rankings. kind: of the items; those of kind `conversation`
    are examples to imitate. fields: what is read, for a person. A row without any of the fields `needs` is of another
    format, which is quicker to see. pairs: the names of a better and a worse answer; a row that has both was judged,
    and is no example to imitate, whatever else it holds.
    """

    name: str
    kind: str
    fields: str
    fits: Callable[[Fields], str | None]
    read: Callable[[Fields], list[Item]]
    needs: frozenset[str] = frozenset()
    pairs: tuple[tuple[str, str], ...] = ()


def each(read: Callable[[Fields], Item]) -> Callable[[Fields], list[Item]]:
    """Of a format whose rows are one item each."""
    return lambda fields: [read(fields)]
