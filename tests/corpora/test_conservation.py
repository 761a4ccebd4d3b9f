"""Whatever is in a file and whatever happened to it: each row comes out once, and no byte of it is lost."""

import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.formats.formats import choose_format
from corpora.reading.lines import BadRow, Row, RowError, blocks, read_block, read_rows
from corpora.sources.raw import RawFile
from tests.corpora.made import source, talk

TURN, ANSWER = {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}
CALL, RESULT = {"from": "function_call", "value": '{"name": "f"}'}, {"from": "observation", "value": "3"}
DIALOGUE = {"chat": 'USER: q\nASSISTANT: <functioncall> {"name": "f", "arguments": \'{}\'} <|endoftext|>'}
TAGGED = {"from": "gpt", "value": "<tool_call>{'name': 'f'}</tool_call>"}
TAGGED_RESULT = {"from": "tool", "value": "<tool_response>3</tool_response>"}
TREE = {"prompt": {"text": "q", "replies": [{"text": "x", "rank": 1}, {"text": "ä", "rank": 0}]}}
THOUGHT = {"role": "assistant", "content": [{"type": "reasoning", "value": "so"}, {"type": "text", "value": "a"}]}
SIDES = {"prompt": "q", "response_a": "x", "response_b": "y"}
FORMATS: dict[str, list[dict[str, Any]]] = {
    "alpaca": [{"instruction": "q", "input": "i", "output": "a"}, {"instruction": "q", "output": "ä\n"}],
    "sharegpt": [
        {"conversations": [TURN, ANSWER]},
        {"conversations": [TURN, CALL, RESULT, ANSWER]},
    ],
    "chatml": [
        talk("q", "a"),
        {"messages": [*talk("q", "-")["messages"][:1], THOUGHT]},
        {**talk("q", "a"), "tools": [{"type": "function", "function": {"name": "f"}}]},
    ],
    "glaive": [{"system": 'SYSTEM: f\n{"name": "f"}', "chat": "USER: q\n\nASSISTANT: a <|endoftext|>"}, DIALOGUE],
    "hermes": [{"conversations": [TURN, TAGGED]}, {"conversations": [TURN, TAGGED, TAGGED_RESULT, ANSWER]}],
    "threads": [TREE, {"prompt": {"text": "q", "replies": [{"text": "a", "replies": []}]}}],
    "prompt_completion": [{"prompt": "q", "completion": 'a "b": c'}, {"question": "q", "answer": "a"}],
    "text": [{"text": "words"}, {"text": "\U0001f600"}],
    "preference": [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"conversations": [TURN], "chosen": ANSWER, "rejected": CALL},
    ],
    "unpaired": [{"prompt": "q", "completion": "a", "label": True}, {**talk("q", "a"), "label": False}],
    "ranked": [{"prompt": "q", "answers": ["x", "y"]}, TREE],
    "rated": [
        {"prompt": "q", "response": "x", "stars": 3},
        {"prompt": "q", "responses": ["x", "y"], "ratings": [1, 2.5]},
    ],
    "votes": [{**SIDES, "winner": "a"}, {**SIDES, "votes_a": 1, "votes_b": 2}],
}
NOT_ROWS = (
    b'{"text": NaN}',
    b'{"text": "x", "n": -Infinity}',
    b'{"text": 1e999}',
    b'{"text": "x", "text": "y"}',
    b'{"text": "\\ud800"}',
    b'{"text": "\xff\xfe"}',
    b'{"text": "\xed\xa0\x80"}',
    b'{"text": "tab\there"}',
    b'{"text" "x"}',
    b"{'text': 1}",
    b'["text"]',
    b'"text"',
    b"7",
    b"null",
    b'{"a":' + b"[" * 200 + b"]" * 200 + b"}",
    b'{"n": ' + b"1" * 5000 + b"}",
)
NOT_CONVERSATIONS: tuple[dict[str, Any], ...] = (
    {},
    {"messages": []},
    {"messages": {"role": "user"}},
    {"messages": talk("q", "a")["messages"][::-1]},
    {"messages": talk("q", "a")["messages"][:1]},
    {"messages": talk("q", "a")["messages"][1:]},
    {"messages": talk("q", " ")["messages"]},
    {"messages": [*talk("q", "a")["messages"], {"role": "narrator", "content": "x"}]},
    {"messages": ["q", 1]},
    {"prompt": 1, "completion": None},
    {
        "messages": [
            *talk("q", "a")["messages"][:1],
            {"role": "assistant", "content": [{"type": "audio", "value": "x"}]},
        ]
    },
    {"conversations": [TURN, TAGGED_RESULT, ANSWER]},
    {"conversations": [TURN, {"from": "gpt", "value": "<tool_call>f</tool_call>"}, TURN]},
    {"chat": "USER: q"},
    {"chat": "USER: q\nASSISTANT: <functioncall> f()"},
    {"chat": "USER: q\nASSISTANT: a", "system": "SYSTEM: f\n{"},
    {"prompt": {"text": "q", "replies": []}},
    {"prompt": {"text": "q", "replies": [{"text": "", "rank": 1}, {"text": " ", "rank": 0}]}},
    {"prompt": {"text": "q", "role": "assistant", "replies": [{"text": "x"}, {"replies": 1}]}},
)
OUTER: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def one_of(rows: tuple[Any, ...] | list[Any], good: bool) -> st.SearchStrategy[tuple[bytes, bool]]:
    written = st.sampled_from(rows).map(lambda row: row if isinstance(row, bytes) else json.dumps(row).encode())
    return written.map(lambda raw: (raw, good))


