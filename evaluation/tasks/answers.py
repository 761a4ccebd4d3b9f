"""The outcome of a task that asks every item once and scores each answer by itself, and of answers without a score."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from corpora.verifiers.checked import Unchecked
from evaluation.health import of_answers
from evaluation.report import Sample
from evaluation.task import Outcome
from lineage.hashing import fingerprint, text_digest
from models.answering import Response


def outcome(
    items: Sequence[Any],
    prompts: Sequence[str],
    responses: Sequence[Response],
    scored: Iterable[Mapping[str, Any]],
    health: Mapping[str, int] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Outcome:
    """`scored`: of each item the fields of its Sample that are not the same for all such tasks.

    health: counts beside those of answers in general.
    """
    samples: list[Sample] = []
    for index, (item, prompt, response, own) in enumerate(zip(items, prompts, responses, scored, strict=True)):
        digest = fingerprint(item)
        common = {"doc_id": index, "doc_hash": digest, "prompt_hash": text_digest(prompt), "cluster": digest}
        samples.append(cast(Sample, {**common, "response": response.text, **own}))
    tokens = sum(response.prompt_tokens + response.tokens for response in responses)
    return Outcome(samples, {**of_answers(responses), **(health or {})}, tokens, dict(details or {}))


def unchecked(found: Sequence[Any]) -> dict[str, int]:
    """Details of an outcome: how many answers count as wrong because they could not be checked, by reason."""
    reasons = Counter(one.reason for one in found if isinstance(one, Unchecked))
    return {f"answers that could not be checked: {reason}": count for reason, count in sorted(reasons.items())}
