"""Judged answers: good or bad, pairs, ranked, rated and voted, under the names that public data sets use."""

from typing import Any

import pytest

from corpora.formats.formats import FORMATS, Preference, Ranking, Unpaired, choose_format
from corpora.reading.row import Row, RowError
from lineage.errors import CorpusError
from tests.corpora.made import source, talk

Q = [{"role": "user", "content": "q"}]
SYSTEM = {"role": "system", "content": "s"}


def a(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def convert(value: dict[str, Any], **fields: Any) -> Any:
    format_, _ = choose_format(source("a.jsonl", **fields), None, [Row("a.jsonl", 1, 0, value, b"")])
    [item] = format_.read(value)
    return format_.name, item


def scores(item: Any) -> dict[str, float]:
    assert isinstance(item, Ranking) and item.prompt[-1:] == Q
    return {answer["messages"][0]["content"]: answer["score"] for answer in item.answers}


@pytest.mark.parametrize("said", [True, False, "true", "False", 1, 0, -1.0, "1", "0.0", "down", "👍🏽"])
@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "completion": "a"},
        {"question": "q", "reply": "a"},
        {"prompt": Q, "completion": a("a")},
        {"prompt": "q", "response": "a"},
        {"instruction": "q", "input": "", "output": "a"},
        talk("q", "a"),
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
    ],
)
@pytest.mark.parametrize("name", ["label", "kto_tag", "thumb", "thumbs", "feedback"])
def test_unpaired_answers_of_every_shape(row: dict[str, Any], name: str, said: Any) -> None:
    good = said in (True, "true", "1", "👍🏽")
    assert convert({**row, name: said}) == ("unpaired", Unpaired(Q, a("a"), good))


def test_labelled_steps_of_one_answer_are_no_answers_in_order() -> None:
    steps = {"prompt": "q", "completions": ["first", "then", "so"], "labels": [True, False, False]}
    with pytest.raises(CorpusError, match="fit no known format"):
        convert(steps)
    assert convert({**steps, "labels": None})[0] == "ranked"


def test_a_document_has_no_answer_that_a_label_could_judge() -> None:
    assert convert({"text": "x", "label": 1})[0] == "text"


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "chosen": "a", "rejected": "b"},
        {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
        {"messages": Q, "chosen": a("a")[0], "rejected": a("b")[0]},
        {"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"},
        {"prompt": Q, "chosen": a("a"), "rejected": a("b"), "label": True},
        {"chosen_messages": [*Q, *a("a")], "rejected_messages": [*Q, *a("b")]},
        {
            "prompt": "q",
            "prompt_id": "1",
            "chosen": [*Q, *a("a")],
            "rejected": [*Q, *a("b")],
            "messages": [*Q, *a("a")],
            "score_chosen": 8.5,
            "score_rejected": 7.0,
        },
    ],
)
def test_pairs_of_every_shape(row: dict[str, Any]) -> None:
    assert convert(row) == ("preference", Preference(Q, a("a"), a("b")))


def test_a_pair_keeps_the_system_prompt_beside_it() -> None:
    row = {"system": "s", "question": "q", "chosen": "a", "rejected": "b"}
    assert convert(row)[1].prompt == [SYSTEM, *Q]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "q", "answers": ["x", "y", "z"]}, {"x": 2, "y": 1, "z": 0}),
        ({"prompt": "q", "responses": ["x", "y"], "ranks": [2, 1]}, {"y": 1, "x": 0}),
        ({"prompt": "q", "completions": ["x", "y", "z"], "ranking": [1, 1, 3]}, {"x": 1, "y": 1, "z": 0}),
        (
            {"prompt": "q", "answers": [{"answer": "x", "model": "m", "rank": 7.0}, {"answer": "y", "rank": 1.0}]},
            {"y": 1, "x": 0},
        ),
        ({"prompt": Q, "ranked_responses": [a("x"), a("y")], "ranks": ["1", "2"]}, {"x": 1, "y": 0}),
    ],
)
def test_ranked_answers_of_every_shape(row: dict[str, Any], expected: dict[str, float]) -> None:
    name, item = convert(row)
    assert name == "ranked" and scores(item) == expected
    assert [answer["score"] for answer in item.answers] == sorted(expected.values(), reverse=True)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "q", "response": "x", "stars": 4}, {"x": 4}),
        ({"prompt": "q", "response": "x", "rating": "5"}, {"x": 5}),
        ({"prompt": "q", "response": "x", "helpfulness": 3, "correctness": 4, "verbosity": 2}, {"x": 3}),
        ({"prompt": "q", "responses": ["x", "y"], "stars": [2, 5]}, {"y": 5, "x": 2}),
        ({"prompt": "q", "answers": [{"text": "x", "rating": 1}, {"text": "y", "rating": 3}]}, {"y": 3, "x": 1}),
        (
            {"instruction": "q", "models": [], "completions": [{"response": "x", "overall_score": 8.5, "model": "m"}]},
            {"x": 8.5},
        ),
    ],
)
def test_rated_answers_of_every_shape(row: dict[str, Any], expected: dict[str, float]) -> None:
    name, item = convert(row)
    assert name == "rated" and scores(item) == expected


