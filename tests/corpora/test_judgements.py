"""An answer that was judged is never an example to imitate, wherever it stands; and no judgement is guessed."""

from pathlib import Path
from typing import Any

import pytest

from corpora.cleaning.clean import clean
from corpora.formats.formats import FORMATS, Conversation, Unpaired, category_of, choose_format, reader
from corpora.formats.judgements import said
from corpora.reading.row import Row, RowError
from corpora.tables.tables import QUARANTINE, ROWS, rows_of
from lineage.errors import CorpusError
from tests.corpora.made import cleaned, source, talk

EXCHANGE = {"prompt": "q", "completion": "a"}
EXAMPLES: dict[str, dict[str, Any]] = {
    "alpaca": {"instruction": "q", "input": "", "output": "a"},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    "chatml": talk("q", "a"),
    "prompt_completion": EXCHANGE,
    "glaive": {"system": "SYSTEM: s", "chat": "USER: q\n\n\nASSISTANT: a <|endoftext|>"},
    "hermes": talk("q", "a"),
    "threads": {"prompt": {"text": "q", "role": "prompter", "replies": [{"text": "a", "role": "assistant"}]}},
}
GOOD = (
    True,
    "true",
    "True",
    "yes",
    "Y",
    1,
    1.0,
    "1",
    "1.0",
    "up",
    "Thumbs_Up",
    ":thumbsup:",
    ":+1:",
    "👍",
    "👍🏿",
    "good",
    "liked",
)
BAD = (
    False,
    "false",
    "False",
    "no",
    "n",
    0,
    0.0,
    -1,
    -1.0,
    "0",
    "-1.0",
    "down",
    "thumbs-down",
    ":-1:",
    "👎",
    "👎️",
    "bad",
    "dislike",
)


def rows(*values: dict[str, Any]) -> list[Row]:
    return [Row("a.jsonl", line, 0, value, b"") for line, value in enumerate(values, start=1)]


def read(value: dict[str, Any], **fields: Any) -> Any:
    asked = source("a.jsonl", **fields)
    [row] = rows(value)
    format_, _ = choose_format(asked, None, [row])
    [item] = reader(asked, format_)(row)
    return item


def test_words_numbers_and_signs_say_good_or_bad() -> None:
    assert [said(value) for value in (*GOOD, *BAD)] == [True] * len(GOOD) + [False] * len(BAD)
    for value in (None, "", "meh", "billing", 2, 0.5, "7", "nan", [], {"up": 1}):
        assert said(value) is None


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize(
    "judged", [{"label": False}, {"label": 0}, {"label": 1}, {"kto_tag": "no"}, {"rating": "👎"}, {"thumb": "meh"}]
)
def test_a_judged_row_is_no_example_even_where_the_recipe_names_the_format(name: str, judged: dict[str, Any]) -> None:
    [field] = judged
    row = EXAMPLES[name]
    assert isinstance(read(row, format=name), Conversation)
    with pytest.raises(
        RowError, match=rf"field '{field}' judges the answer, so it is no example to imitate: .*columns: "
    ):
        FORMATS[name].read({**row, **judged})
    with pytest.raises(RowError, match=f"field '{field}' judges"):
        read({**row, **judged}, format=name)


def test_labels_ratings_and_pairs_behind_the_first_rows_are_set_aside(tmp_path: Path) -> None:
    plain = [{"prompt": f"q {n}", "completion": f"a {n}"} for n in range(250)]
    late: list[dict[str, Any]] = [
        {**EXCHANGE, "label": False},
        {**EXCHANGE, "label": 0},
        {**EXCHANGE, "kto_tag": "down"},
        {**EXCHANGE, "thumb": "rather not"},
        {**EXCHANGE, "label": 0.3},
        {**EXCHANGE, "rating": 1},
        {**EXCHANGE, "rating": "bad"},
        {**EXCHANGE, "chosen": "x", "rejected": "y"},
        {"prompt": "pair", "chosen": "x", "rejected": "y"},
        {**EXCHANGE, "score": 1},
    ]
    unjudged = [{"prompt": "q", "completion": "a", "label": None, "chosen": None, "rejected": None, "rating": None}]
    work = cleaned(tmp_path, "late", [*plain, *late, *unjudged])
    kept = [row["messages"][0]["content"] for row in rows_of(work / ROWS)]
    assert kept == [*(f"q {n}" for n in range(250)), "q"]
    reasons = [row["reason"] for row in rows_of(work / QUARANTINE)]
    assert len(reasons) == len(late)
    assert reasons[0] == "of format unpaired among prompt_completion rows: it has prompt, completion, label"
    assert reasons[-1].startswith("fits two formats")


