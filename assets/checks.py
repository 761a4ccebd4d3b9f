"""Asset checks: what must hold of an artefact before anything may be built on it, and what a person should know.

The makers of artefacts measure and put their verdicts into `metrics["checks"]`; here they are declared, so that they
are known before a run (`handles` reports them); those of a stage stand in its own module. A declared check that a
maker did not report has failed: silence is not a pass.
"""

from corpora.feedback import signals
from training import stages

_SHARED_OUT = {
    "shares": "realised shares of the groups are within the recipe's tolerance, or the bound that is proved",
    "share_bound": "the rows are short enough for the recipe's tolerance to hold at prefixes, too",
}

_DECLARED: dict[str, dict[str, str]] = {
    "clean": {
        "rows_conserved": "every row read was kept, quarantined or filtered, or repeats another or an evaluation item",
        "quarantine_share": "the share of bad rows is within the recipe's bound",
        "contamination": "no copy of an evaluation item is left, unless the recipe allows it with a reason",
    },
    "distinct": {
        "near_duplicate_share": "not so many rows say what another says that they must come from few templates",
    },
    "mixture": {
        **_SHARED_OUT,
        "template_parity": "mask and tokens computed in two ways agree",
        "supervised_end_of_turn": "every row has a supervised end of turn",
    },
    "documents": {
        **_SHARED_OUT,
        "sequences_full": "every sequence but the last is full, and no token of a document is missing",
        "documents_whole": "documents put together from the sequences are the tokens of their text",
    },
    "preferences": {
        "template_parity": "prompts and answers are tokenised as the template's library does it",
        "answers_differ": "no pair has the same answer twice",
        "end_of_turn": "every answer ends with the end-of-turn token",
        "length_bias": "chosen and rejected answers are not told apart by their length",
        "annotators_agree": "those who judged by name agree more than by chance",
    },
    "unpaired": {
        "template_parity": "prompts and answers are tokenised as the template's library does it",
        "end_of_turn": "every answer ends with the end-of-turn token",
        "both_labels": "there are good answers and bad ones",
        "labels_agree": "no answer is called good in one row and bad in another",
        "length_bias": "good and bad answers are not told apart by their length",
    },
    "prompts": {"template_parity": "prompts are tokenised as the template's library does it"},
    "signal": signals.CHECKS,
    "report": {"report_valid": "the evaluation ran through and its outcomes can be trusted"},
}

WARNING_ONLY = {
    *("labels_agree", "annotators_agree", "length_bias", "near_duplicate_share", "share_bound"),
    *("answers_checked", "answers_end", "samples_differ", "tells_answers_apart"),
}
DOES_NOT_APPLY = {
    "rows_apart": "rows were padded, not packed",
    "weighed_as_rows_say": "no row has a weight of its own",
    "frozen_unmoved": "all weights were trained, or they were held in fewer bits",
    "adapter_whole": "all weights were trained: there is no adapter",
    "merged_equals_adapter": "all weights were trained: there is no adapter to merge",
}


def declared(kind: str | None) -> dict[str, str]:
    """The checks of a kind of node, by name, with what each says."""
    if kind in stages.KINDS:
        return stages.checks_of(kind)
    return _DECLARED.get(kind or "", {})
