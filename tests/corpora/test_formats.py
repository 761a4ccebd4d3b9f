"""Formats: told apart by their rows, converted into one schema, refused when unclear."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corpora.formats.answers import Answers
from corpora.formats.formats import FORMATS, Conversation, Document, Preference, choose_format, reader
from corpora.reading.row import Row, RowError
from lineage.errors import CorpusError
from tests.corpora.made import source, talk

ANSWERS = Answers.model_validate({"kinds": {"k": {"match": "^S1", "answers": ["No."]}}, "default": ["Rather not."]})


def row(value: dict[str, Any], line: int = 1) -> Row:
    return Row("a.jsonl", line, 0, value, b"")


def convert(value: dict[str, Any], **fields: Any) -> Any:
    answers = ANSWERS if fields.get("format") == "prompts" else None
    format_, _ = choose_format(source("a.jsonl", **fields), answers, [row(value)])
    [item] = reader(source("a.jsonl", **fields), format_)(row(value))
    return format_.name, item


def exchange(asked: str, answered: str) -> Conversation:
    return Conversation([{"role": "user", "content": asked}, {"role": "assistant", "content": answered}])


SYSTEM = {"role": "system", "content": "s"}
PAIR = Preference(
    prompt=[{"role": "user", "content": "q"}],
    chosen=[{"role": "assistant", "content": "a"}],
    rejected=[{"role": "assistant", "content": "b"}],
)


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        ({"instruction": "q", "input": "", "output": "a"}, "alpaca", exchange("q", "a")),
        ({"instruction": "q", "output": "\n a\n"}, "alpaca", exchange("q", " a")),
        ({"instruction": "q", "input": "i", "output": "a"}, "alpaca", exchange("q\ni", "a")),
        (
            {"instruction": "q", "output": "a", "history": [["x", "y"]]},
            "alpaca",
            Conversation([*exchange("x", "y").messages, *exchange("q", "a").messages]),
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "system": "s"},
            "sharegpt",
            Conversation([SYSTEM, *exchange("q", "a").messages]),
        ),
        (
            {"conversation": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            "sharegpt",
            exchange("q", "a"),
        ),
        (
            {"messages": [SYSTEM, *talk("q", "a")["messages"]]},
            "chatml",
            Conversation([SYSTEM, *exchange("q", "a").messages]),
        ),
        ({"prompt": "q", "completion": "a"}, "prompt_completion", exchange("q", "a")),
        ({"question": "q", "answer": "a", "entry": {}}, "prompt_completion", exchange("q", "a")),
        ({"text": "words"}, "text", Document("words")),
        (
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "a"},
                "rejected": {"from": "gpt", "value": "b"},
            },
            "preference",
            PAIR,
        ),
        (
            {"prompt": "q", "chosen": "a", "rejected": "b"},
            "preference",
            PAIR,
        ),
        (
            {"prompt": "q", "chosen": talk("q", "a")["messages"], "rejected": talk("q", "b")["messages"]},
            "preference",
            PAIR,
        ),
        (
            {"chosen": talk("q", "a")["messages"], "rejected": talk("q", "b")["messages"]},
            "preference",
            PAIR,
        ),
        (
            {
                "chosen": exchange("x", "y").messages + exchange("q", "a").messages,
                "rejected": exchange("x", "y").messages + exchange("q", "b").messages,
            },
            "preference",
            Preference([*exchange("x", "y").messages, *PAIR.prompt], PAIR.chosen, PAIR.rejected),
        ),
        (
            {
                "input": {"messages": [SYSTEM, *PAIR.prompt], "tools": [], "parallel_tool_calls": True},
                "preferred_output": PAIR.chosen,
                "non_preferred_output": PAIR.rejected,
            },
            "openai_preference",
            Preference([SYSTEM, *PAIR.prompt], PAIR.chosen, PAIR.rejected),
        ),
    ],
)
def test_a_format_is_told_by_its_fields_and_read(value: dict[str, Any], name: str, expected: Any) -> None:
    assert convert(value) == (name, expected)


@pytest.mark.parametrize("count", [23, 24, 25])
def test_a_word_for_a_role_is_shown_if_it_is_short(count: int) -> None:
    turns = [{"role": "r" * count, "content": "q"}, {"role": "assistant", "content": "a"}]
    with pytest.raises(RowError) as raised:
        convert({"messages": turns})
    said = f"unknown role: {repr('r' * count) + ' of ' if count <= 24 else ''}turn 1"
    assert str(raised.value).startswith(f"{said} (turns: {{roles: …}} in the source says what it means; known are sys")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"preferred_output": [*PAIR.chosen, *PAIR.chosen]},
            "expected one message of the assistant in field 'preferred",
        ),
        ({"non_preferred_output": []}, "expected one message of the assistant in field 'non_preferred_output'"),
        ({"non_preferred_output": PAIR.chosen}, "preferred_output and non_preferred_output are the same"),
        ({"preferred_output": PAIR.prompt}, "roles out of order: turn 2 is of the user"),
        ({"input": {"messages": []}}, "no turns"),
        ({"input": "q"}, "no messages in field 'input'"),
    ],
)
def test_a_bad_row_of_openais_preferences_is_refused_with_its_reason(change: dict[str, Any], message: str) -> None:
    value = {"input": {"messages": PAIR.prompt}, "preferred_output": PAIR.chosen, "non_preferred_output": PAIR.rejected}
    with pytest.raises(RowError) as raised:
        convert({**value, **change}, format="openai_preference")
    assert str(raised.value).startswith(message)


def test_columns_name_fields_by_dotted_paths() -> None:
    value = {"data": {"asks": ["q", "other"]}, "reply": "a"}
    columns = {"prompt": "data.asks.0", "completion": "reply"}
    assert convert(value, columns=columns) == ("prompt_completion", exchange("q", "a"))


def test_a_separator_splits_one_field_at_its_first_occurrence() -> None:
    found = convert({"text": "q\n\na\n\nmore"}, columns={"text": "text"}, separator="\n\n")
    assert found == ("prompt_completion", exchange("q", "a\n\nmore"))


def test_prompts_get_the_answer_of_their_category() -> None:
    fields = {"format": "prompts", "answers": "a.yaml", "columns": {"prompt": "p", "category": "c.0"}}
    assert convert({"p": "q", "c": ["S1x"]}, **fields)[1] == exchange("q", "No.")
    assert convert({"p": "q", "c": ["other"]}, **fields)[1] == exchange("q", "Rather not.")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"instruction": "q", "output": " "}, "field 'output' is empty"),
        ({"instruction": "q"}, "no field 'output'"),
        ({"instruction": "q", "input": 3, "output": "a"}, "field 'input' is not text"),
    ],
)
def test_an_alpaca_row_that_does_not_convert(value: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        convert(value, format="alpaca")


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        (["assistant", "user"], "roles out of order: turn 1 is of the assistant"),
        (["user", "user", "assistant"], "roles out of order: turn 2"),
        (["user", "system", "assistant"], "roles out of order: turn 2"),
        (["user"], "no answer"),
        (["user", "assistant", "user"], "no answer"),
        (["user", "narrator"], "unknown role: 'narrator' of turn 2"),
        ([], "no turns"),
    ],
)
def test_turns_out_of_order_do_not_convert(roles: list[str], reason: str) -> None:
    value = {"messages": [{"role": role, "content": "x"} for role in roles]}
    with pytest.raises(RowError, match=reason):
        convert(value, format="chatml")


def test_an_empty_turn_does_not_convert_but_an_empty_system_prompt_stays() -> None:
    with pytest.raises(RowError, match="empty turn: turn 1"):
        convert(talk(" ", "a"))
    empty = [{"role": "system", "content": ""}, *talk("q", "a")["messages"]]
    assert convert({"messages": empty})[1] == Conversation(empty)


@pytest.mark.parametrize("name", ["system", "system_prompt", "system_message"])
@pytest.mark.parametrize(
    "row",
    [
        talk("q", "a"),
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"instruction": "q", "output": "a"},
        {"prompt": "q", "completion": "a"},
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": talk("q", "a")["messages"][:1], "completion": "a", "label": True},
        {"prompt": "q", "response_a": "a", "response_b": "b", "winner": "a"},
    ],
)
def test_a_system_prompt_beside_what_is_said_is_kept_and_not_twice(row: dict[str, Any], name: str) -> None:
    def begins(value: dict[str, Any]) -> list[Any]:
        item = convert(value)[1]
        whole = item.messages if isinstance(item, Conversation) else item.prompt
        return [(message["role"], message["content"]) for message in whole[:2]]

    assert begins({**row, name: "Be kind."}) == [("system", "Be kind."), ("user", "q")]
    assert begins({**row, name: ""}) == begins({**row, name: None}) == begins(row)
    turns = next((key for key in ("messages", "conversations") if key in row), None)
    if turns is not None:
        role, content = ("role", "content") if turns == "messages" else ("from", "value")
        inside = {**row, turns: [{role: "system", content: "Be kind."}, *row[turns]]}
        assert begins({**inside, name: "Be kind. "}) == [("system", "Be kind."), ("user", "q")]
        with pytest.raises(RowError, match="two system prompts that differ"):
            convert({**inside, name: "Be rude."})


@pytest.mark.parametrize(
    ("role", "words"),
    [
        *((role, words) for role in ("role", "from") for words in ("content", "value", "text")),
        ("speaker", "text"),
        ("speaker", "content"),
    ],
)
@pytest.mark.parametrize("field", ["messages", "conversations", "conversation", "dialogue"])
def test_turns_in_every_spelling_also_as_json_text(field: str, words: str, role: str) -> None:
    said = [{role: who, words: text} for who, text in (("human", "q"), ("AI", "a"))]
    for value in (said, json.dumps(said)):
        assert convert({field: value})[1] == exchange("q", "a")


def test_words_that_look_like_turns_stay_words_where_words_are_expected() -> None:
    asked = json.dumps([{"role": "user", "content": "q"}])
    assert convert({"prompt": asked, "completion": "a"})[1] == exchange(asked, "a")
    assert convert({"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": "a"}]})[
        1
    ] == exchange(asked, "a")


def test_calls_in_tags_are_calls_in_turns_as_json_text_too() -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "gpt", "value": '<tool_call>{"name": "f", "arguments": {}}</tool_call>'},
        {"from": "tool", "value": "<tool_response>1</tool_response>"},
        {"from": "gpt", "value": "a"},
    ]
    assert convert({"conversations": json.dumps(turns)}) == convert({"conversations": turns})
    assert convert({"conversations": turns})[0] == "hermes"


@pytest.mark.parametrize("field", ["image", "images", "audio", "audios", "video", "videos"])
def test_a_row_about_what_a_text_model_cannot_see_is_refused(field: str) -> None:
    rows = [talk("What is it?", "A cat."), {"prompt": "q", "chosen": "a", "rejected": "b"}]
    for value in rows:
        format_, _ = choose_format(source("a.jsonl"), None, [row(value)])
        read = reader(source("a.jsonl"), format_)
        for held in (["cat.jpg"], "cat.jpg", {"bytes": "x"}):
            with pytest.raises(RowError, match=r"holds (images|sound|videos), which a text model cannot (see|hear)"):
                read(row({**value, field: held}))
        for nothing in (None, [], ""):
            assert read(row({**value, field: nothing})) == read(row(value))
    document = {"text": "A page.", field: "http://a/b.png"}
    assert reader(source("a.jsonl"), FORMATS["text"])(row(document)) == [Document("A page.")]


def test_words_in_brackets_are_words_but_in_the_tables_of_chatbot_arena() -> None:
    assert convert({"prompt": '["milk"]', "completion": "One."})[1] == exchange('["milk"]', "One.")
    assert convert({"prompt": "q", "completion": '["milk"]'})[1] == exchange("q", '["milk"]')
    found = convert({"prompt": "q", "chosen": '["Rome", "Oslo"]', "rejected": '["Rome"]'})[1]
    assert (found.chosen[0]["content"], found.rejected[0]["content"]) == ('["Rome", "Oslo"]', '["Rome"]')


_GOOD: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "q", "input": "i", "output": "a", "history": [["b", "c"]], "system": "s"},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "tools": "[]"},
    "chatml": {
        "messages": [
            {"role": "user", "content": "q"},
            {
                **{"role": "assistant", "content": "", "reasoning_content": "r"},
                "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "1", "tool_call_id": "1"},
            {"role": "assistant", "content": [{"type": "text", "text": "a"}], "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    },
    "prompt_completion": {"prompt": "q", "completion": "a", "history": []},
    "text": {"text": "t"},
    "glaive": {"system": "SYSTEM: s", "chat": "USER: q\n\nASSISTANT: a"},
    "hermes": {
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "<tool_call>{}</tool_call>"}]
    },
    "xlam": {
        "query": "q",
        "tools": [{"name": "f", "parameters": {"a": {"type": "int"}}}],
        "answers": '[{"name": "f"}]',
    },
    "toolace": {
        "system": 'Call:\n[{"name": "f", "parameters": {}}]',
        "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "[f(a=1), g()]"}],
    },
    "preference": {"prompt": "q", "chosen": "a", "rejected": [{"role": "assistant", "content": "b"}]},
    "openai_preference": {
        "input": {"messages": [{"role": "user", "content": "q"}], "tools": []},
        "preferred_output": [{"role": "assistant", "content": "a"}],
        "non_preferred_output": [{"role": "assistant", "content": "b"}],
    },
    "unpaired": {"prompt": "q", "completion": "a", "label": True},
    "ranked": {"prompt": "q", "answers": ["a", "b"], "ranks": [1, 2]},
    "rated": {"prompt": "q", "answers": [{"text": "a", "rating": 1}, {"text": "b", "rating": 2}], "scores": [1, 2]},
    "votes": {"prompt": "q", "response_a": "a", "response_b": {"content": "b"}, "winner": "a"},
    "threads": {
        "prompt": {"text": "q", "role": "prompter", "replies": [{"text": "a", "role": "assistant", "replies": []}]}
    },
}
_ODD: list[Any] = [
    None,
    True,
    5,
    -1.5,
    "",
    "x",
    [],
    [5],
    [None],
    ["x"],
    [[]],
    [{}],
    {},
    {"x": 5},
    {"role": 5, "content": []},
]


def _altered(value: Any) -> Iterator[Any]:
    """The value with one of its parts, or all of it, in the place of each odd one."""
    yield from _ODD
    if isinstance(value, dict):
        for key, part in value.items():
            yield {name: inner for name, inner in value.items() if name != key}
            yield from ({**value, key: other} for other in _altered(part))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from ([*value[:place], other, *value[place + 1 :]] for other in _altered(part))


@pytest.mark.parametrize("name", list(FORMATS))
def test_an_odd_value_anywhere_is_a_reason_or_read_and_never_a_traceback(name: str) -> None:
    tried = 0
    for value in _altered(_GOOD[name]):
        if not isinstance(value, dict):
            continue
        for declared in ({}, {"format": name}):
            tried += 1
            try:
                format_, _ = choose_format(source("a.jsonl", **declared), None, [row(value)])
                reader(source("a.jsonl", **declared), format_)(row(value))
            except (RowError, CorpusError):
                pass
    assert tried > 30


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
        (
            {"chosen": talk("q", "a")["messages"], "rejected": talk("p", "b")["messages"]},
            "chosen and rejected answer different prompts",
        ),
        ({"chosen": "a", "rejected": "b"}, "roles out of order"),
        ({"prompt": "q", "chosen": 1, "rejected": "b"}, "field 'chosen' is neither text nor turns"),
    ],
)
def test_a_pair_that_does_not_convert(value: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        convert(value, format="preference")


def test_a_row_that_fits_two_formats_is_an_error_that_says_so() -> None:
    value = {"instruction": "q", "output": "a", "text": "q a"}
    with pytest.raises(CorpusError, match=r"a\.jsonl:7 fits two formats, alpaca .* and text .*Name `format`"):
        choose_format(source("a.jsonl"), None, [row(value, line=7)])


def test_rows_of_two_formats_are_an_error_that_names_one_of_each() -> None:
    sample = [row({"text": "x"}, 1), row({"prompt": "q", "completion": "a"}, 2)]
    with pytest.raises(CorpusError, match=r"several formats: 1 prompt_completion \(a\.jsonl:2\), 1 text \(a"):
        choose_format(source("a.jsonl"), None, sample)


def test_rows_of_no_format_are_an_error_that_names_their_fields() -> None:
    with pytest.raises(CorpusError, match=r"fit no known format; a\.jsonl:1 has body, title"):
        choose_format(source("a.jsonl"), None, [row({"title": "x", "body": "y"})])


def test_rows_inside_the_one_object_of_a_file_are_looked_for() -> None:
    wrapped = {"version": "1", "data": [{"instruction": "a", "output": "b"}]}
    with pytest.raises(CorpusError, match=r"If 'data' is the list of the rows, write rows: data; if"):
        choose_format(source("a.json"), None, [row(wrapped)])
    with pytest.raises(CorpusError, match=r"turns: \{role: …, content: …, roles: .*\}$"):
        choose_format(source("a.json"), None, [row(wrapped), row(wrapped, 2)])


def test_judged_answers_are_not_taken_for_examples() -> None:
    for judgement in ({"label": False}, {"rating": 1}):
        format_, _ = choose_format(source("a.jsonl"), None, [row({"prompt": "q", "completion": "a", **judgement})])
        assert format_.kind != "conversation"


@pytest.mark.parametrize("pair", [pair for format_ in FORMATS.values() for pair in format_.pairs])
def test_a_row_with_a_better_and_a_worse_answer_is_no_example_whatever_else_it_holds(pair: tuple[str, str]) -> None:
    better, worse = ([{"role": "assistant", "content": text}] for text in ("good", "bad"))
    asked = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}]
    compared = dict(zip(pair, (better, worse), strict=True))
    for example in ({"messages": asked}, {"conversations": asked}, {"instruction": "q", "output": "bad"}):
        try:
            format_, _ = choose_format(source("a.jsonl"), None, [row({**example, **compared})])
        except CorpusError as error:
            assert "fit no known format" in str(error)
        else:
            assert format_.kind == "preference"
        with pytest.raises(RowError, match=r"of format preference among chatml rows|no example to imitate"):
            reader(source("a.jsonl"), FORMATS["chatml"])(row({**example, **compared}))


def test_the_evidence_of_a_format_is_kept() -> None:
    _, evidence = choose_format(source("a.jsonl"), None, [row({"text": "x"}), row({"other": 1}, 2)])
    assert evidence == "1 of the first 2 rows have text"


def test_unknown_roles_are_shown_only_if_they_look_like_names(tmp_path: Path) -> None:
    with pytest.raises(RowError) as caught:
        convert({"messages": [{"role": "how to do harm", "content": "x"}]}, format="chatml")
    assert "harm" not in str(caught.value)
