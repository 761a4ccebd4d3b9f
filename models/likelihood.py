"""How likely a model finds texts: log-probabilities of the possible answers to a question, losses of a text's tokens.

lm-eval scores each (context, answer) pair on its own and so reads a question once per answer. Here the
answers to one question share the reading: the context goes through the model once, its cache is repeated
for the answers, and only positions that score an answer reach the vocabulary.
"""

from collections.abc import Sequence
from typing import Any

from lineage.hashing import fingerprint
from models.answered import Answered
from models.answering import Likelihood, Pair, Tick

_PADDED = 1.2
"""Positions of a batch, at most, as a multiple of those of its questions alone."""


def likelihoods(
    model: Any, pairs: Sequence[Pair], most_answers: int, answered: Answered | None, tick: Tick
) -> list[Likelihood]:
    """The likelihood of each continuation after its context, by a model of transformers, in the order of `pairs`.

    most_answers: continuations in a batch. answered: keeps and knows again what was scored. `tick` gets the number of
    distinct contexts done.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, (context, _) in enumerate(pairs):
        groups.setdefault(tuple(context), []).append(index)
    questions = [(context, [pairs[index][1] for index in group]) for context, group in groups.items()]
    found: dict[int, Likelihood] = {}
    done = 0
    for batch in _batches(questions, most_answers):
        tick(done)
        flat = [index for context, _ in batch for index in groups[context]]
        found.update(zip(flat, _known_or_scored(model, batch, answered), strict=True))
        done += len(batch)
    tick(done)
    return [found[index] for index in range(len(pairs))]


_Question = tuple[tuple[int, ...], list[list[int]]]
"""A context and the answers to it."""


def _batches(questions: Sequence[_Question], most_answers: int) -> list[list[_Question]]:
    """Questions of like shape together: at most so many answers, and little padding, in each batch.

    (143 questions of MMLU in batches of 32 answers: 13,400 positions; 20,200 by length of the context alone,
    10,500 without any padding.)
    """
    batches: list[list[_Question]] = []
    for question in sorted(questions, key=lambda q: (-max(map(len, q[1])).bit_length(), -len(q[0]), q[0])):
        batch = [*batches[-1], question] if batches else []
        alone = sum(_positions([one]) for one in batch)
        if batch and sum(len(answers) for _, answers in batch) <= most_answers and _positions(batch) <= _PADDED * alone:
            batches[-1] = batch
        else:
            batches.append([question])
    return batches


def _known_or_scored(model: Any, batch: Sequence[_Question], answered: Answered | None) -> list[Likelihood]:
    """A batch is known as a whole: padding moves a log-probability's last bits, and so a report's identity."""
    question = fingerprint({"likelihoods": [[list(context), answers] for context, answers in batch]})
    if answered and (known := answered.get([question])):
        return [Likelihood(*pair) for pair in known[question]]
    scored = _score(model, *zip(*batch, strict=True))
    if answered:
        answered.put({question: [(found.logprob, found.greedy) for found in scored]})
    return scored


def _positions(batch: Sequence[_Question]) -> int:
    """Positions that the model works through for a batch, padding included."""
    contexts = len(batch) * max(len(context) for context, _ in batch)
    answers = [len(answer) for _, answers in batch for answer in answers]
    return contexts + len(answers) * max(answers)


def _score(model: Any, contexts: Sequence[Sequence[int]], answers: Sequence[Sequence[list[int]]]) -> list[Likelihood]:
    """Likelihoods of the answers to each context, flat, context by context."""
    import torch
    from transformers import DynamicCache

    counts = torch.tensor([len(group) for group in answers], device=model.device)
    flat = [answer for group in answers for answer in group]
    last = [context[-1] for context, group in zip(contexts, answers, strict=True) for _ in group]
    ids, mask, positions = left_padded([context[:-1] for context in contexts], model.device)
    cache = DynamicCache(config=model.config)
    shared: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    with torch.inference_mode():
        model(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1, **shared)
        rows = torch.arange(len(contexts), device=ids.device).repeat_interleave(counts)
        cache.batch_select_indices(rows)
        longest = max(map(len, flat))
        tokens = torch.zeros(len(flat), longest, dtype=torch.long, device=ids.device)
        targets = torch.zeros_like(tokens)
        real = torch.zeros_like(tokens)
        for row, answer in enumerate(flat):
            tokens[row, : len(answer)] = torch.tensor([last[row], *answer[:-1]])
            targets[row, : len(answer)] = torch.tensor(answer)
            real[row, : len(answer)] = 1
        steps = torch.arange(1, longest + 1, device=ids.device)
        logits = model(
            input_ids=tokens,
            attention_mask=torch.cat([mask[rows], real], dim=1),
            position_ids=positions[rows, -1:] + steps,
            **shared,
        ).logits
        scored = real.bool()
        kept, wanted = logits[scored].float(), targets[scored]
        chosen = torch.zeros(scored.shape, device=ids.device)
        chosen[scored] = kept.gather(-1, wanted[:, None])[:, 0] - kept.logsumexp(-1)
        greedy = torch.ones_like(scored)
        greedy[scored] = kept.argmax(-1) == wanted
    return [Likelihood(*pair) for pair in zip(chosen.sum(-1).tolist(), greedy.all(-1).tolist(), strict=True)]


def token_losses(model: Any, rows: Sequence[Sequence[int]], counted: Sequence[Sequence[bool]]) -> Any:
    """What the last tokens of each row cost, read in one pass: −log-probabilities in nats (float32), 0 if not counted.

    rows: token ids. counted: of the last tokens of each row, which are. Shape: rows, and the most of such last tokens.
    Padded on the left, so that these stand at the end and only they reach the vocabulary.
    """
    import torch

    last = max(map(len, counted))
    ids, mask, positions = left_padded(rows, model.device)
    chosen = torch.tensor([[False] * (last - len(row)) + list(row) for row in counted], device=model.device)
    with torch.inference_mode():
        logits = model(
            input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=last + 1, use_cache=False
        ).logits[:, :-1]
        losses = torch.zeros(chosen.shape, device=model.device)
        wanted = ids[:, -last:][chosen]
        losses[chosen] = torch.nn.functional.cross_entropy(logits[chosen], wanted, reduction="none")
    return losses


def left_padded(rows: Sequence[Sequence[int]], device: Any) -> tuple[Any, Any, Any]:
    """(input ids, attention mask, position ids) of rows padded on the left, on `device`."""
    import torch

    width = max(map(len, rows))
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask, (mask.cumsum(-1) - 1).clamp(min=0)
