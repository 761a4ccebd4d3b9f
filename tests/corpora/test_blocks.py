"""Blocks of a source: together they are the source, wherever the cuts fall, with lines and offsets of the whole."""

import itertools
import json
import random
from pathlib import Path

import pytest

from corpora.reading.lines import blocks, read_block, read_rows
from corpora.sources.raw import RawFile


def written(path: Path, content: bytes) -> RawFile:
    path.write_bytes(content)
    return RawFile(path.name, path)


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1000, 1 << 20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_blocks_give_the_rows_of_the_whole_file(tmp_path: Path, block_bytes: int, end: bytes) -> None:
    rng = random.Random(block_bytes)
    lines = [json.dumps({"text": "ü" * rng.randrange(40)}).encode() if rng.random() < 0.8 else b"" for _ in range(200)]
    lines[17], lines[60] = b'{"text": ', b"\xff"
    file = written(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + (end or b"\n").join(lines) + end)
    cut = blocks([file], block_bytes)
    assert [row for block in cut for row in read_block(block)] == list(read_rows(file))
    assert (cut[0].start, cut[-1].end) == (0, file.path.stat().st_size)
    assert all(left.end == right.start for left, right in itertools.pairwise(cut))
    assert all((block.end or 0) - block.start >= block_bytes for block in cut[:-1])


def test_a_line_longer_than_a_block_stays_whole(tmp_path: Path) -> None:
    file = written(tmp_path / "a.txt", b"x" * 5_000_000 + b"\nshort\n")
    assert [(b.start, b.end, b.line) for b in blocks([file], 4096)] == [(0, 5_000_001, 1), (5_000_001, 5_000_007, 2)]


def test_a_list_is_one_block_and_an_empty_file_none(tmp_path: Path) -> None:
    whole, empty = written(tmp_path / "a.json", b'[{"a": 1}, {"a": 2}]'), written(tmp_path / "b.jsonl", b"")
    (block,) = blocks([whole, empty], 1)
    assert (block.file, block.end) == (whole, None)
    assert [row.line for row in read_block(block)] == [1, 1]
