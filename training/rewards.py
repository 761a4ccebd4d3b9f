"""Rewards by name, as functions that TRL's GRPO trainer calls with its answers.

A recipe names a reward and its weight; what it computes is here, in reasoning-gym, in lm-eval or in a reward model's
weights. An answer to which a reward does not apply, because its prompt brings no such verifier, gets None from it.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpora.feedback.prompts import NLTK
from corpora.verifiers import instructions, verifiers
from corpora.verifiers.checked import Unchecked, checked, told
from jobs.progress import say
from lineage.errors import TrainingError
from lineage.hashing import file_digest
from models.load import Incomplete, weights
from recipes.rewards import FormatReward, InstructionsReward, LengthReward, ModelReward, RewardTerm, VerifierReward
from recipes.stages import Grpo

Rewarded = list[float | None]
RewardFunction = Callable[..., Rewarded]
"""Called with the keywords `completions` (texts), `completion_ids`, `prompts` (token ids) and `row` (of the prompt)."""

Said = Callable[[Sequence[int], Sequence[int]], str]
"""What an answer says, of its token ids and its prompt's."""

_TOKENIZER = "tokenizer.json"


def functions(
    stage: Grpo,
    brought: Sequence[str | None],
    prompts: Path,
    start: Path,
    model: Path | None,
    device: Any,
    said: Said | None = None,
) -> list[RewardFunction]:
    """A function for each of the stage's rewards, in their order.

    brought: of each prompt its verifier as JSON. prompts: their artefact. model: the checkpoint of a reward model.
    said: what of an answer a verifier judges; all of it by default.
    Raises TrainingError if a reward applies to no prompt, no reward to some prompt, or a prompt's verifier is refused.
    """
    parsed = [None if text is None else json.loads(text) for text in brought]
    for verifier in filter(None, parsed):
        if verifier["kind"] == verifiers.GYM and (problem := verifiers.refusal(verifier)) is not None:
            raise TrainingError(f"rewards: a prompt brings a verifier that is not to be used: {problem}")
    _each_applies(stage.rewards, parsed)
    made = [_named(reward, _function(reward, stage, parsed, prompts, start, model, device)) for reward in stage.rewards]
    if said is None:
        return made
    judged = (VerifierReward, InstructionsReward)
    return [
        _named(reward, _of_words(function, said)) if isinstance(reward, judged) else function
        for reward, function in zip(stage.rewards, made, strict=True)
    ]


def _of_words(function: RewardFunction, said: Said) -> RewardFunction:
    """The same of what answers say, without what was thought before."""

    def rewarded(completion_ids: Sequence[list[int]], prompts: Sequence[list[int]], **rest: Any) -> Rewarded:
        words = [said(answer, asked) for answer, asked in zip(completion_ids, prompts, strict=True)]
        return function(**{**rest, "completion_ids": completion_ids, "prompts": prompts, "completions": words})

    return rewarded


def _function(
    reward: RewardTerm,
    stage: Grpo,
    brought: Sequence[dict[str, Any] | None],
    prompts: Path,
    start: Path,
    model: Path | None,
    device: Any,
) -> RewardFunction:
    match reward:
        case VerifierReward():
            return _verified(reward, brought)
        case InstructionsReward():
            instructions.use_punkt("prompts.punkt", prompts / NLTK)
            return _followed(reward, brought)
        case ModelReward():
            if model is None:
                raise TrainingError("rewards: a reward model decides the graph's edges; name it in the recipe")
            return _judged(RewardModel(model, device, stage.generations, start))
        case LengthReward():
            return _short(reward, stage.max_new_tokens)
        case FormatReward():
            return _matching(reward)


def _each_applies(rewards: Sequence[RewardTerm], brought: Sequence[dict[str, Any] | None]) -> None:
    kinds = [None if verifier is None else verifier["kind"] for verifier in brought]
    needed = {"verifier": verifiers.GYM, "instructions": verifiers.INSTRUCTIONS}
    for reward in rewards:
        if reward.kind in needed and needed[reward.kind] not in kinds:
            raise TrainingError(f"rewards: {reward.kind} applies to none of the prompts; they bring no such verifier")
    asked = {needed.get(reward.kind) for reward in rewards}
    without = sum(kind not in asked for kind in kinds) if None not in asked else 0
    if without:
        raise TrainingError(f"rewards: none applies to {without} of {len(kinds)} prompts; take these out")


