"""What stands in a row is read, or the row is refused by name: marks, histories, ranks, columns, links, results."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.cleaning.clean import clean
from corpora.cleaning.content import content_id
from corpora.duplicates.near import find
from corpora.formats.formats import Conversation, choose_format, reader
from corpora.reading.row import Row, RowError
from corpora.sources.arrow_values import said as from_arrow
from corpora.sources.hub import fetch as fetch_hub
from corpora.sources.local import fetch
from corpora.tables.tables import ROWS, rows_of
from lineage.errors import CorpusError
from recipes.cleaning import Duplicates
from recipes.execution import CorporaExecution
from tests.corpora.made import cleaned, source, write_jsonl

HH = "\n\nHuman: What is two and two?\n\nAssistant: Four.\n\nHuman: And three?\n\nAssistant:"
ASKED = [("user", "What is two and two?"), ("assistant", "Four."), ("user", "And three?")]
U, A, V = ({"role": role, "content": words} for role, words in (("user", "u1"), ("assistant", "a1"), ("user", "u2")))


def read(value: dict[str, Any], **fields: Any) -> Any:
    row, own = Row("a.jsonl", 1, 0, value, b""), source("a.jsonl", **fields)
    [item] = reader(own, choose_format(own, None, [row])[0])(row)
    return item


def said(messages: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in messages]


def answered(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def test_rows_that_say_otherwise_what_is_learned_are_not_the_same(tmp_path: Path) -> None:
    talk = [U, A, V, answered("a2")]
    marked = [{"messages": [{**turn, "weight": 0} if turn is one else turn for turn in talk]} for one in (A, talk[3])]
    assert len({content_id(read(row)) for row in (*marked, {"messages": talk})}) == 3
    folder = cleaned(tmp_path, "both", [*marked, marked[0]])
    assert len(list(rows_of(folder / ROWS))) == 2
    apart = {name: cleaned(tmp_path, name, [row]) for name, row in zip("ab", marked, strict=True)}
    assert find(apart, Duplicates(), tmp_path, CorporaExecution(workers=1))["removed"] == 0


def test_programs_that_differ_in_indentation_are_not_the_same() -> None:
    one = "def f(x):\n    if x:\n        g()\n    h()"
    other, again = one.replace("\n    h", "\n        h"), one.replace("g()", "g() ").replace("def f", " def  f")
    blank = [one.replace("\n    if", f"\n{line}\n    if") for line in ("", "  ", "\t")]
    ids = [
        content_id(Conversation([U, answered(words)]))
        for words in (one, other, again, one.replace("\n", "\r\n"), *blank)
    ]
    assert ids[0] != ids[1] and {ids[0]} == {*ids[2:]}


@pytest.mark.parametrize("prompt", [HH, HH.strip(), f"{HH} "])
def test_a_dialogue_in_one_text_is_turns_wherever_it_stands(prompt: str) -> None:
    pair = read({"prompt": prompt, "chosen": " Five.", "rejected": " No idea."})
    assert said(pair.prompt) == ASKED and said(pair.chosen) == [("assistant", " Five.")]
    assert said(read({"prompt": prompt, "answers": ["x", "y"]}).prompt) == ASKED
    assert said(read({"prompt": prompt, "completion": "x", "label": True}).prompt) == ASKED
    assert said(read({"prompt": prompt, "completion": "x"}).messages) == [*ASKED, ("assistant", "x")]
    assert said(read({"prompt": prompt}, format="prompts").messages) == ASKED
    whole = [f"{HH.removesuffix('Assistant:')}Assistant: {words}" for words in ("x", "y")]
    assert said(read({"prompt": prompt, "chosen": whole[0], "rejected": whole[1]}).prompt) == ASKED


def test_words_that_only_begin_like_a_dialogue_stay_words() -> None:
    quoted = "Human: hi\n\nAssistant: hello\n\nHuman: bye\n\nSummarise this chat in one line."
    begun = "\n\nHuman: q1\n\nAssistant: Once upon"
    for words in ("Human: a species.", "Assistant: who?", "What does Human: mean?", quoted, begun):
        assert said(read({"prompt": words, "completion": "x"}).messages)[0] == ("user", words.strip())


def test_an_answer_may_repeat_the_whole_prompt_or_its_end() -> None:
    system = {"role": "system", "content": "Be brief."}
    for given in ([V], [A, V], [U, A, V]):
        row = {"prompt": [U, A, V], "chosen": [*given, answered("x")], "rejected": [*given, answered("y")]}
        assert said(read(row).prompt) == said([U, A, V])
        for before, own in (([system], []), ([], [system]), ([system], [system])):
            row = {
                "prompt": [*before, U, A, V],
                "chosen": [*own, *given, answered("x")],
                "rejected": [*own, *given, answered("y")],
            }
            assert said(read(row).prompt) == said([system, U, A, V])
        other = {**system, "content": "Be long."}
        row = {
            "prompt": [system, U, A, V],
            **{name: [other, *given, answered(name)] for name in ("chosen", "rejected")},
        }
        with pytest.raises(RowError, match="two system prompts that differ"):
            read(row)
    dialogue = {"prompt": "Write a dialogue about tea.", "chosen": "Human: Tea?\n\nAssistant: Yes.", "rejected": "No."}
    assert said(read(dialogue).chosen) == [("assistant", dialogue["chosen"])]
    row = {"prompt": "u2", "chosen": [U, A, V, answered("x")], "rejected": [U, A, V, answered("y")]}
    assert said(read(row).prompt) == said([U, A, V])
    row = {"prompt": "u2", "history": [["u1", "a1"]], "chosen": [V, answered("x")], "rejected": [V, answered("y")]}
    assert said(read(row).prompt) == said([U, A, V])
    other = {"role": "user", "content": "zz"}
    row = {"prompt": [U, A, V], "chosen": [other, A, V, answered("x")], "rejected": [other, A, V, answered("y")]}
    with pytest.raises(RowError, match="another prompt than the one in field 'chosen'"):
        read(row)


def test_ranks_in_any_writing_rank_and_others_are_refused() -> None:
    row: dict[str, Any] = {"prompt": "q", "answers": ["a", "b", "c"]}
    for ranks in ([3, 1, 2], "[3, 1, 2]", ["3", "1", "2"]):
        assert [one["messages"][0]["content"] for one in read({**row, "ranks": ranks}).answers] == ["b", "c", "a"]
    for ranks in ([3, 1], "[3, 1]", "b > c > a", 1):
        with pytest.raises(RowError, match="field 'ranks'"):
            read({**row, "ranks": ranks})
    for name in ("winner", "preferred", "best", "best_index", "chosen_index"):
        with pytest.raises(RowError, match=f"field '{name}' says which answer is better"):
            read({**row, name: 2})


def test_what_stands_beside_a_prompt_is_read_in_every_format() -> None:
    beside = {"system": "Be brief.", "history": [["u1", "a1"]]}
    behind = [("system", "Be brief."), *said([U, A, V])]
    assert said(read({"prompt": "u2", **beside}, format="prompts").messages) == behind
    own = {"prompt": "u2", "history": beside["history"], "rules": "Be brief."}
    assert said(read(own, format="prompts", columns={"system": "rules"}).messages) == behind
    row = {"text": "u2 ### a2", **beside}
    assert said(read(row, columns={"text": "text"}, separator="###").messages) == [*behind, ("assistant", "a2")]
    for answer in ({"completion": "a2"}, {"chosen": "a2", "rejected": "b2"}):
        found = read({"prompt": [{"role": "system", "content": "Be brief."}, V], "history": [["u1", "a1"]], **answer})
        assert said(getattr(found, "prompt", getattr(found, "messages", []))[:4]) == behind


def test_empty_fields_hide_none_that_says_something() -> None:
    assert read({"messages": None, "prompt": "p", "completion": "c", "label": True}).label
    assert said(read({"prompt": "", "question": "real?", "chosen": "a", "rejected": "b"}).prompt) == [("user", "real?")]
    assert said(read({"instruction": "I", "output": "", "response": "R"}).messages)[1] == ("assistant", "R")
    parts = [{"type": "thinking", "thinking": "hm", "text": None}, {"type": "text", "text": "hi", "thinking": None}]
    assert said(read({"messages": [U, answered("") | {"content": parts}]}).messages)[1][1].endswith("hi")
    assert said(read({"messages": [{**U, "content": None, "value": "hi"}, A]}).messages)[0] == ("user", "hi")


def test_functions_and_turns_may_be_texts_of_json() -> None:
    function = {"name": "f", "parameters": {}}
    for tools in (
        [json.dumps(function)],
        [{"type": "function", **function}],
        [{"type": "function", "function": function}],
    ):
        assert json.loads(read({"messages": [U, A], "tools": tools}).tools) == [function]
    turns = [json.dumps({"from": name, "value": words}) for name, words in (("human", "u1"), ("gpt", "a1"))]
    for name in ("messages", "conversations"):
        assert said(read({name: turns}).messages) == said([U, A])


def test_labels_that_differ_and_nulls_for_answers_are_refused() -> None:
    with pytest.raises(RowError, match="labels that differ: 'label' and 'thumb'"):
        read({"prompt": "q", "completion": "a", "label": True, "thumb": "down"})
    arena = {"prompt": '["q"]', "response_b": '["y"]', "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0}
    with pytest.raises(RowError, match="null in the place of words"):
        read({**arena, "response_a": "[null]"})


@pytest.mark.parametrize("text", ['{"messages": [{"role": "user", "content": "x"}], "n": 1, "n": 2}', '{"a": NaN}'])
def test_a_field_that_cannot_be_read_sets_its_row_aside_and_stops_nothing(tmp_path: Path, text: str) -> None:
    outputs = {"preferred_output": [answered("a")], "non_preferred_output": [answered("b")]}
    rows = [{"input": {"messages": [{"role": "user", "content": f"q{n}"}]}, **outputs} for n in range(3)]
    calls = [{"id": str(n), "function": {"name": "f", "arguments": {}}} for n in (1, 2)]
    write_jsonl(tmp_path / "a.jsonl", [{**rows[0], "input": text}, *rows])
    work = tmp_path / "work"
    work.mkdir()
    metrics = clean("a", source("a.jsonl", max_quarantined=1), tmp_path, tmp_path / "cache", work)
    assert (metrics["kept"], metrics["quarantined"]) == (3, 1)
    results = [{"role": "tool", "tool_call_id": n, "content": f"r{n}"} for n in (1, 2)]
    found = read({"messages": [U, {**answered(""), "tool_calls": calls}, *results, A]})
    assert [message["content"] for message in found.messages[2:4]] == ["r1", "r2"]


def test_bytes_that_are_no_text_and_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    given = pa.array([b"le caf\xe9", b"il"], pa.binary())
    table = {"instruction": ["Translate"] * 2, "input": given, "output": ["the café", "he"]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    (tmp_path / "work").mkdir()
    own = source("a.parquet", format="alpaca", max_quarantined=1)
    metrics = clean("a", own, tmp_path, tmp_path / "cache", tmp_path / "work")
    assert metrics["quarantine_reasons"] == {"field 'input' is not text": 1}
    twice = pa.Table.from_arrays(
        [pa.array(["q"]), pa.array(["a"]), pa.array(["b"])], ["prompt", "completion", "completion"]
    )
    pq.write_table(twice, tmp_path / "b.parquet")
    with pa.OSFile(str(tmp_path / "b.arrow"), "wb") as sink, pa.ipc.new_file(sink, twice.schema) as writer:
        writer.write_table(twice)
    for name in ("b.parquet", "b.arrow"):
        work = tmp_path / f"work_{name}"
        work.mkdir()
        with pytest.raises(CorpusError, match="two columns named 'completion'"):
            clean("a", source(name), tmp_path, tmp_path / "cache", work)


def test_a_map_of_arrow_is_an_object(tmp_path: Path) -> None:
    kind = pa.struct([("name", pa.string()), ("arguments", pa.map_(pa.string(), pa.string()))])
    turn = pa.struct([("role", pa.string()), ("content", pa.string()), ("tool_calls", pa.list_(kind))])
    calls = [{"name": "f", "arguments": [("city", "Bern")]}]
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": calls}]
    pq.write_table(pa.table({"messages": pa.array([turns], pa.list_(turn))}), tmp_path / "a.parquet")
    (tmp_path / "work").mkdir()
    clean("a", source("a.parquet"), tmp_path, tmp_path / "cache", tmp_path / "work")
    [row] = rows_of(tmp_path / "work" / ROWS)
    assert json.loads(row["messages"][1]["tool_calls"]) == [{"name": "f", "arguments": {"city": "Bern"}}]


def test_fields_behind_a_list_of_yaml_are_said(tmp_path: Path) -> None:
    list_ = "conversations:\n- - Hi there\n  - Hello you\n"
    for number, (text, bad) in enumerate(((f"{list_}system: You are Bob\n", 1), (f"{list_}# the end\n...\n", 0))):
        (tmp_path / "a.yaml").write_text(text)
        work = tmp_path / str(number)
        work.mkdir()
        metrics = clean("a", source("a.yaml", max_quarantined=1), tmp_path, tmp_path / "cache", work)
        assert (metrics["kept"], metrics["quarantined"]) == (1, bad)
        assert all("fields behind the list of rows" in reason for reason in metrics["quarantine_reasons"])


def test_links_in_a_folder_are_followed_and_those_that_lead_nowhere_said(tmp_path: Path) -> None:
    data, other = tmp_path / "data", tmp_path / "other"
    for folder in (data, other):
        folder.mkdir()
        write_jsonl(folder / "a.jsonl", [{"messages": [U, A]}])
    (data / "shard").symlink_to(other)
    (other / "back").symlink_to(data)
    assert [file.name for file in fetch(source("data"), tmp_path, tmp_path).files] == ["a.jsonl", "shard/a.jsonl"]
    (data / "README.md").symlink_to(tmp_path / "nowhere")
    assert len(fetch(source("data"), tmp_path, tmp_path).files) == 2, "what describes is not needed"
    (data / "b.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"b\.jsonl: a link to what is not there"):
        fetch(source("data"), tmp_path, tmp_path)


def test_a_dataset_that_names_files_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (tmp_path / "out").mkdir()
    write_jsonl(tmp_path / "out" / "x.jsonl", [{"messages": [U, A]}])
    configs = 'configs:\n- config_name: default\n  data_files: "../out/*.jsonl"\n'
    (folder / "README.md").write_text(f"---\n{configs}---\n")
    with pytest.raises(CorpusError, match="names a file outside the folder"):
        fetch_hub(source(f"hf://{folder}"), tmp_path, tmp_path / "cache")


@pytest.mark.parametrize(
    "row",
    [
        {"system": "SYSTEM: You help.", "chat": "USER: q\n\n\nASSISTANT: a\n\n\nUSER: more"},
        {"prompt": [A, U], "chosen": "x", "rejected": "y"},
        {"conversations": ["a", "b", "c"]},
        {"chosen": "\n\nHuman: a\n\nHuman: b\n\nAssistant: x", "rejected": "\n\nHuman: a\n\nHuman: b\n\nAssistant: y"},
    ],
)
def test_no_setting_is_proposed_that_changes_nothing(row: dict[str, Any]) -> None:
    with pytest.raises(RowError, match=r"roles out of order|no answer") as refused:
        read(row)
    assert "turns: {" not in str(refused.value)


def test_what_looks_like_a_verdict_and_says_nothing_is_none() -> None:
    listed = {"prompt": "q", "answers": ["a", "b"]}
    for nothing in ("", [], False, None):
        assert [one["messages"][0]["content"] for one in read({**listed, "choice": nothing}).answers] == ["a", "b"]
    for odd in ("easy", 3):
        assert read({**listed, "scores": [1, 2], "ranking": odd}).answers[0]["messages"][0]["content"] == "b"
    for beside in ({"context": "Paris is in France."}, {"history": [["h1", "h2"]]}):
        with pytest.raises(RowError, match="field 'prompt' is empty"):
            read({"prompt": "", **beside, "chosen": "x", "rejected": "y"})


def test_answers_that_look_like_turns_stay_words() -> None:
    texts = [json.dumps({"role": "user", "content": f"{n}"}) for n in range(2)]
    found = read({"prompt": "Show a message as JSON", "answers": texts})
    assert [one["messages"][0]["content"] for one in found.answers] == texts
    written = "[{'role': 'assistant', 'content': 'x'}]"
    assert said(read({"prompt": "As Python?", "chosen": written, "rejected": "no"}).chosen) == [("assistant", written)]


def test_a_result_may_be_called_anything_that_is_no_other_call() -> None:
    calls = [{"id": n, "function": {"name": name, "arguments": {}}} for n, name in (("1", "f"), ("2", "g"))]
    results = [{"role": "tool", "tool_call_id": n, "content": f"r{n}"} for n in ("1", "2")]
    turns = [U, {**answered(""), "tool_calls": calls}, *results, A]
    for name in ("", "tool", "functions.f", None):
        named = [*turns[:2], {**results[0], "name": name}, *turns[3:]]
        assert said(read({"messages": named}).messages)[2] == ("tool", "r1")
    with pytest.raises(RowError, match="a result of another function"):
        read({"messages": [*turns[:2], {**results[0], "name": "g"}, *turns[3:]]})


def test_thoughts_and_passages_that_a_recipe_names_are_read_or_refused() -> None:
    row = {"q": "Why?", "passage": "It rains."}
    columns = {"prompt": "q", "input": "passage"}
    asked = ("user", "Why?\nIt rains.")
    for rest in ({"completion": "a"}, {"answers": ["a", "b"]}, {"response": "a", "stars": 3}):
        item = read({**row, **rest}, columns=columns)
        assert said(getattr(item, "prompt", getattr(item, "messages", [])))[0] == asked
    assert said(read(row, format="prompts", columns=columns).messages) == [asked]
    for rest in ({"messages": [U, A]}, {"prompt": "q", "chosen": "a", "rejected": "b"}):
        with pytest.raises(CorpusError, match=r"columns.reasoning is read of formats alpaca, prompt_completion, xlam"):
            read({**rest, "why": "T"}, columns={"reasoning": "why"})


def test_a_map_with_a_key_twice_is_no_object() -> None:
    assert from_arrow([("a", 1), ("b", 2)]) == {"a": 1, "b": 2}
    assert from_arrow([("a", 1), ("a", 2)]) == [["a", 1], ["a", 2]]
    assert from_arrow([]) == []


def test_a_cache_of_the_hub_s_own_is_read(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    write_jsonl(blobs / "1234", [{"messages": [U, A]}])
    (snapshot / "train.jsonl").symlink_to(Path("..") / ".." / "blobs" / "1234")
    [file] = fetch_hub(source(f"hf://{snapshot}"), tmp_path, tmp_path / "cache").files
    assert '"a1"' in file.path.read_text()
