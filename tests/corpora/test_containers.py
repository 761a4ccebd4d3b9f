"""Every container gives the same rows, and nothing of a damaged one is lost."""

import gzip
import hashlib
import io
import json
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpora.reading.lines import BadRow, Row, blocks, read_block, read_rows
from corpora.reading.row import LONGEST
from corpora.sources.raw import RawFile
from lineage.errors import CorpusError

ROWS: list[dict[str, Any]] = [{"prompt": f"frage {i}", "completion": f'ä "{i}",\n;\tb'} for i in range(30)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def csv_of(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    import csv

    target = io.StringIO()
    writer = csv.DictWriter(target, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return target.getvalue()


def yaml_of(rows: list[dict[str, Any]]) -> str:
    return "".join(f"- prompt: {json.dumps(r['prompt'])}\n  completion: {json.dumps(r['completion'])}\n" for r in rows)


TEXTS = {
    "a.jsonl": LINES,
    "a.json": json.dumps(ROWS, indent=1),
    "list.jsonl": json.dumps(ROWS),
    "several lines.jsonl": "\n".join(json.dumps(row, indent=2) for row in ROWS) + "\n",
    "several lines.json": "".join(json.dumps(row, indent=None if row is ROWS[0] else 1) for row in ROWS),
    "behind each other.json": " ".join(json.dumps(row) for row in ROWS),
    "a.csv": csv_of(ROWS),
    "semicolon.csv": csv_of(ROWS, ";"),
    "a.tsv": csv_of(ROWS, "\t"),
    "a.yaml": yaml_of(ROWS),
}
OUTER: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda raw: gzip.compress(raw[:999], mtime=0) + gzip.compress(raw[999:], mtime=0) + b"\0" * 100,
    ".zst": lambda raw: zstandard.compress(raw[:999]) + zstandard.compress(raw[999:]),
}
ENCODINGS = {"utf-8": b"", "utf-8-sig": b"", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}


def read(path: Path, content: bytes) -> tuple[list[Row], list[BadRow]]:
    path.write_bytes(content)
    found = list(read_rows(RawFile(path.name, path)))
    return [row for row in found if isinstance(row, Row)], [row for row in found if isinstance(row, BadRow)]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("name", TEXTS)
def test_text_containers_give_the_same_rows(tmp_path: Path, name: str, outer: str, encoding: str) -> None:
    inner = ENCODINGS[encoding] + TEXTS[name].encode(encoding)
    good, bad = read(tmp_path / f"{name}{outer}", OUTER[outer](inner))
    assert not bad
    assert [row.value for row in good] == [
        {key: value.replace("\n", "\n") for key, value in row.items()} for row in ROWS
    ]
    for row in good:
        start = row.byte_offset or 0
        assert inner[start : start + len(row.raw)] == row.raw
        before = inner[len(ENCODINGS[encoding]) : start].decode(encoding)
        assert before.count("\n") + 1 == row.line


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_what_its_first_bytes_are(tmp_path: Path, name: str, encoding: str) -> None:
    plain = TEXTS[name].encode(encoding)  # without a byte order mark
    for suffix, content in (
        ("", gzip.compress(plain)),
        ("", zstandard.compress(plain)),
        (".gz", plain),
        (".zst", plain),
        (".gz", zstandard.compress(plain)),
        ("", plain),
    ):
        good, bad = read(tmp_path / f"{name}{suffix}", content)
        assert not bad and [row.value for row in good] == ROWS


@pytest.mark.parametrize("first", ['{"text": "cut', '{"text": 1} x', "{", "[1", '"text"', '{"a": {', ""])
def test_a_first_line_that_is_broken_costs_no_other(tmp_path: Path, first: str) -> None:
    rest = "".join(json.dumps({"text": str(number)}) + "\n" for number in range(5))
    good, bad = read(tmp_path / "a.jsonl", f"{first}\n{rest}".encode())
    assert [row.value["text"] for row in good][-4:] == ["1", "2", "3", "4"]
    assert b"".join(row.raw for row in (*bad, *good)).replace(b"\n", b"").startswith(first.lstrip("[").strip().encode())


def test_a_parquet_gives_rows_with_their_numbers_and_json(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=7)
    found = list(read_rows(RawFile("a.parquet", tmp_path / "a.parquet")))
    assert [row.value for row in found if isinstance(row, Row)] == ROWS
    assert [(row.line, row.byte_offset) for row in found] == [(i + 1, None) for i in range(30)]
    assert [json.loads(row.raw) for row in found] == ROWS


_BROKEN = pa.array([b"ok \xff"], pa.binary()).view(pa.string())
_LARGE = pa.array([b"ok \xff"], pa.large_binary()).view(pa.large_string())


@pytest.mark.parametrize(
    "column",
    [
        _LARGE,
        pa.ListArray.from_arrays([0, 1], _LARGE),
        pa.LargeListArray.from_arrays(pa.array([0, 1], pa.int64()), _BROKEN),
        pa.StructArray.from_arrays([_LARGE], ["a"]),
        pa.MapArray.from_arrays([0, 1], pa.array(["k"]), _BROKEN),
    ],
    ids=lambda column: str(column.type),
)
def test_bytes_that_are_no_text_cost_their_row_alone_in_any_type_of_column(tmp_path: Path, column: pa.Array) -> None:
    table = pa.table({"x": pa.concat_arrays([column, pa.nulls(1, column.type)]), "text": ["one", "two"]})
    pq.write_table(table, tmp_path / "a.parquet")
    bad, good = read_rows(RawFile("a.parquet", tmp_path / "a.parquet"))
    assert isinstance(bad, BadRow) and bad.reason == "not UTF-8" and b"ok \xff" in bad.raw and b"one" in bad.raw
    assert isinstance(good, Row) and good.value == {"x": None, "text": "two"}


def test_a_parquet_row_with_nan_or_bytes_that_are_not_text_is_bad_alone(tmp_path: Path) -> None:
    texts = pa.array([b"one", b"\xff\xfe", b"three", b"four"], pa.binary()).view(pa.string())
    table = pa.table({"text": texts, "score": [1.0, 2.0, float("nan"), 3.0]})
    pq.write_table(table, tmp_path / "a.parquet")
    found = list(read_rows(RawFile("a.parquet", tmp_path / "a.parquet")))
    assert [type(row) for row in found] == [Row, BadRow, BadRow, Row]
    assert [(row.line, row.reason) for row in found if isinstance(row, BadRow)] == [
        (2, "not UTF-8"),
        (3, "NaN or infinity is not JSON"),
    ]
    assert b'"\xff\xfe"' in found[1].raw and b"NaN" in found[2].raw


def test_a_damaged_parquet_keeps_its_whole_row_groups(tmp_path: Path) -> None:
    texts = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(300)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=100, use_dictionary=False)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    place = pq.read_metadata(tmp_path / "a.parquet").row_group(1).column(0).data_page_offset
    content[place : place + 8] = b"\xff" * 8
    good, bad = read(tmp_path / "a.parquet", bytes(content))
    assert [row.value["text"] for row in good] == texts[:100] + texts[200:]
    assert [row.line for row in good][100:] == list(range(201, 301))
    assert len(bad) == 1 and bad[0].reason.startswith("a damaged row group") and bad[0].raw in bytes(content)


def test_what_is_no_parquet_is_one_bad_row(tmp_path: Path) -> None:
    good, bad = read(tmp_path / "a.parquet", b"PAR1 and then nothing")
    assert (good, bad[0].raw, len(bad)) == ([], b"PAR1 and then nothing", 1)


@pytest.mark.parametrize("outer", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["truncated", "overwritten", "trailing"])
def test_rows_before_the_damage_of_a_compressed_file_are_kept(tmp_path: Path, outer: str, damage: str) -> None:
    lines = [json.dumps({"text": hashlib.sha256(str(i).encode()).hexdigest()}) + "\n" for i in range(9000)]
    inner = "".join(lines).encode()
    whole = gzip.compress(inner, mtime=0) if outer == ".gz" else zstandard.compress(inner)
    at = len(whole) * 2 // 3
    content = {
        "truncated": whole[:at],
        "overwritten": whole[:at] + b"\xff" * (len(whole) - at),
        "trailing": whole + b"not compressed",
    }[damage]
    good, bad = read(tmp_path / f"a.jsonl{outer}", content)
    assert len(good) == 9000 if damage == "trailing" else 4000 < len(good) < 9000
    assert [row.value for row in good[:4000]] == [json.loads(line) for line in lines[:4000]]
    assert bad[-1].reason.endswith("what follows is the rest of the file, still compressed")
    assert content.endswith(bad[-1].raw)
    if damage == "truncated":
        assert inner.startswith(b"\n".join(row.raw for row in (*good, *bad[:-1])))


@pytest.mark.parametrize(
    ("name", "encoding"),
    [*((name, "utf-8") for name in ("a.jsonl", "a.json", "a.txt", "a.csv", "a.yaml")), ("a.txt", "utf-16-le")],
)
def test_a_line_of_fifty_megabytes_is_set_aside_in_parts_and_costs_no_row(
    tmp_path: Path, name: str, encoding: str
) -> None:
    size = (50 << 20) // len("x".encode(encoding))
    first, giant, last = {
        "a.jsonl": ('{"t": "1"}\n', f'{{"t": "{"x" * size}"}}\n', '{"t": "2"}\n'),
        "a.json": ('[\n  {"t": "1"},\n  ', f'{{"t": "{"x" * size}"}}', ',\n  {"t": "2"}\n]\n'),
        "a.txt": ("1\n", "x" * size + "\n", "2\n"),
        "a.csv": ("t\n1\n", "x" * size + "\n", "2\n"),
        "a.yaml": ("- t: 1\n", f"- t: {'x' * size}\n", "- t: 2\n"),
    }[name]
    path = tmp_path / name
    content = ENCODINGS[encoding] + (first + giant + last).encode(encoding)
    path.write_bytes(content)
    digest, parts, good = hashlib.sha256(), [], 0
    tracemalloc.start()
    for row in read_rows(RawFile(name, path)):
        if isinstance(row, Row):
            good += 1
        else:
            digest.update(row.raw)
            parts.append((row.part, len(row.raw), row.line))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert good == 2
    assert digest.digest() == hashlib.sha256(giant.encode(encoding)).digest()
    assert [part for part, _, _ in parts] == list(range(len(parts))) and len({line for _, _, line in parts}) == 1
    assert max(length for _, length, _ in parts) <= LONGEST
    assert peak < 8 * LONGEST


def test_the_rest_of_a_list_that_never_closes_is_not_lost(tmp_path: Path) -> None:
    content = b'[{"a": 1}, {"a": "' + b"y" * (20 << 20)
    good, bad = read(tmp_path / "a.json", content)
    assert len(good) == 1
    assert b"".join(row.raw for row in bad) == content[11:]


def test_a_quote_that_never_closes_costs_its_own_line(tmp_path: Path) -> None:
    good, bad = read(tmp_path / "a.csv", b'p,c\n1,a\n2,"open\n3,c\n"4\nx",d\n')
    assert [row.value for row in good] == [{"p": "1", "c": "a"}, {"p": "3", "c": "c"}, {"p": "4\nx", "c": "d"}]
    assert [(row.line, row.raw, row.reason) for row in bad] == [(3, b'2,"open', "quotes that do not match")]


def test_a_record_with_too_few_fields_and_a_header_with_a_name_twice(tmp_path: Path) -> None:
    good, bad = read(tmp_path / "a.csv", b"p,c\n1\n2,b\n")
    assert len(good) == 1 and bad[0].reason == "not as many fields as columns: 1, the first line names 2"
    good, bad = read(tmp_path / "b.csv", b"p,p\n1,2\n")
    assert not good and bad[0].reason == "the first line names a column twice: p"


def test_yaml_conversations_stand_beside_the_fields_of_their_file(tmp_path: Path) -> None:
    content = b"categories:\n- small talk\nconversations:\n- - Hi\n  - No\n- - 1984?\n  - '- yes'\n"
    good, bad = read(tmp_path / "a.yml", content)
    assert not bad
    assert [row.value for row in good] == [
        {"categories": ["small talk"], "conversation": ["Hi", "No"]},
        {"categories": ["small talk"], "conversation": ["1984?", "- yes"]},
    ]
    assert [content[row.byte_offset or 0 :].startswith(row.raw) for row in good] == [True, True]


def test_a_broken_item_of_yaml_costs_itself_alone(tmp_path: Path) -> None:
    content = b"- text: one\n- text: [\n- text: one\n  text: two\n- &a text: x\n- b: *a\n- d: 2020-01-01\n- text: z\n"
    good, bad = read(tmp_path / "a.yaml", content)
    assert [row.line for row in good] == [1, 5, 8]
    assert [row.reason.partition(":")[0] for row in bad] == [
        "not YAML",
        "a key twice in one object",
        "an alias of YAML, which is not read",
        "a value that is not JSON",
    ]


@pytest.mark.parametrize("content", [b"a: 1\nb: 2\n", b"just words\n", b"{\n"])
def test_yaml_without_a_list_is_one_bad_row(tmp_path: Path, content: bytes) -> None:
    good, bad = read(tmp_path / "a.yaml", content)
    assert not good and [row.raw for row in bad] == [content] and bad[0].reason.startswith("no list of rows")


@pytest.mark.parametrize("outer", [".gz", ".zst"])
@pytest.mark.parametrize("header", [b"\xff" * 64, b"\0" * 64, b"\x01{}\n" * 16])
def test_a_compressed_file_whose_beginning_is_damaged_is_not_taken_for_text(
    tmp_path: Path, outer: str, header: bytes
) -> None:
    good, bad = read(tmp_path / f"a.jsonl{outer}", header + OUTER[outer](LINES.encode())[64:])
    assert not good and bad[0].reason.endswith("what follows is the rest of the file, still compressed")


def test_blocks_of_what_cannot_be_cut_are_whole_files(tmp_path: Path) -> None:
    for name, content in (("a.jsonl.gz", gzip.compress(b"{}\n" * 99)), ("b.jsonl", "{}\n".encode("utf-16") * 9)):
        (tmp_path / name).write_bytes(content)
    cut = blocks([RawFile(name, tmp_path / name) for name in ("a.jsonl.gz", "b.jsonl")], 1)
    assert [(block.file.name, block.end) for block in cut] == [("a.jsonl.gz", None), ("b.jsonl", None)]


@pytest.mark.parametrize("name", ["a", "a.xlsx", "a.parquet.gz", "a.gz"])
def test_a_name_that_no_reader_knows(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorpusError, match=r"rows are read from \.jsonl"):
        read(tmp_path / name, b"")


def test_a_time_beyond_python_s_years_costs_its_row_alone(tmp_path: Path) -> None:
    times = pa.array([0, 1 << 60, 1], pa.timestamp("us"))
    pq.write_table(pa.table({"at": times, "text": ["a", "b", "c"]}), tmp_path / "a.parquet")
    found = list(read_rows(RawFile("a.parquet", tmp_path / "a.parquet")))
    assert [(type(row), row.line) for row in found] == [(Row, 1), (BadRow, 2), (Row, 3)]
    assert isinstance(found[1], BadRow) and found[1].reason == "a value that Python cannot hold"
    assert json.loads(found[1].raw) == {"at": str(1 << 60), "text": "b"}


def test_an_arrow_file_or_stream_gives_its_rows_and_a_broken_one_is_one_bad_row(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    for write, name in ((pa.ipc.new_file, "file.arrow"), (pa.ipc.new_stream, "stream.arrow")):
        with write(tmp_path / name, table.schema) as sink:
            sink.write_table(table, max_chunksize=7)
        found = list(read_rows(RawFile(name, tmp_path / name)))
        assert [row.value for row in found if isinstance(row, Row)] == ROWS
        assert [row.line for row in found] == list(range(1, 31))
    whole = (tmp_path / "stream.arrow").read_bytes()
    (tmp_path / "cut.arrow").write_bytes(whole[: len(whole) // 2])
    *good, bad = read_rows(RawFile("cut.arrow", tmp_path / "cut.arrow"))
    assert all(isinstance(row, Row) for row in good) and isinstance(bad, BadRow) and "not an Arrow file" in bad.reason


def test_lengths_that_lead_out_of_an_arrow_file_are_damage_and_end_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.arrow"
    with pa.ipc.new_file(file, pa.schema([("text", pa.string())])) as sink:
        sink.write_table(pa.table({"text": ["first words", "second words"]}))
    content = bytearray(file.read_bytes())
    at = content.find(struct.pack("<3i", 0, 11, 23))
    content[at + 8 : at + 12] = struct.pack("<i", 1 << 30)
    file.write_bytes(content)
    [bad] = read_rows(RawFile("a.arrow", file))
    assert isinstance(bad, BadRow) and bad.reason.startswith("not an Arrow file")
    with pa.ipc.new_file(file, pa.schema([("text", pa.string())])) as sink:
        sink.write_table(pa.table({"text": pa.array([b"ok", b"\xff", b"c"], pa.binary()).view(pa.string())}))
    assert [type(row) for row in read_rows(RawFile("a.arrow", file))] == [Row, BadRow, Row]


def test_words_that_begin_as_a_table_does_are_words(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("PAR1 is a magic number.\nSo is ARROW1.\n")
    found = list(read_rows(RawFile("a.txt", tmp_path / "a.txt")))
    assert [row.value["text"] for row in found if isinstance(row, Row)] == ["PAR1 is a magic number.", "So is ARROW1."]


def test_a_table_is_one_under_any_name(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.jsonl")
    assert [row.value for row in read_rows(RawFile("a.jsonl", tmp_path / "a.jsonl"))] == ROWS
    with pa.ipc.new_file(tmp_path / "b.csv", pa.Table.from_pylist(ROWS).schema) as sink:
        sink.write_table(pa.Table.from_pylist(ROWS))
    assert [row.value for row in read_rows(RawFile("b.csv", tmp_path / "b.csv"))] == ROWS


def inside(path: Path, content: str, rows: str = "data") -> list[Row | BadRow]:
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    return [row for block in blocks([RawFile(path.name, path)], 1 << 20, rows) for row in read_block(block)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_rows_in_a_list_of_the_file_s_one_object_are_read(tmp_path: Path, name: str, indent: int | None) -> None:
    around = {"version": 1, "meta": {"data": [{"no": "row"}], "s": '"data": [1'}, "data": ROWS, "end": [{"no": "row"}]}
    found = inside(tmp_path / name, json.dumps(around, indent=indent))
    assert [row.value for row in found if isinstance(row, Row)] == ROWS and len(found) == len(ROWS)
    broken = json.dumps(around, indent=indent).replace('"prompt": "frage 3"', '"prompt": frage 3')
    good, bad = ([row for row in inside(tmp_path / name, broken) if isinstance(row, kind)] for kind in (Row, BadRow))
    assert [row.value for row in good] == [row for row in ROWS if row["prompt"] != "frage 3"] and len(bad) == 1


@pytest.mark.parametrize(
    "content", ['{"rows": [{"text": "a"}]}', '{"data": {"text": "a"}}', '[{"data": [1]}]', "{", ""]
)
def test_a_file_without_the_list_is_one_bad_row(tmp_path: Path, content: str) -> None:
    found = inside(tmp_path / "a.json", content)
    assert [(row.reason, row.raw) for row in found if isinstance(row, BadRow)] == (
        [("no list 'data' in an object that is the whole file", content.encode())] if content else []
    )
    cut = inside(tmp_path / "a.json", '{"data": [{"text": "a"}, {"text"')
    assert [type(row) for row in cut][:2] == [Row, BadRow]
