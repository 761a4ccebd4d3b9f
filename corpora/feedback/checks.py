"""What must hold of preferences before anything trains on them, measured on the file that was written.

Blocking: prompts and answers are tokenised as the template and its library do it, and each answer ends with the
end-of-turn token; the two answers of a pair differ; of unpaired answers there are good ones as well as bad ones,
because KTO weighs them against each other (Ethayarajh et al. 2024, arXiv 2402.01306). Not blocking: how much longer
the better answers are than the worse, because a model trained on them learns to be long (Singhal et al. 2023, arXiv
2310.03716), whether annotators agree, and unpaired answers that are called good in one row and bad in another.
"""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from corpora.feedback.annotators import Agreement
from corpora.tables.tables import rows_of
from lineage.checks import Check, check
from lineage.hashing import fingerprint
from models.template import ChatTemplate
from models.turns import thinks

LENGTH_BIAS = 0.5
"""Cohen's d from which an effect counts as medium (Cohen 1988)."""
SLIGHT = 0.2
"""Up to here agreement beyond chance is called slight (Landis and Koch 1977)."""


def check_pairs(path: Path, template: ChatTemplate, agreed: Mapping[str, Agreement] | None = None) -> dict[str, Any]:
    """Statistics of the pairs' lengths in tokens, and `checks` by name. agreed: of who judged by name, by source."""
    differing: list[str] = []
    same = unfinished = 0
    lengths: dict[str, list[int]] = {"prompt": [], "chosen": [], "rejected": []}
    for row in rows_of(path):
        problem = parity(row, ("chosen", "rejected"), template)
        if problem:
            differing.append(problem)
        same += row["chosen_ids"] == row["rejected_ids"]
        unfinished += any(row[f"{name}_ids"][-1] not in template.end_ids for name in ("chosen", "rejected"))
        for name, values in lengths.items():
            values.append(len(row[f"{name}_ids"]))
    bias = cohens_d(lengths["chosen"], lengths["rejected"])
    first = f"; the first: {differing[0]}" if differing else ""
    return {
        "mean_tokens": {name: statistics.fmean(values) for name, values in lengths.items()},
        "length_bias": bias,
        "checks": {
            "template_parity": none(len(differing), f"pairs not tokenised as the template's library does{first}"),
            "answers_differ": none(same, "pairs whose chosen and rejected answers are the same"),
            "end_of_turn": none(unfinished, "pairs with an answer that does not end with the end-of-turn token"),
            "length_bias": length_bias(bias, "chosen against rejected"),
            "annotators_agree": annotators_agree(agreed or {}),
        },
    }


def check_unpaired(path: Path, template: ChatTemplate) -> dict[str, Any]:
    """How many answers are good and bad, how long they are in tokens, and `checks` by name."""
    differing: list[str] = []
    unfinished = 0
    lengths: dict[bool, list[int]] = {True: [], False: []}
    said: dict[str, set[bool]] = {}
    for row in rows_of(path):
        problem = parity(row, ("completion",), template)
        if problem:
            differing.append(problem)
        unfinished += row["completion_ids"][-1] not in template.end_ids
        lengths[row["label"]].append(len(row["completion_ids"]))
        said.setdefault(fingerprint([row["prompt_ids"], row["completion_ids"]]), set()).add(row["label"])
    good, bad = lengths[True], lengths[False]
    both = sum(len(labels) == 2 for labels in said.values())
    bias = cohens_d(good, bad) if good and bad else 0.0
    first = f"; the first: {differing[0]}" if differing else ""
    return {
        "good": len(good),
        "bad": len(bad),
        "mean_tokens": {name: sum(each) / len(each) for name, each in (("good", good), ("bad", bad)) if each},
        "length_bias": bias,
        "checks": {
            "template_parity": none(len(differing), f"answers not tokenised as the template's library does{first}"),
            "end_of_turn": none(unfinished, "answers that do not end with the end-of-turn token"),
            "both_labels": check(
                bool(good and bad),
                len(good),
                f"{len(good)} good and {len(bad)} bad answers; there must be some of each",
            ),
            "labels_agree": check(both == 0, both, "answers that one row calls good and another bad", blocks=False),
            "length_bias": length_bias(bias, "good against bad"),
        },
    }


def length_bias(bias: float, compared: str) -> Check:
    return check(
        abs(bias) < LENGTH_BIAS,
        bias,
        f"Cohen's d of the lengths in tokens, {compared}; "
        f"from ±{LENGTH_BIAS} on a model may learn length instead of quality",
        blocks=False,
    )


def annotators_agree(agreed: Mapping[str, Agreement]) -> Check:
    alphas = {name: found.alpha for name, found in agreed.items() if found.alpha is not None}
    worst = min(alphas, key=lambda name: alphas[name], default=None)
    if worst is None:
        return check(True, 0, "pairs of answers that two who are named judged", blocks=False)
    told = f"Krippendorff's alpha of who judged in source '{worst}'; below {SLIGHT} is hardly more than chance"
    return check(alphas[worst] >= SLIGHT, alphas[worst], told, blocks=False)


def cohens_d(first: list[int], second: list[int]) -> float:
    """Difference of means over the pooled standard deviation; 0 where there is no spread to compare with."""
    if min(len(first), len(second)) < 2:
        return 0.0
    pooled = ((statistics.variance(first) + statistics.variance(second)) / 2) ** 0.5
    return (statistics.fmean(first) - statistics.fmean(second)) / pooled if pooled else 0.0


def parity(row: dict[str, Any], answers: Sequence[str], template: ChatTemplate) -> str | None:
    """What differs between the stored ids and those of the template's library; None if nothing does."""
    tools, thinking = row["tools"], any(thinks(row[name]) for name in answers)
    asked = template.encode_by_library(row["prompt"], generation_prompt=True, tools=tools, thinking=thinking)
    if asked != row["prompt_ids"]:
        return "prompt"
    for name in answers:
        whole = template.encode_by_library([*row["prompt"], *row[name]], tools=tools, thinking=thinking)
        stored = row["prompt_ids"] + row[f"{name}_ids"]
        if whole[: len(stored)] != stored:
            return name
    return None


def none(failures: int, description: str) -> Check:
    """A blocking check that passes if there are no failures."""
    return check(failures == 0, failures, description)
