"""Asset checks: what must hold of an artefact before anything may be built on it, and what a person should know.

The makers of artefacts measure and put their verdicts into `metrics["checks"]`; here they are declared, so that they
are known before a run (`handles` reports them). A declared check that a maker did not report has failed: silence is
not a pass.
"""

_ADAPTER = {
    "frozen_unmoved": "what the adapter was trained on is still the start checkpoint, bit for bit",
    "adapter_whole": "the saved adapter holds every tensor that was trained",
    "merged_equals_adapter": "the merged weights give the logits of base and adapter",
}
_SAVED = {
    **_ADAPTER,
    "reload_equal": "the checkpoint, loaded again, gives the same logits",
    "served_as_trained": "rendered from its own files, as a server does, a conversation is what training saw",
}

_STARTS = {
    "end_of_turn_stops": "generation stops at the token that ends an assistant turn",
    "weights_finite": "no weight is NaN or infinite",
}

_PAIRS_UNTOUCHED = {"pairs_untouched": "the trainer sees the tokens of the pairs, all of them and no others"}

_SAME_REFERENCE = {
    "reference_is_start": "before the first step the loss is what it is when policy and reference are the same model"
}

_SHARED_OUT = {
    "shares": "realised shares of the groups are within the recipe's tolerance, or the bound that is proved",
    "share_bound": "the rows are short enough for the recipe's tolerance to hold at prefixes, too",
}

DECLARED: dict[str, dict[str, str]] = {
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
    },
    "unpaired": {
        "template_parity": "prompts and answers are tokenised as the template's library does it",
        "end_of_turn": "every answer ends with the end-of-turn token",
        "both_labels": "there are good answers and bad ones",
        "labels_agree": "no answer is called good in one row and bad in another",
        "length_bias": "good and bad answers are not told apart by their length",
    },
    "prompts": {"template_parity": "prompts are tokenised as the template's library does it"},
    "base": _STARTS,
    "scratch": {**_STARTS, "tokenizer_round_trip": "texts come back from their tokens as they were"},
    "pretrain": {
        "labels_equal_tokens": "the loss counts every token of the mixture but the first of each document",
        "documents_apart": "a document in a sequence with others is read as it is alone",
        **_SAVED,
    },
    "sft": {
        "labels_equal_mask": "the loss counts exactly the tokens that the mixture marks as supervised",
        "pads_by_length": "every row is attended to over its length, also where pad and end of turn are one token",
        "end_of_turn_learned": "every row has an end of turn among what the loss counts",
        "one_bos": "no row begins twice",
        "rows_apart": "a row that is packed with others is read as it is alone",
        **_SAVED,
    },
    "reward": {
        **_PAIRS_UNTOUCHED,
        "reads_last_token": "the reward of a conversation is read at its last token, however it is padded",
        **_SAVED,
    },
    "dpo": {**_PAIRS_UNTOUCHED, **_SAME_REFERENCE, **_SAVED},
    "kto": {
        "answers_untouched": "the trainer sees the tokens and labels of the answers, all of them and no others",
        **_SAME_REFERENCE,
        **_SAVED,
    },
    "orpo": {
        **_PAIRS_UNTOUCHED,
        "loss_is_the_papers": "before the first step the loss is the paper's formula, on the answers' tokens alone",
        **_SAVED,
    },
    "grpo": {
        "prompts_untouched": "the model answers the tokens of the prompts, all of them and no others",
        "advantages_sum_to_zero": "the advantages of the answers to one prompt sum to 0, in every step",
        "scored_as_drawn": "the first step's loss gives each answer the probability at which the model drew it",
        "kl_step0_zero": "before the first step the divergence from the reference is 0: it is the start checkpoint",
        **_SAVED,
    },
    "report": {"report_valid": "the evaluation ran through and its outcomes can be trusted"},
}

WARNING_ONLY = {"labels_agree", "length_bias", "near_duplicate_share", "share_bound"}
DOES_NOT_APPLY = {
    "rows_apart": "rows were padded, not packed",
    "frozen_unmoved": "all weights were trained, or they were held in fewer bits",
    "adapter_whole": "all weights were trained: there is no adapter",
    "merged_equals_adapter": "all weights were trained: there is no adapter to merge",
}
