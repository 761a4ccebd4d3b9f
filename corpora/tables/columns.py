"""Python rows as Arrow columns, fast: nested values are flattened level by level instead of row by row.

`pyarrow.RecordBatch.from_pylist` looks at every value's type anew; here the schema says it. On Alpaca rows of 1 KB
this is three times as fast.
"""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def batch_of(rows: Sequence[tuple[Any, ...]], schema: "pa.Schema") -> "pa.RecordBatch":
    """Rows whose values stand in the order of the schema; of a struct's fields those that a dict lacks are null."""
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [_array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa

    if pa.types.is_list(kind):
        missing = [value is None for value in values]
        lists = [value or () for value in values]
        offsets = pa.array(accumulate(map(len, lists), initial=0), pa.int32(), size=len(lists) + 1)
        inner = _array(list(chain.from_iterable(lists)), kind.value_type)
        return pa.ListArray.from_arrays(offsets, inner, type=kind, mask=pa.array(missing) if any(missing) else None)
    if pa.types.is_struct(kind):
        missing = [value is None for value in values]
        present = [value or {} for value in values] if any(missing) else values
        fields = [_array([value.get(field.name) for value in present], field.type) for field in kind]
        mask = pa.array(missing) if any(missing) else None
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=mask)
    return pa.array(values, kind)
