"""Prompts keep the words of the clean corpus and bring the verifier of the source's own row."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpora.cleaning.clean import clean
from corpora.feedback.prompts import Asked, build_prompts
from corpora.tables.tables import rows_of
from corpora.verifiers.verifiers import score
from lineage.errors import CorpusError
from recipes.cleaning import Splits
from recipes.mixtures import Prompts
from recipes.sources import Source
from tests.corpora.made import source, talk, write_jsonl
from tests.evaluation.made_suite import write_data

SUMS = "gym://chain_sum?size=20&seed=3&max_terms=2&max_digits=2"
INSTRUCTED = {
    "prompt": "Name two colours without commas.",
    "instruction_id_list": ["punctuation:no_comma"],
    "kwargs": [{}],
}


def asked(folder: Path, name: str, given: Source) -> Asked:
    """A source, cleaned."""
    work = folder / f"clean_{name}"
    work.mkdir()
    clean(name, given, folder, folder / "cache", work)
    return Asked(name, given, work)


def built(folder: Path, base: Path, corpora: list[Asked], **fields: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The prompts' rows and metrics."""
    work = folder / "prompts"
    work.mkdir()
    splits = Splits.model_validate(fields.pop("splits", {}))
    wanted = {"sources": [one.name for one in corpora], "max_length": 96, "seed": 1, **fields}
    made = build_prompts(Prompts.model_validate(wanted), corpora, base, folder, folder / "cache", work, splits)
    return list(rows_of(work / "prompts.parquet")), made


def test_problems_bring_their_own_verifier(tiny_base: Path, tmp_path: Path) -> None:
    from models.template import ChatTemplate

    rows, metrics = built(tmp_path, tiny_base, [asked(tmp_path, "sums", source(SUMS))])
    assert metrics["verifiers"] == {"gym": 20}
    assert metrics["checks"]["template_parity"]["passed"]
    template = ChatTemplate.load(tiny_base)
    for row in rows:
        problem = json.loads(row["verifier"])
        assert row["prompt"][-1]["content"] == problem["entry"]["question"]
        assert score(problem, problem["answer"]) == 1
        assert score(problem, problem["answer"] + "1") < 1
        assert row["prompt_ids"] == template.prompt_ids([{"role": "user", "content": problem["entry"]["question"]}])


def test_rows_without_an_answer_are_prompts(tiny_base: Path, tmp_path: Path) -> None:
    write_data(tmp_path)
    write_jsonl(tmp_path / "asked.jsonl", [INSTRUCTED, {"prompt": "Tell me of the sea."}])
    corpus = asked(tmp_path, "asked", source("asked.jsonl", format="prompts"))
    rows, metrics = built(tmp_path, tiny_base, [corpus], punkt={"uri": "punkt_tab/english/*"})
    assert metrics["verifiers"] == {"instructions": 1, "none": 1}
    assert [message["role"] for row in rows for message in row["prompt"]] == ["user", "user"]
    assert (tmp_path / "prompts" / "nltk" / "tokenizers" / "punkt_tab" / "english" / "abbrev_types.txt").is_file()
    verifiers = [json.loads(row["verifier"]) for row in rows if row["verifier"]]
    assert verifiers == [{"kind": "instructions", **INSTRUCTED}]


def test_instructions_without_punkt_or_arguments_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    write_data(tmp_path)
    guessed = {**INSTRUCTED, "instruction_id_list": ["length_constraints:number_words"]}
    write_jsonl(tmp_path / "asked.jsonl", [guessed])
    corpus = asked(tmp_path, "asked", source("asked.jsonl", format="prompts"))
    with pytest.raises(CorpusError, match=r"asked\.jsonl:1 is checked by instructions; name `punkt`"):
        built(tmp_path, tiny_base, [corpus])
    (tmp_path / "prompts").rmdir()
    with pytest.raises(CorpusError, match=r"asked\.jsonl:1: .* needs \['num_words', 'relation'\]"):
        built(tmp_path, tiny_base, [corpus], punkt={"uri": "punkt_tab/english/*"})


def test_what_is_kept_from_training_and_what_is_too_long_is_left_out(tiny_base: Path, tmp_path: Path) -> None:
    talks = [talk(f"Tell me number {i} of the rivers.", "Rhine.") for i in range(40)] + [talk("word " * 200, "Yes.")]
    write_jsonl(tmp_path / "talks.jsonl", talks)
    corpus = asked(tmp_path, "talks", source("talks.jsonl"))
    rows, metrics = built(tmp_path, tiny_base, [corpus], splits={"held_out": 0.3}, limit=10)
    assert len(rows) == metrics["prompts"] == 10
    assert metrics["left_out"]["held_out"] > 5
    assert metrics["left_out"]["overlong"] + metrics["left_out"].get("held_out", 0) < 41
    assert all(row["prompt"][-1]["role"] == "user" for row in rows)


def test_documents_are_no_prompts(tiny_base: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "texts.jsonl", [{"text": "A long story."}])
    with pytest.raises(CorpusError, match="source 'texts' has document rows"):
        built(tmp_path, tiny_base, [asked(tmp_path, "texts", source("texts.jsonl"))])
