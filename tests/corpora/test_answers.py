"""Answers by category: the first kind that matches, the same answer for the same prompt."""

from pathlib import Path

import pytest

from corpora.formats.answers import load_answers
from lineage.errors import CorpusError

TEXT = """
kinds:
  one: {match: "^S1|first", answers: [A, B, C]}
  two: {match: S, answers: [D]}
default: [E]
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "answers.yaml"
    path.write_text(text)
    return path


def test_the_first_kind_that_matches_answers_else_the_default(tmp_path: Path) -> None:
    answers = load_answers(written(tmp_path, TEXT))
    assert answers.choose("q", "S1x") in {"A", "B", "C"}
    assert answers.choose("q", "S2") == "D"
    assert answers.choose("q", "other") == "E"
    assert answers.choose("q", None) == "E"


def test_prompts_share_the_answers_of_a_kind_out_among_them(tmp_path: Path) -> None:
    answers = load_answers(written(tmp_path, TEXT))
    chosen = [answers.choose(f"q{i}", "S1") for i in range(60)]
    assert set(chosen) == {"A", "B", "C"}
    assert "".join(chosen[:12]) == "ABCBCABBBBBA"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("default: []", "default: List should have at least 1 item"),
        ("default: ['']", r"default\.0: String should have at least 1 character"),
        ("kinds: {a: {match: '(', answers: [x]}}\ndefault: [y]", r"kinds\.a\.match: not a regular expression"),
        ("kind: {}\ndefault: [y]", "kind: Extra inputs are not permitted"),
    ],
)
def test_a_bad_file_is_named_with_its_field(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(CorpusError, match=rf"answers\.yaml: {said}"):
        load_answers(written(tmp_path, text))