def read(name: str, content: bytes) -> list[Row | BadRow]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        whole = list(read_rows(RawFile(name, path)))
        in_blocks = [row for block in blocks([RawFile(name, path)], 40) for row in read_block(block)]
    assert in_blocks == whole
    return whole


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, derandomize=True, deadline=None)
@given(st.data())
def test_every_row_comes_out_once_as_what_it_is(name: str, data: st.DataObject) -> None:
    bad = st.one_of(one_of(NOT_ROWS, False), one_of(NOT_CONVERSATIONS, False))
    rows = data.draw(st.lists(st.one_of(one_of(FORMATS[name], True), bad), max_size=12))
    outer = data.draw(st.sampled_from(list(OUTER)))
    mark = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    if data.draw(st.booleans()):
        between = data.draw(st.sampled_from([b",", b",\n", b" ,\r\n  "]))
        content, file = mark + b"[\n" + between.join(raw for raw, _ in rows) + b"\n]", "a.json"
    else:
        end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\n \n"]))
        content, file = mark + b"".join(raw + end for raw, _ in rows), "a.jsonl"
    found = read(file + outer, OUTER[outer](content))
    assert [row.raw for row in found] == [raw for raw, _ in rows]
    format_, _ = choose_format(source("a.jsonl", format=name), None, [])
    for row, (raw, good) in zip(found, rows, strict=True):
        assert content[row.byte_offset or 0 :].startswith(raw)
        assert content[: row.byte_offset].count(b"\n") + 1 == row.line
        assert isinstance(row, BadRow) or row.value == json.loads(raw)
        assert _reads(format_.read, row) is good


def _reads(convert: Callable[[dict[str, Any]], Any], row: Row | BadRow) -> bool:
    if isinstance(row, BadRow):
        assert row.reason
        return False
    try:
        convert(row.value)
    except RowError as error:
        assert str(error)
        return False
    return True


WHOLE = {
    "a.jsonl": "".join(json.dumps(talk(f"q{i}", "ä")) + "\n" for i in range(5)),
    "a.json": json.dumps([talk(f"q{i}", "ä") for i in range(5)]),
    "indented.json": json.dumps([talk(f"q{i}", "ä") for i in range(5)], indent=2, ensure_ascii=False),
    "a.txt": "one\n\ntwo\nthree",
    "a.csv": 'p,c\n1,"a, b"\n2,"c\nd"\n3,e\n',
    "a.yaml": "categories:\n- x\nconversations:\n- - q\n  - a\n- - p\n  - |\n    b\n    c\n",
}
PUT = (b"", b'"', b"\\", b"{", b"}", b"]", b",", b"\n", b"\xff", b"\0", b"- ")
HARM = st.tuples(st.floats(0, 1), st.integers(0, 6), st.sampled_from(PUT))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", WHOLE)
@settings(max_examples=60, derandomize=True, deadline=None)
@given(harm=st.lists(HARM, min_size=1, max_size=4), cut=st.floats(0.2, 1))
def test_no_byte_of_a_damaged_file_is_lost(
    name: str, encoding: str, harm: list[tuple[float, int, bytes]], cut: float
) -> None:
    content = bytearray(WHOLE[name].encode(encoding))
    for place, length, put in harm:
        start = 2 + int(place * (len(content) - 2))
        content[start : start + length] = put
    content = content[: max(2, int(cut * len(content)))]
    found = read(name, bytes(content))
    gaps, place = [], 0
    for row in found:
        start = row.byte_offset or 0
        assert start >= place and content[start : start + len(row.raw)] == row.raw
        gaps.append(bytes(content[place:start]))
        place = start + len(row.raw)
    gaps.append(bytes(content[place:]))
    if name in ("a.csv", "a.yaml"):
        gaps = gaps[1:]  # what stands before the first row names columns or fields
    between = {"utf-8": "utf-8-sig", "utf-16": "utf-16-le"}[encoding]
    left = "".join(gap.decode(between, "backslashreplace") for gap in gaps)
    assert not left.strip(" \t\r\n\x0b\x0c\ufeff[],")
