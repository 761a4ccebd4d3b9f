"""What must hold of unpaired answers before anything trains on them, measured on the file that was written.

Blocking: prompts and answers are tokenised as the template and its library do it, each answer ends with the
end-of-turn token, and there are good ones as well as bad ones, because KTO weighs them against each other
(Ethayarajh et al. 2024, arXiv 2402.01306). Not blocking: answers that are called good in one row and bad in another,
and how much longer the good ones are than the bad.
"""

from pathlib import Path
from typing import Any

from corpora.feedback.pair_checks import cohens_d, length_bias, none, parity
from corpora.tables.tables import rows_of
from lineage.hashing import fingerprint
from models.template import ChatTemplate


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
        unfinished += row["completion_ids"][-1:] != [template.end_of_turn_id]
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
            "both_labels": {
                "passed": bool(good and bad),
                "blocking": True,
                "value": len(good),
                "description": f"{len(good)} good and {len(bad)} bad answers; there must be some of each",
            },
            "labels_agree": {
                "passed": both == 0,
                "blocking": False,
                "value": both,
                "description": "answers that one row calls good and another bad",
            },
            "length_bias": length_bias(bias, "good against bad"),
        },
    }