def _verified(reward: VerifierReward, brought: Sequence[dict[str, Any] | None]) -> RewardFunction:
    def worth(score: float) -> float:
        return score if reward.partial else float(score == 1.0)

    return _checked(reward, brought, verifiers.GYM, verifiers.scores, worth)


def _followed(reward: InstructionsReward, brought: Sequence[dict[str, Any] | None]) -> RewardFunction:
    def worth(each: list[bool]) -> float:
        return sum(each) / len(each)

    return _checked(reward, brought, verifiers.INSTRUCTIONS, instructions.followed, worth)


def _matching(reward: FormatReward) -> RewardFunction:
    def rewarded(completions: Sequence[str], **_: Any) -> Rewarded:
        found = checked("pattern", [{"pattern": reward.pattern, "answer": text} for text in completions])
        _say(reward, found)
        return [0.0 if isinstance(one, Unchecked) else float(one) for one in found]

    return rewarded


def _checked(
    reward: RewardTerm,
    brought: Sequence[dict[str, Any] | None],
    kind: str,
    check: Callable[[Sequence[tuple[dict[str, Any], str]]], list[Any]],
    worth: Callable[[Any], float],
) -> RewardFunction:
    """Gives what a check of this kind of verifier is worth; an answer that cannot be checked is worth nothing."""

    def rewarded(completions: Sequence[str], row: Sequence[int], **_: Any) -> Rewarded:
        given: Rewarded = [None] * len(completions)
        asked: dict[int, tuple[dict[str, Any], str]] = {}
        for place, (number, text) in enumerate(zip(row, completions, strict=True)):
            verifier = brought[number]
            if verifier is not None and verifier["kind"] == kind:
                asked[place] = verifier, text
        found = check(list(asked.values()))
        _say(reward, found)
        for place, one in zip(asked, found, strict=True):
            given[place] = 0.0 if isinstance(one, Unchecked) else worth(one)
        return given

    return rewarded


def _say(reward: RewardTerm, found: Sequence[Any]) -> None:
    if (problem := told(found)) is not None:
        say(f"rewards: {reward.kind}: {problem}", of_all=False)


def _short(reward: LengthReward, most: int) -> RewardFunction:
    span = most - reward.free_tokens
    return lambda completion_ids, **_: [-max(0, len(ids) - reward.free_tokens) / span for ids in completion_ids]


def _judged(model: "RewardModel") -> RewardFunction:
    def judged(prompts: Sequence[list[int]], completion_ids: Sequence[list[int]], **_: Any) -> Rewarded:
        return model.rewards([[*asked, *answer] for asked, answer in zip(prompts, completion_ids, strict=True)])

    return judged


class RewardModel:
    """A sequence classifier with one score, asked in fp32 with the very tokens of prompt and answer.

    It is read at the last token. transformers would take the last one that is no pad token, and where that token
    also ends a turn, the one before.
    """

    def __init__(self, checkpoint: Path, device: Any, batch: int, start: Path | None = None) -> None:
        """batch: rows scored together. start: what its tokens come from. Raises TrainingError if the checkpoint is no
        reward model, or reads others."""
        import torch

        if start is not None and file_digest(checkpoint / _TOKENIZER) != file_digest(start / _TOKENIZER):
            raise TrainingError(f"rewards: {checkpoint} has another tokenizer than the model that is trained")
        try:
            model = weights(checkpoint, torch.float32, scores=True)
        except Incomplete as error:
            raise TrainingError(f"rewards: {checkpoint} is no reward model: it lacks {error.tensors[0]}") from None
        self._model, self._device, self._batch = model.eval().to(device), device, batch

    def rewards(self, rows: Sequence[list[int]]) -> Rewarded:
        """The score of each row of token ids."""
        found: Rewarded = []
        for start in range(0, len(rows), self._batch):
            found += self._batch_of(rows[start : start + self._batch])
        return found

    def _batch_of(self, rows: Sequence[list[int]]) -> Rewarded:
        import torch

        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=self._device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self._device)
        with torch.inference_mode():
            hidden = self._model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            scores: list[float] = self._model.score(hidden[range(len(rows)), mask.sum(1) - 1])[:, 0].tolist()
        return list(scores)


def _named(reward: RewardTerm, function: RewardFunction) -> RewardFunction:
    """TRL logs a reward under its function's name."""
    function.__name__ = reward.kind
    return function
