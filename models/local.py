"""The back end in this process: a causal model of transformers that decodes greedily, the same for every task.

Prompts are sorted by length and decoded a batch at a time (`decoding`), up to the end of the turn. Nothing of the
checkpoint's `generation_config.json` applies: no sampling, no penalties.

In bfloat16 an answer can change with its batch: `batch_size` and dtype belong to the suite. Answers that are known
from an earlier attempt (`answered`) are not given again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lineage.errors import EvaluationError
from lineage.hashing import fingerprint
from models import load
from models.answered import Answered
from models.answering import Likelihood, LoadedModel, Pair, Response, Tick, prompt_ids, stop_ids
from models.decoding import Decoded, decode
from models.likelihood import likelihoods
from models.template import ChatTemplate


@dataclass(frozen=True)
class Transformers(LoadedModel):
    """A causal model on its device."""

    model: Any
    template: ChatTemplate
    batch_size: int
    stop_ids: frozenset[int]
    answered: Answered | None = None
    thinking_tokens: int = 0

    @property
    def context(self) -> int:
        return int(self.model.config.get_text_config().max_position_embeddings)

    @property
    def described(self) -> Any:
        return self.model

    @property
    def facts(self) -> dict[str, Any]:
        return {"backend": "transformers"}

    @property
    def known(self) -> int:
        return self.answered.found if self.answered else 0

    @property
    def alone(self) -> bool:
        """Whether an answer is the same whatever else is in its batch."""
        return str(self.model.dtype) == "torch.float32"

    def generate(self, prompts: Sequence[str], max_new_tokens: int, tick: Tick, until: Sequence[str]) -> list[Response]:
        return _generate(self, prompts, max_new_tokens, tick, until)

    def log_likelihoods(self, pairs: Sequence[Pair], tick: Tick) -> list[Likelihood]:
        return likelihoods(self.model, pairs, self.batch_size, self.answered, tick)


def load_model(checkpoint: Path, dtype: Literal["float32", "bfloat16"], batch_size: int) -> Transformers:
    """Load a checkpoint folder, on CUDA if there is one. Raises EvaluationError if it cannot be loaded whole."""
    import torch

    try:
        model = load.weights(checkpoint, getattr(torch, dtype))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{checkpoint}: cannot be loaded: {error}") from None
    template = ChatTemplate.load(checkpoint)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Transformers(model.eval().to(device), template, batch_size, stop_ids(template))


def _generate(
    model: Transformers, prompts: Sequence[str], max_new_tokens: int, tick: Tick, until: Sequence[str]
) -> list[Response]:
    ids = prompt_ids(model, prompts, max_new_tokens)
    order = sorted(range(len(ids)), key=lambda index: (-len(ids[index]), index))
    questions = _questions(model, ids, order, max_new_tokens, until)
    known = model.answered.get(questions) if model.answered else {}
    left = [index for index in order if questions[index] not in known]
    for start in range(0, len(left), model.batch_size):
        batch = left[start : start + model.batch_size]
        rows = [ids[index] for index in batch]
        given = {}
        for row, answer in _decode(model, rows, max_new_tokens, until, tick, len(ids) - len(left) + start):
            kept = {"tokens": answer.tokens, "cut": answer.cut, "finite": answer.finite}
            given[questions[batch[row]]] = kept
            if model.answered and model.alone:
                model.answered.put({questions[batch[row]]: kept})
        if model.answered and not model.alone:
            model.answered.put(given)
        known |= given
    tick(len(ids))
    answers = [Decoded(**known[question]) for question in questions]
    return [_response(model, row, answer) for row, answer in zip(ids, answers, strict=True)]


def _response(model: Transformers, asked: list[int], answer: Decoded) -> Response:
    thoughts, words = model.template.parted(answer.tokens, asked)
    counts = len(asked), len(answer.tokens), answer.cut, answer.finite
    return Response(words, *counts, thought_only=bool(thoughts) and not words)


def _questions(
    model: Transformers, ids: Sequence[list[int]], order: Sequence[int], max_new_tokens: int, until: Sequence[str]
) -> list[str]:
    """What each prompt's answer is known by; with the prompts of its batch where these take part in it."""
    beside: dict[int, list[list[int]]] = {}
    for start in range(0, len(order), model.batch_size):
        batch = order[start : start + model.batch_size]
        beside |= dict.fromkeys(batch, [] if model.alone else [ids[index] for index in batch])
    shared = {
        "max_new_tokens": max_new_tokens,
        "stops": sorted(model.stop_ids),
        **({"until": list(until)} if until else {}),
    }
    return [fingerprint({"prompt": row, "beside": beside[index], **shared}) for index, row in enumerate(ids)]


def _decode(
    model: Transformers,
    rows: Sequence[list[int]],
    max_new_tokens: int,
    until: Sequence[str],
    tick: Tick,
    done_before: int,
) -> Iterator[tuple[int, Decoded]]:
    """Greedy answers of one batch by row, each as it ends."""
    reach = max((len(stop.encode()) for stop in until), default=0)  # a token spells one byte at least

    def ends(tokens: list[int]) -> bool:
        tail = model.tokenizer.decode(tokens[-reach:], skip_special_tokens=True) if until else ""
        return any(stop in tail for stop in until)

    def told(step: int, ended: int) -> None:
        tick(done_before + max(ended, len(rows) * step // max_new_tokens))

    return decode(model.model, rows, max_new_tokens, model.stop_ids, ends=ends, tick=told)