SIDES = {"prompt": "q", "response_a": "x", "response_b": "y"}
TALKS = {"conversation_a": [*Q, *a("x")], "conversation_b": [*Q, *a("y")]}


@pytest.mark.parametrize(
    ("row", "share"),
    [
        ({**SIDES, "winner": "a"}, 1),
        ({**SIDES, "winner": "model_b"}, 0),
        ({**SIDES, "winner": "tie"}, 0.5),
        ({**SIDES, "votes_a": 3, "votes_b": 1}, 0.75),
        ({**SIDES, "votes_a": "2", "votes_b": "1", "ties": "1"}, 0.625),
        ({**SIDES, "winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}, 0),
        (
            {"prompt": '["q"]', "response_a": '["x"]', "response_b": '["y"]', "winner_model_a": 1, "winner_model_b": 0},
            1,
        ),
        ({**TALKS, "model_a": "m", "model_b": "n", "winner": "tie (bothbad)", "turn": 1}, 0.5),
        ({"history": "q", "human_ref_A": "x", "human_ref_B": "y", "labels": 0, "score_A": 1, "score_B": 3}, 0),
        ({"instruction": "q", "output_1": "x", "output_2": "y", "preference": 2.0}, 0),
        ({"instruction": "q", "output_1": "x", "output_2": "y", "preference": 1.5}, 0.5),
        ({"prompt": "q", "response_0": "x", "response_1": "y", "better_response_id": 0}, 1),
        ({"context": Q, "response1": "x", "response2": "y", "overall_preference": -3}, 1),
        ({"context": Q, "response1": "x", "response2": "y", "overall_preference": 0}, 0.5),
    ],
)
def test_votes_of_every_shape(row: dict[str, Any], share: float) -> None:
    name, item = convert(row)
    assert name == "votes" and scores(item) == {"x": share, "y": 1 - share}


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("unpaired", {"prompt": "q", "completion": "a"}, "no field 'label'"),
        ("unpaired", {"prompt": "q", "completion": "", "label": True}, "empty turn"),
        ("ranked", {"prompt": "q"}, "no answers"),
        ("ranked", {"prompt": "q", "answers": [{"text": "x", "rank": None}]}, "not every answer has a score"),
        ("ranked", {"prompt": "q", "answers": [1, 2]}, "field 'answer' is neither text nor turns"),
        ("rated", {"prompt": "q", "response": "x", "stars": "many"}, "no answer with a rating"),
        ("rated", {"prompt": "q", "responses": ["x", "y"], "stars": [1, None]}, "not every answer has a score"),
        ("rated", {"response": "x", "stars": 1}, "roles out of order"),
        ("votes", {**SIDES, "winner": "nobody"}, "no winner"),
        ("votes", {**SIDES, "votes_a": 0, "votes_b": 0}, "no winner"),
        ("votes", {"prompt": "q"}, "no two answers"),
        ("votes", {**TALKS, "conversation_b": [*talk("p", "y")["messages"]], "winner": "a"}, "different prompts"),
        ("votes", {**SIDES, "prompt": '["q", "p"]', "winner_model_a": 1}, "several turns in one field"),
    ],
)
def test_feedback_that_does_not_convert(name: str, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        FORMATS[name].read(row)


@pytest.mark.parametrize(
    ("row", "names"),
    [
        ({"prompt": "q", "response": "x", "score": 1}, "prompt_completion .* and rated"),
        ({"prompt": "q", "chosen": "x", "rejected": "y", "answers": ["x", "y"]}, "preference .* and ranked"),
        ({**talk("q", "x"), "text": "q x"}, "chatml .* and text"),
    ],
)
def test_rows_that_could_be_two_things_are_not_guessed(row: dict[str, Any], names: str) -> None:
    with pytest.raises(CorpusError, match=f"fits two formats, {names}.*Name `format`"):
        convert(row)


def test_a_question_with_several_right_answers_ranks_nothing() -> None:
    with pytest.raises(CorpusError, match="fit no known format"):
        convert({"question": "q", "answers": ["x", "y"]})


def test_columns_name_the_fields_of_feedback() -> None:
    row = {"ask": {"text": "q"}, "left": "x", "right": "y", "verdict": "b"}
    columns = {"prompt": "ask.text", "response_a": "left", "response_b": "right", "winner": "verdict"}
    assert scores(convert(row, format="votes", columns=columns)[1]) == {"y": 1, "x": 0}
    stars = {"prompt": "ask.text", "completion": "left", "rating": "n"}
    assert scores(convert({**row, "n": 2}, format="rated", columns=stars)[1]) == {"x": 2}


def test_the_evidence_counts_the_fields_that_decided() -> None:
    rows = [{"prompt": "q", "response": "x", "stars": 1}] * 3 + [{"prompt": "q", "answers": ["x"], "ratings": [2]}]
    sample = [Row("a.jsonl", line, 0, value, b"") for line, value in enumerate(rows, start=1)]
    assert choose_format(source("a.jsonl"), None, sample)[1] == (
        "3 of the first 4 rows have prompt, response, stars; "
        "1 of the first 4 rows have prompt, answers and their ratings"
    )
