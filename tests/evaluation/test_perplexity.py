"""Held-out text: probabilities of bytes that stay between 0 and 1, and perplexity beside them."""

import math
from pathlib import Path

import pytest

from evaluation.task import Outcome, Place
from evaluation.tasks import perplexity
from lineage.errors import EvaluationError
from models.answering import LoadedModel
from models.local import load_model
from recipes.suite import PerplexityTask
from tests.evaluation.made_benchmarks import TEXTS
from tests.evaluation.made_suite import write_rows


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, tmp_path / "cache", tmp_path)


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> LoadedModel:
    return load_model(tiny_base, "float32", 8)


def outcome(model: LoadedModel, place: Place, rows: list[dict[str, str]] = TEXTS) -> Outcome:
    write_rows(place.folder / "texts.jsonl", rows)
    task = PerplexityTask.model_validate({"kind": "perplexity", "data": {"uri": "texts.jsonl"}})
    return perplexity.prepare("held", task, place).run(model, lambda done: None)


def by_plain_logits(model: LoadedModel, text: str) -> tuple[float, int, int]:
    """Log-probability of all tokens but two, their number, and the bytes that they stand for."""
    import torch

    ids = model.tokenizer(text, return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        found = model.model(ids).logits[0].log_softmax(-1)
    logprob = sum(float(found[place - 1, ids[0, place]]) for place in range(2, ids.shape[1]))
    rest = len(text.encode()) - len(model.tokenizer.decode(ids[0, :2]).encode())
    return logprob, ids.shape[1] - 2, rest


def test_it_is_the_geometric_mean_of_the_bytes_probabilities(model: LoadedModel, place: Place) -> None:
    found = outcome(model, place)
    expected = [by_plain_logits(model, row["text"]) for row in TEXTS]
    scores = [sample["score"] for sample in found.samples]
    assert scores == pytest.approx([math.exp(logprob / size) for logprob, _, size in expected], rel=1e-4)
    assert all(0 < score < 1 for score in scores)
    loss, tokens, size = -sum(e[0] for e in expected), sum(e[1] for e in expected), sum(e[2] for e in expected)
    assert found.details["perplexity per token"] == pytest.approx(math.exp(loss / tokens), rel=1e-4)
    assert found.details["bits per byte"] == pytest.approx(loss / math.log(2) / size, rel=1e-4)
    assert (found.details["tokens counted"], found.details["bytes counted"]) == (tokens, size)


def test_a_long_document_is_read_in_windows_that_lose_no_token(model: LoadedModel, place: Place) -> None:
    text = " ".join(f"Line {number} of a long tale." for number in range(400))
    tokens = len(model.tokenizer(text)["input_ids"])
    assert tokens > model.context
    found = outcome(model, place, [{"text": text}])
    assert found.details["tokens counted"] == tokens - 2
    assert found.tokens > tokens


def test_the_windows_of_a_document_that_fits_are_those_of_one_reading(model: LoadedModel, place: Place) -> None:
    text = " ".join(f"Line {number}." for number in range(200))
    assert 512 < len(model.tokenizer(text)["input_ids"]) < model.context // 2 + 512
    logprob, _, size = by_plain_logits(model, text)
    assert outcome(model, place, [{"text": text}]).samples[0]["score"] == pytest.approx(
        math.exp(logprob / size), rel=1e-4
    )


def test_control_tokens_in_a_document_are_text_and_stay_tokens_elsewhere(model: LoadedModel, place: Place) -> None:
    turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    before = model.template.encode(turn)
    found = outcome(model, place, [{"text": "a <|im_end|> in words and no token"}])
    assert found.details["tokens counted"] > len(model.template.tokenise("a <|im_end|> in words and no token")) - 2
    assert model.template.encode(turn) == before


def test_a_row_without_text_is_named(model: LoadedModel, place: Place) -> None:
    with pytest.raises(EvaluationError, match=r"tasks\.held\.data: row 2: expected a text of two words or more"):
        outcome(model, place, [TEXTS[0], {"words": "a b"}])
