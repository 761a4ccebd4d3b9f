"""The line reader: every kind of damage goes to quarantine with its place, and costs no good row."""

import json
import random
from pathlib import Path

import pytest

from corpora.reading.lines import BadRow, Row, read_rows
from corpora.sources.raw import RawFile
from lineage.errors import CorpusError

GOOD = b'{"text": "good"}'
DAMAGE = {
    b'{"text": "cut': "not valid JSON",
    b'{"text": NaN}': "NaN is not JSON",
    b'{"n": -Infinity}': "-Infinity is not JSON",
    b'{"n": 1e999}': "a number that is too large",
    b'{"a": 1, "a": 2}': "a key twice in one object",
    b'{"text": "\xff\xfe"}': "not UTF-8",
    b'{"text": "\\ud800 alone"}': "half of a surrogate pair",
    b'["a", "list"]': "not a JSON object but a list",
    b"7": "not a JSON object but a int",
    b'{"n": ' + b"9" * 5000 + b"}": "a number that is too long",
    b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}": "nested too deeply",
    b'{"text": "tab\there"}': "not valid JSON",
    b"{'text': 'single'}": "not valid JSON",
}


def rows(path: Path, content: bytes) -> list[Row | BadRow]:
    path.write_bytes(content)
    return list(read_rows(RawFile(path.name, path)))


def at_its_place(content: bytes, found: list[Row | BadRow]) -> bool:
    """Whether each row's bytes lie at its byte offset, on its line."""
    return all(
        content[row.byte_offset : row.byte_offset + len(row.raw)] == row.raw
        and content[: row.byte_offset].count(b"\n") + 1 == row.line
        for row in found
    )


@pytest.mark.parametrize("damage", DAMAGE, ids=[f"{reason}-{i}" for i, reason in enumerate(DAMAGE.values())])
@pytest.mark.parametrize("layout", ["lines", "list", "compact list"])
def test_one_damaged_row_costs_no_good_one(tmp_path: Path, damage: bytes, layout: str) -> None:
    if layout == "lines":
        path, content = tmp_path / "a.jsonl", b"\n".join([GOOD, damage, GOOD]) + b"\n"
    elif layout == "list":
        path, content = tmp_path / "a.json", b"[\n  " + b",\n  ".join([GOOD, damage, GOOD]) + b"\n]\n"
    else:
        path, content = tmp_path / "a.json", b"[" + b",".join([GOOD, damage, GOOD]) + b"]"
    found = rows(path, content)
    good = [row for row in found if isinstance(row, Row)]
    bad = [row for row in found if isinstance(row, BadRow)]
    unclosed = damage == b'{"text": "cut'
    assert len(good) == (1 if unclosed and layout == "compact list" else 2)
    assert len(bad) == 1
    assert bad[0].reason.startswith(DAMAGE[damage]) or unclosed
    assert at_its_place(content, found)


def test_byte_order_mark_windows_line_ends_and_blank_lines(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"text": "one"}\r\n\r\n  \n{"text": "two"}'
    found = rows(tmp_path / "a.jsonl", content)
    assert [(row.line, row.value["text"]) for row in found if isinstance(row, Row)] == [(1, "one"), (4, "two")]
    assert at_its_place(content, found)


def test_a_truncated_last_line_is_told_as_such(tmp_path: Path) -> None:
    found = rows(tmp_path / "a.jsonl", GOOD + b"\n" + GOOD[:9])
    assert [type(row) for row in found] == [Row, BadRow]
    assert isinstance(found[1], BadRow) and found[1].reason == "truncated last line"


def test_lines_of_plain_text_are_rows(tmp_path: Path) -> None:
    found = rows(tmp_path / "a.txt", "first\n\nzweite Zeile ü\nlast".encode())
    assert [row.value for row in found if isinstance(row, Row)] == [
        {"text": "first"},
        {"text": "zweite Zeile ü"},
        {"text": "last"},
    ]


def test_a_json_file_of_one_object_a_line_is_read_as_lines(tmp_path: Path) -> None:
    assert len(rows(tmp_path / "a.json", GOOD + b"\n" + GOOD + b"\n")) == 2


def test_a_list_gives_what_the_standard_parser_gives_with_line_numbers(tmp_path: Path) -> None:
    value = [{"text": f'zeile {i} \U0001f600 \\ " , ]}}', "nested": [{"a": [1, {"b": None}]}]} for i in range(3000)]
    for indent in (None, 0, 2):
        content = json.dumps(value, indent=indent, ensure_ascii=indent is None).encode()
        found = rows(tmp_path / "a.json", content)
        assert [row.value for row in found if isinstance(row, Row)] == value
        assert at_its_place(content, found)


def test_a_list_longer_than_the_window_is_split_right(tmp_path: Path) -> None:
    value = [{"text": "x" * random.Random(i).randrange(400_000), "i": i} for i in range(20)]
    content = json.dumps(value).encode()
    found = rows(tmp_path / "a.json", content)
    assert [row.value for row in found if isinstance(row, Row)] == value
    assert at_its_place(content, found)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'[{"a": 1},\n{"a": 2}', "the file ends before its list does"),
        (b'[{"a": 1},\n{"a": 2}] trailing', "text after the end of the list"),
        (b'[{"a": 1},\n{"a": 2}, {"a": ', "it does not close: the rest of the file cannot be split"),
    ],
)
def test_a_list_with_a_wrong_end_keeps_its_elements(tmp_path: Path, content: bytes, reason: str) -> None:
    found = rows(tmp_path / "a.json", content)
    assert [type(row) for row in found] == [Row, Row, BadRow]
    assert isinstance(found[2], BadRow) and found[2].reason == reason


def test_a_missing_bracket_costs_its_element_alone_when_elements_stand_on_lines(tmp_path: Path) -> None:
    value = json.dumps([{"turns": [{"a": i}, {"a": i}]} for i in range(5)], indent=2)
    broken = value.replace('"a": 2\n      }\n    ]\n  }', '"a": 2\n      }\n    ]\n  ', 1)
    assert broken != value
    found = rows(tmp_path / "a.json", broken.encode())
    assert [type(row) for row in found] == [Row, Row, BadRow, Row, Row]
    assert at_its_place(broken.encode(), found)


def test_an_unknown_kind_of_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"a\.xlsx: rows are read from \.jsonl, .*not '\.xlsx'"):
        rows(tmp_path / "a.xlsx", b"")