def test_rows_without_a_judgement_among_judged_ones_are_set_aside_too(tmp_path: Path) -> None:
    judged = [{"prompt": f"q {n}", "completion": "a", "label": n % 2} for n in range(250)]
    late = [EXCHANGE, {**EXCHANGE, "label": None}, {**EXCHANGE, "label": "meh"}, {**EXCHANGE, "label": 5}]
    work = cleaned(tmp_path, "late", [*judged, *late])
    assert [row["label"] for row in rows_of(work / ROWS)] == [bool(n % 2) for n in range(250)]
    assert len(list(rows_of(work / QUARANTINE))) == len(late)


def test_labels_of_a_table_in_words_are_read_where_columns_name_them(tmp_path: Path) -> None:
    (tmp_path / "thumbs.csv").write_text("ask,reply,vote\nq 1,a,up\nq 2,b,down\nq 3,c,\nq 4,d,sideways\n")
    (tmp_path / "work").mkdir()
    columns = {"prompt": "ask", "completion": "reply", "label": "vote"}
    asked = source("thumbs.csv", columns=columns, max_quarantined=0.5)
    metrics = clean("thumbs", asked, tmp_path, tmp_path / "cache", tmp_path / "work")
    assert metrics["format"] == "unpaired"
    assert [row["label"] for row in rows_of(tmp_path / "work" / ROWS)] == [True, False]
    empty, unknown = [row["reason"] for row in rows_of(tmp_path / "work" / QUARANTINE)]
    assert empty.startswith("field 'vote' says neither good nor bad: known are true/false, yes/no, 1/0")
    assert unknown.startswith("field 'vote' says neither good nor bad: it says 'sideways'; known are")


@pytest.mark.parametrize(
    ("columns", "format_"),
    [
        ({"prompt": "p", "completion": "c", "label": "v"}, "unpaired"),
        ({"prompt": "p", "completion": "c", "rating": "v"}, "rated"),
        ({"prompt": "p", "chosen": "c", "rejected": "v"}, "preference"),
        ({"response_a": "p", "response_b": "c", "winner": "v"}, "votes"),
        ({"prompt": "p", "completion": "c"}, "prompt_completion"),
    ],
)
def test_columns_that_judge_decide_the_format(columns: dict[str, str], format_: str) -> None:
    assert choose_format(source("a.jsonl", columns=columns), None, [])[0].name == format_


@pytest.mark.parametrize("label", ["billing", "returns", "neutral", 2, 7, None, ""])
def test_a_class_or_nothing_in_a_label_leaves_the_row_an_example(label: Any) -> None:
    assert isinstance(read({**EXCHANGE, "label": label}), Conversation)
    evidence = choose_format(source("a.jsonl"), None, rows({**EXCHANGE, "label": label}))[1]
    assert evidence.endswith("label of 1 is taken for a class") is bool(label)


def test_numbers_of_classes_are_no_thumbs_until_the_recipe_says_that_they_are_classes() -> None:
    classes = rows(*({**EXCHANGE, "label": number} for number in range(8)))
    with pytest.raises(CorpusError, match=r"'label' holds 0, 1, 2.*rating: label.*category: label"):
        choose_format(source("a.jsonl"), None, classes)
    asked = source("a.jsonl", columns={"category": "label"})
    format_, evidence = choose_format(asked, None, classes)
    assert format_.name == "prompt_completion" and evidence == "8 of the first 8 rows have prompt, completion"
    assert all(isinstance(reader(asked, format_)(row)[0], Conversation) for row in classes)
    assert [category_of(asked, row.value) for row in classes] == list("01234567")


