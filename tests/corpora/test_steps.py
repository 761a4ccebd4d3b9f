"""The declared filters: what each removes or masks, what it leaves alone, and that nothing goes unrecorded."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from corpora.cleaning import clean as cleaning
from corpora.cleaning.content import words
from corpora.cleaning.steps import load
from corpora.formats.formats import Conversation, Document, Item, Preference
from lineage.errors import CorpusError
from recipes.cleaning import Step
from recipes.errors import RecipeError
from recipes.load import load_recipe
from tests.assets.made_pipeline import FIELDS, write_recipe
from tests.corpora.made import source, talk, write_jsonl

PROSE = (
    "The river had been rising since the early morning, and by noon the people of the lower town were carrying "
    "their furniture up the stairs. Nobody spoke of leaving. They knew the water would fall again within a day, "
    "as it had in every spring that anyone could remember, and that the mud would be gone before the market opened."
)


def judged(item: Item | str, **fields: Any) -> str | None:
    """Why a step removes a row; None if it stays."""
    step: Step = TypeAdapter(Step).validate_python(fields)
    item = Document(item) if isinstance(item, str) else item
    applied = load(step, Path(), None)(item, Counter())
    return applied if isinstance(applied, str) else None


def masked(text: str, **fields: Any) -> tuple[str, dict[str, int]]:
    counts = Counter[str]()
    step: Step = TypeAdapter(Step).validate_python({"kind": "pii", **fields})
    applied = load(step, Path(), None)(Document(text), counts)
    assert isinstance(applied, Document)
    return applied.text, dict(counts)


def test_length_bounds_are_inclusive_and_count_the_part_that_is_named() -> None:
    bounds = {"kind": "length", "unit": "words", "min": 2, "max": 3}
    assert [judged(" ".join("a" * n), **bounds) for n in (1, 2, 3, 4)] == ["too short", None, None, "too long"]
    row = Conversation(talk("one two three four", "five six")["messages"])
    assert judged(row, **bounds) == "too long"
    assert judged(row, **bounds, part="answer") is None
    assert judged("été", kind="length", unit="characters", max=3) is None


def test_length_in_tokens_is_that_of_the_models_tokenizer(tiny_base: Path) -> None:
    from transformers import AutoTokenizer

    count = len(AutoTokenizer.from_pretrained(tiny_base)(PROSE, add_special_tokens=False)["input_ids"])
    for most, expected in ((count - 1, "too long"), (count, None)):
        step: Step = TypeAdapter(Step).validate_python({"kind": "length", "max": most})
        applied = load(step, Path(), tiny_base)(Document(PROSE), Counter())
        assert (applied if isinstance(applied, str) else None) == expected
    with pytest.raises(CorpusError, match=r"tokens need a tokenizer\.json"):
        judged(PROSE, kind="length", max=3)


def test_language_keeps_what_is_asked_for_and_what_is_too_short_to_tell() -> None:
    german = "Der Fluss war seit dem frühen Morgen gestiegen, und niemand sprach davon, das Dorf zu verlassen."
    assert judged(PROSE, kind="language", keep=["en"]) is None
    assert judged(german, kind="language", keep=["en"]) == "language de"
    assert judged(german, kind="language", keep=["en", "de"]) is None
    assert judged("Guten Morgen", kind="language", keep=["en"]) is None
    assert judged("x7 9!! qz#k 00 ~~ v3v3 pp1 %% 8ii kq== zzt0 ??", kind="language", keep=["en"], min_score=0.9)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PROSE, None),
        ("buy now " * 4, None),
        ("\n".join([*PROSE.split(", "), *["Share this page with friends"] * 6]), "repeated lines"),
        ("\n\n".join([PROSE[:150], PROSE[:150], PROSE[150:]]), "repeated paragraphs"),
        (PROSE + " cheap cheap cheap" * 25, "a frequent 2-gram"),
        (PROSE + " " + PROSE, "repeated 5-grams"),
    ],
)
def test_repetition_follows_gopher(text: str, reason: str | None) -> None:
    assert judged(text, kind="repetition") == reason


@pytest.mark.parametrize(
    ("text", "fields", "reason"),
    [
        (PROSE, {"min_stop_words": 2}, None),
        ("# " * 60, {"min_words": 100}, None),
        (PROSE.replace(" the ", " # "), {}, "symbols"),
        (PROSE.replace(" the ", " ... "), {}, "symbols"),
        ("1 2 3 4 " * 20, {"mean_word_length": (1, 10)}, "few alphabetic words"),
        ("a bc " * 40, {}, "mean word length"),
        ("\n".join(f"- {word} alongside something longer" for word in PROSE.split()), {}, "bullet lines"),
        (
            "\n".join(f"{part} and so on..." for part in PROSE.split(", ")),
            {"max_symbols_per_word": 1},
            "lines that break off",
        ),
        ("\n".join(PROSE.split(" the ")), {"min_ended_lines": 0.8}, "lines without an end"),
        ("Ein Satz ohne englische Wörter. " * 12, {"min_stop_words": 2}, "few stop words"),
        ("x" * 1001, {}, "a word too long"),
        ("Lorem  ipsum".replace("  ", " "), {}, "forbidden text"),
        ("if (a) { b }", {"forbidden": ["{"]}, "forbidden text"),
    ],
)
def test_symbols_follow_gopher_and_c4(text: str, fields: dict[str, Any], reason: str | None) -> None:
    assert judged(text, kind="symbols", **fields) == reason


@pytest.mark.parametrize(
    ("text", "expected", "counts"),
    [
        ("Write to jo.doe+x@mail.example.co.uk!", "Write to [EMAIL]!", {"email": 1}),
        ("ping 8.8.8.8 or 192.168.0.1", "ping [IP] or 192.168.0.1", {"ip": 1}),
        ("version 1.2.3.4.5 of it", "version 1.2.3.4.5 of it", {}),
        ("IBAN DE89 3704 0044 0532 0130 00, please", "IBAN [IBAN], please", {"iban": 1}),
        ("IBAN DE89 3704 0044 0532 0130 01, please", "IBAN DE89 3704 0044 0532 0130 01, please", {}),
        ("card 4111 1111 1111 1111.", "card [CARD].", {"card": 1}),
        ("card 4111 1111 1111 1112.", "card 4111 1111 1111 1112.", {}),
        ("0000000000000000", "0000000000000000", {}),
        ("call +44 20 7946 0018 now", "call [PHONE] now", {"phone": 1}),
        ("pi is 3.14159265358979", "pi is 3.14159265358979", {}),
        ("12 apples and 7 pears in 2024", "12 apples and 7 pears in 2024", {}),
    ],
)
def test_personal_data_are_masked_and_numbers_that_fail_their_check_are_not(
    text: str, expected: str, counts: dict[str, int]
) -> None:
    assert masked(text) == (expected, counts)


def test_phone_numbers_as_people_of_a_region_write_them() -> None:
    assert masked("call (650) 253-0000")[0] == "call (650) 253-0000"
    assert masked("call (650) 253-0000", regions=["US"]) == ("call [PHONE]", {"phone": 1})
    with pytest.raises(CorpusError, match=r"steps\.pii\.regions: \['XX'\]"):
        masked("call", regions=["XX"])


def test_every_text_of_a_row_is_masked_and_nothing_else_changes() -> None:
    turns = talk("I am a@b.org", "Hello a@b.org")["messages"]
    calls = json.dumps([{"name": "mail", "arguments": {"to": "a@b.org", "times": 2}}])
    row = Preference([turns[0]], [{**turns[1], "tool_calls": calls}], [{**turns[1], "content": "No."}])
    step: Step = TypeAdapter(Step).validate_python({"kind": "pii", "entities": ["email"]})
    counts = Counter[str]()
    applied = load(step, Path(), None)(row, counts)
    assert isinstance(applied, Preference) and "a@b.org" not in json.dumps(vars(applied))
    assert words(applied, "row") == "I am [EMAIL]\nHello [EMAIL]\nNo."
    assert json.loads(applied.chosen[0]["tool_calls"]) == [{"name": "mail", "arguments": {"to": "[EMAIL]", "times": 2}}]
    assert counts == {"email": 3}
    untouched = Preference([{**turns[0], "content": "q"}], [{**turns[1], "content": "a"}], row.rejected)
    assert load(step, Path(), None)(untouched, counts) is untouched


def test_phrases_at_the_start_and_anywhere(tmp_path: Path) -> None:
    refusal = Conversation(talk("Help?", "I’m  sorry, but I CAN'T help.")["messages"])
    quoted = Conversation(talk("Help?", "He said \"I'm sorry, but I can't\" and left.")["messages"])
    asked = Conversation(talk("I'm sorry, but I can't see it", "Look left.")["messages"])
    refusals = {"kind": "phrases", "lists": ["refusals"]}
    assert [judged(row, **refusals) for row in (refusal, quoted, asked)] == ["refusals", "refusals", None]
    assert [judged(row, **refusals, at="start") for row in (refusal, quoted)] == ["refusals", None]
    assert judged(asked, kind="phrases", phrases=["look LEFT"]) == "phrases"


def test_phrases_of_a_file_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("- Kind regards\n")
    step: Step = TypeAdapter(Step).validate_python({"kind": "phrases", "file": "own.yaml", "part": "row"})
    assert load(step, tmp_path, None)(Document("Yours, kind regards, A."), Counter()) == "phrases"
    (tmp_path / "own.yaml").write_text("a: b\n")
    with pytest.raises(CorpusError, match=r"own\.yaml: a file of phrases is a YAML list"):
        load(step, tmp_path, None)
    (tmp_path / "own.yaml").unlink()
    with pytest.raises(RecipeError, match="no such file"):
        load(step, tmp_path, None)


def test_steps_work_in_their_order_and_each_removed_row_is_on_record(tmp_path: Path) -> None:
    rows = [
        talk("q", "write to a@b.org and be done with it"),
        talk("q", "write to c@d.org and be done with it"),
        talk("q", "no"),
        talk("q", "as an AI language model I do not know"),
        talk("q", "as an AI language model"),
    ]
    write_jsonl(tmp_path / "a.jsonl", rows)
    (tmp_path / "work").mkdir()
    steps = [
        {"kind": "length", "unit": "words", "part": "answer", "min": 2},
        {"kind": "phrases", "lists": ["boilerplate"]},
        {"kind": "pii", "entities": ["email"]},
    ]
    asked = source("a.jsonl", steps=steps)
    metrics = cleaning.clean("demo", asked, tmp_path, tmp_path / "cache", tmp_path / "work")
    assert metrics["steps"] == [
        {"kind": "length", "before": 5, "after": 4, "removed": 1, "reasons": {"too short": 1}},
        {"kind": "phrases", "before": 4, "after": 2, "removed": 2, "reasons": {"boilerplate": 2}},
        {"kind": "pii", "before": 2, "after": 2, "removed": 0, "reasons": {}, "masked": {"email": 2}},
    ]
    assert (metrics["kept"], metrics["duplicate"], metrics["filtered"]) == (1, 1, 3)
    removed = pq.read_table(tmp_path / "work" / "filtered.parquet").to_pylist()
    assert [(row["file"], row["line"], row["step"]) for row in removed] == [
        ("a.jsonl", 3, "length"),
        ("a.jsonl", 4, "phrases"),
        ("a.jsonl", 5, "phrases"),
    ]


def test_an_error_in_a_step_names_its_place_in_the_recipe(tmp_path: Path) -> None:
    chat = {**FIELDS["sources"]["chat"], "steps": [{"kind": "pii"}, {"kind": "length", "unit": "words", "mini": 3}]}
    path = write_recipe(tmp_path, sources={"chat": chat})
    with pytest.raises(RecipeError, match=r"sources\.chat\.steps\.1\.mini: unknown key; did you mean 'min'\?"):
        load_recipe(path)
