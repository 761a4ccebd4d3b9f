"""Tables in shards: named when they are complete, read in order, missed when one is gone."""

from pathlib import Path

import pyarrow as pa
import pytest

from corpora.tables.shards import sharding, shards_of
from corpora.tables.tables import rows_of
from lineage.errors import CorpusError
from training.rows import read

SCHEMA = pa.schema([("number", pa.int64())])


def written(path: Path, groups: int) -> list[str]:
    with sharding(path, SCHEMA) as shards:
        for number in range(groups):
            shards.write(pa.table({"number": [number, number]}, SCHEMA))
    return sorted(file.name for file in path.parent.iterdir())


@pytest.mark.parametrize("groups", [0, 1, 32])
def test_a_small_table_is_one_file(tmp_path: Path, groups: int) -> None:
    assert written(tmp_path / "rows.parquet", groups) == ["rows.parquet"]
    assert len(list(rows_of(tmp_path / "rows.parquet"))) == 2 * groups


def test_a_larger_one_is_several_and_is_read_in_order(tmp_path: Path) -> None:
    names = written(tmp_path / "rows.parquet", 70)
    assert names == [f"rows-0000{n}-of-00003.parquet" for n in range(3)]
    in_order = [number for number in range(70) for _ in range(2)]
    assert [row["number"] for row in rows_of(tmp_path / "rows.parquet")] == in_order
    assert read(tmp_path / "rows.parquet", ["number"])["number"].to_pylist() == in_order


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    written(tmp_path / "rows.parquet", 70)
    (tmp_path / "rows-00001-of-00003.parquet").unlink()
    with pytest.raises(CorpusError, match=r"not rows-00000-of-00003.parquet to rows-00002-of-00003.parquet"):
        shards_of(tmp_path / "rows.parquet")
    with pytest.raises(CorpusError, match=r"pairs.parquet: no such table"):
        shards_of(tmp_path / "pairs.parquet")


def test_nothing_is_there_until_everything_is(tmp_path: Path) -> None:
    def interrupted() -> None:
        with sharding(tmp_path / "rows.parquet", SCHEMA) as shards:
            for number in range(40):
                shards.write(pa.table({"number": [number]}, SCHEMA))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())