@pytest.mark.parametrize("numbers", [(1, 0, -1), (1, 2, 3, 4, 5), (0, 1, 2), ("1", "0", "-1")])
def test_more_than_two_numbers_are_not_read_as_good_and_bad(numbers: tuple[Any, ...]) -> None:
    scale = rows(*({**EXCHANGE, "label": number} for number in numbers))
    with pytest.raises(
        CorpusError, match=r"field 'label' holds .*Write true and false.*rating: label.*category: label"
    ):
        choose_format(source("a.jsonl", format="unpaired"), None, scale)
    with pytest.raises(CorpusError, match="category: label"):
        choose_format(source("a.jsonl"), None, scale)


def test_the_evidence_says_what_was_taken_for_a_judgement() -> None:
    judged = rows({**EXCHANGE, "label": 1}, {**EXCHANGE, "label": 0}, {**EXCHANGE, "label": 1})
    assert choose_format(source("a.jsonl"), None, judged)[1] == (
        "3 of the first 3 rows have prompt, completion, label; "
        "label says bad of 1, label says good of 2 (if it is a class, write columns: {category: label})"
    )
    with pytest.raises(
        CorpusError, match=r"fit no known format.*Field 'kto_tag' judges answers; of it are known true/fal"
    ):
        choose_format(source("a.jsonl"), None, rows({**EXCHANGE, "kto_tag": "meh"}))


def test_a_field_that_columns_name_as_words_is_no_judgement() -> None:
    review = {"text": "It is fine.", "label": "positive"}
    found = read(review, columns={"prompt": "text", "completion": "label"})
    assert [message["content"] for message in found.messages] == ["It is fine.", "positive"]
    with pytest.raises(RowError, match="field 'label' judges the answer"):
        read({"said": "q\n\na", "label": 0}, columns={"text": "said"}, separator="\n\n")


def test_a_rating_beside_examples_that_the_recipe_names_is_no_verdict() -> None:
    assert isinstance(read({**talk("q", "a"), "rating": 4.5}, format="chatml"), Conversation)


def test_a_label_column_is_for_judged_answers_alone() -> None:
    for fields in ({"format": "prompt_completion"}, {"separator": "#", "columns": {"text": "t", "label": "l"}}):
        with pytest.raises(ValueError, match=r"columns\.label .* format 'unpaired' reads"):
            source("a.jsonl", **{"columns": {"label": "l"}, **fields})
    assert isinstance(read({**EXCHANGE, "l": "up"}, columns={"label": "l"}), Unpaired)


@pytest.mark.parametrize(
    "judged",
    [
        {"vote": "👎"},
        {"helpful": "No"},
        {"liked": False},
        {"is_good": 0},
        {"rating": "1/5"},
        {"stars": "★★"},
        {"feedback": -2},
        {"feedback": {"thumb": "down"}},
        {"feedback": "useless"},
        {"label": ["bad"]},
        {"label": "wrong"},
    ],
)
def test_a_judgement_in_other_fields_words_or_forms_is_no_example(judged: dict[str, Any]) -> None:
    for name, row in EXAMPLES.items():
        with pytest.raises(RowError, match="is no example to imitate"):
            FORMATS[name].read({**row, **judged})


def test_rated_rows_behind_the_first_ones_are_set_aside() -> None:
    rows = [Row("f", 1, 0, talk("q", "a"), b"")]
    looked = source("f.jsonl")
    read = reader(looked, choose_format(looked, None, rows)[0])
    assert len(read(rows[0])) == 1
    with pytest.raises(RowError, match="rated among chatml rows"):
        read(Row("f", 300, 0, {**talk("q", "a"), "rating": 1}, b""))
