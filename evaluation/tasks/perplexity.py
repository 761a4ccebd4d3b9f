"""How well a model foresees held-out text, document by document.

The metric, `byte_probability`, is the geometric mean of the probabilities that the model gives to the bytes of a
document: exp(log-probability / bytes), so 2 to the power of minus the bits per byte. It lies between 0 and 1, as the
gate's statistics ask for, weighs documents alike whatever their length, and is comparable between tokenizers, which
perplexity is not. Perplexity itself (per token, over all documents, as pretraining reports it) and bits per byte are
in the report's details.

A document is read as the tokenizer reads text, beginning with its own first token if it adds one; every token but the
first two is counted. A long one is read in windows of at most 512 tokens that see what came before them, up to half of
the model's context.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.report import Sample
from evaluation.task import Outcome, Place, draw, read_rows
from lineage.errors import EvaluationError
from lineage.hashing import fingerprint, text_digest
from models.answering import LoadedModel, Pair, Tick, log_likelihoods
from recipes.suite import PerplexityTask

_WINDOW = 512
_TOGETHER = 4
"""Windows read at a time: their logits alone are 400 MB at a vocabulary of 49,152."""

_UNCOUNTED = 2
"""Tokens at the beginning of a document that are only seen: a likelihood is asked for behind two tokens or more."""

_SHOWN = 400
_LARGEST = 700.0
"""A loss per token whose exponential is still a float."""


@dataclass(frozen=True)
class Perplexity:
    """Drawn documents: {text}."""

    name: str
    items: list[dict[str, Any]]
    facts: dict[str, Any]
    unit: str = "documents"

    def run(self, model: LoadedModel, tick: Tick) -> Outcome:
        read = [_read(model, item["text"]) for item in self.items]
        short = next((place for place, document in enumerate(read, start=1) if not document.windows), None)
        if short is not None:
            raise EvaluationError(f"document {short} has less than {_UNCOUNTED + 1} tokens; take it out of the data")
        flat = [window for document in read for window in document.windows]
        logprobs = iter(_logprobs(model, flat, lambda done: tick(done * len(read) // len(flat))))
        sums = [math.fsum(next(logprobs) for _ in document.windows) for document in read]
        samples = [_sample(self.name, *triple) for triple in zip(range(len(read)), self.items, read, sums, strict=True)]
        health = {"nonfinite": sum(not math.isfinite(logprob) for logprob in sums)}
        shown = sum(len(context) + len(answer) for context, answer in flat)
        return Outcome(samples, health, shown, _details(read, sums))


def prepare(name: str, task: PerplexityTask, place: Place) -> Perplexity:
    """Read and draw the documents. Raises EvaluationError that names the row and the field."""
    where = f"evaluation.tasks.{name}"
    rows = read_rows(f"{where}.data", task.data, place)
    column = task.columns.text or "text"
    texts: dict[str, dict[str, Any]] = {}
    for index, row in enumerate(rows.rows, start=1):
        text = row.get(column)
        if not isinstance(text, str) or len(text.split()) < 2:
            raise EvaluationError(
                f"{where}.data: row {index}: expected a text of two words or more in field '{column}'; see columns.text"
            )
        texts.setdefault(text, {"text": text})
    facts = {
        "data_digest": rows.digest,
        "duplicates": rows.duplicates + len(rows.rows) - len(texts),
        "harness": "perplexity",
        "prompts": f"plain text, windows of {_WINDOW} tokens",
    }
    return Perplexity(name, draw(where, list(texts.values()), task.limit, task.sample_seed), facts)


@dataclass(frozen=True)
class _Document:
    """(what is seen, what is counted) for all counted tokens of a document, and the bytes that they stand for."""

    windows: list[Pair]
    bytes: int

    @property
    def tokens(self) -> int:
        return sum(len(counted) for _, counted in self.windows)


def _read(model: LoadedModel, text: str) -> _Document:
    """A document in windows. A control token that is spelled out in it is text."""
    backend = model.tokenizer.backend_tokenizer
    before_us = backend.encode_special_tokens
    encoded = model.tokenizer(text, split_special_tokens=True, return_offsets_mapping=True)
    backend.encode_special_tokens = before_us  # transformers leaves it as the last call had it
    ids: list[int] = encoded["input_ids"]
    before = model.context // 2
    length = min(_WINDOW, model.context - before)
    windows = [
        (ids[max(0, start - before) : start], ids[start : start + length])
        for start in range(_UNCOUNTED, len(ids), length)
    ]
    counted_from = encoded["offset_mapping"][_UNCOUNTED - 1][1] if windows else len(text)
    return _Document(windows, len(text[counted_from:].encode()))


def _logprobs(model: LoadedModel, windows: Sequence[Pair], tick: Tick) -> list[float]:
    found: list[float] = []
    for start in range(0, len(windows), _TOGETHER):

        def told(done: int, start: int = start) -> None:
            tick(start + done)

        found += [one.logprob for one in log_likelihoods(model, windows[start : start + _TOGETHER], told)]
    return found


def _sample(name: str, index: int, item: dict[str, Any], document: _Document, logprob: float) -> Sample:
    digest = fingerprint(item)
    text = item["text"]
    return {
        "task": name,
        "metric": "byte_probability",
        "doc_id": index,
        "doc_hash": digest,
        "prompt_hash": text_digest(text),
        "cluster": digest,
        "score": min(1.0, math.exp(logprob / document.bytes)) if math.isfinite(logprob) else 0.0,
        "higher_is_better": True,
        "prompt": text if len(text) <= _SHOWN else text[:_SHOWN] + " …",
        "response": None,
        "target": None,
    }


def _details(read: Sequence[_Document], logprobs: Sequence[float]) -> dict[str, Any]:
    tokens, size = sum(document.tokens for document in read), sum(document.bytes for document in read)
    loss = -math.fsum(logprobs)
    if not math.isfinite(loss):
        return {}
    return {
        "perplexity per token": _rounded(math.exp(min(loss / tokens, _LARGEST))),
        "bits per byte": _rounded(loss / math.log(2) / size),
        "tokens counted": tokens,
        "bytes counted": size,
    }


def _rounded(value: float) -> float:
    """To six digits: what a person reads."""
    return float(f"{value:.6g}")
