"""What is made of clean corpora: token-exact mixtures, preferences by rules, prompts that a model answers itself."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from recipes.section import Name, Section, Share
from recipes.sources import Origin

Against = Literal["rest", "next", "worst"]
_AGAINST = "the best against all others, each against the next, best and worst"


class PairRule(Section):
    """How one clean corpus becomes preference pairs.

    `recorded`: rows already hold chosen and rejected. `refuse`: the row's own answer is rejected and
    a refusal from `answers` is chosen. `comply`: the row's own answer is chosen and a refusal is
    rejected, which keeps a model that learns to refuse from refusing everything. `ranked`: of answers
    with ranks, ratings or votes the better is chosen; ratings of single answers meet by their prompt.
    """

    source: Name
    rule: Literal["recorded", "refuse", "comply", "ranked"] = "recorded"
    answers: str | None = None
    against: Against = Field(default="rest", description=f"rule 'ranked': {_AGAINST}")
    min_gap: float = Field(
        default=0, ge=0, description="rule 'ranked': least difference of scores (worse answers, stars, share of votes)"
    )
    annotators: Literal["equal", "agreement"] = Field(
        default="equal",
        exclude_if=lambda weighed: weighed == "equal",
        description="rule 'ranked': whether a judgement counts as any other, or by its annotator's Cohen's kappa with "
        "the others",
    )
    limit: int | None = Field(default=None, ge=1, description="number of pairs, drawn by seed")

    @model_validator(mode="after")
    def _has_answers(self) -> "PairRule":
        if (self.rule in ("recorded", "ranked")) != (self.answers is None):
            raise ValueError("rules 'refuse' and 'comply' need 'answers'; rules 'recorded' and 'ranked' take none")
        if self.rule != "ranked" and (self.against, self.min_gap, self.annotators) != ("rest", 0, "equal"):
            raise ValueError("against, min_gap and annotators are for rule 'ranked'")
        return self


class CandidateRule(Section):
    """How candidates become preference pairs, by signals on them.

    `by`: names of signals; the first by which two answers differ says which is better, and by how much. Answers that
    were cut, and answers that a signal of `by` has no number for, are in no pair.
    """

    candidates: Name
    rule: ClassVar[Literal["candidates"]] = "candidates"
    by: list[Name] = Field(min_length=1)
    against: Against = Field(default="rest", description=f"{_AGAINST}, of each prompt's answers")
    min_gap: float = Field(default=0, ge=0, description="least difference by the signal that decides")
    limit: int | None = Field(default=None, ge=1, description="number of pairs, drawn by seed")
    per_prompt: int | None = Field(default=None, ge=1, description="most pairs of one prompt, those farthest apart")

    @model_validator(mode="after")
    def _no_signal_twice(self) -> "CandidateRule":
        if len(set(self.by)) < len(self.by):
            raise ValueError("by: names a signal twice")
        return self


def _kind_of_rule(section: Any) -> str:
    of_candidates = "candidates" in section if isinstance(section, dict) else isinstance(section, CandidateRule)
    return "CandidateRule" if of_candidates else "PairRule"


AnyPairRule = Annotated[
    Annotated[PairRule, Tag("PairRule")] | Annotated[CandidateRule, Tag("CandidateRule")], Discriminator(_kind_of_rule)
]


class UnpairedRule(Section):
    """A clean corpus whose answers are labelled good or bad; of recorded pairs the chosen is good, the rejected bad."""

    source: Name
    rule: ClassVar[Literal["unpaired"]] = "unpaired"
    answers: ClassVar[None] = None
    limit: int | None = Field(default=None, ge=1, description="number of answers, drawn by seed")


class Preferences(Section):
    """Either `pairs` or `unpaired` answers; `max_length` in tokens of prompt and longer answer together.

    Rows that the recipe's `splits` keep from training are written apart.
    """

    pairs: list[AnyPairRule] = []
    unpaired: list[UnpairedRule] = []
    max_length: int = Field(ge=16)
    seed: int = Field(ge=0)

    @property
    def holds(self) -> Literal["pairs", "unpaired"]:
        return "pairs" if self.pairs else "unpaired"

    @property
    def rules(self) -> list[PairRule | CandidateRule | UnpairedRule]:
        return [*self.pairs, *self.unpaired]

    @property
    def of_sources(self) -> list[PairRule | UnpairedRule]:
        """The rules that read clean corpora."""
        return [rule for rule in self.rules if not isinstance(rule, CandidateRule)]

    @property
    def of_candidates(self) -> list[CandidateRule]:
        return [rule for rule in self.pairs if isinstance(rule, CandidateRule)]

    @model_validator(mode="after")
    def _holds_one_kind(self) -> "Preferences":
        if bool(self.pairs) == bool(self.unpaired):
            raise ValueError("preferences need either pairs or unpaired, a list of rules; for both make two entries")
        return self


class Prompts(Section):
    """Prompts of clean corpora; `max_length` in tokens of the prompt. A verifier comes with its row.

    Problems of `gym://` bring reasoning-gym's. Rows that have `instruction_id_list` and `kwargs`, as IFEval's do, are
    checked by the instructions of these names; their checkers need `punkt`.
    """

    sources: list[Name] = Field(min_length=1)
    max_length: int = Field(ge=8)
    seed: int = Field(ge=0)
    limit: int | None = Field(default=None, ge=1, description="number of prompts, drawn by seed")
    thinking: bool = Field(default=False, description="whether the model is asked to think before it answers")
    punkt: Origin | None = Field(default=None, description="NLTK punkt_tab, which checkers of instructions need")


Unit = Literal["supervised_tokens", "tokens", "rows"]

Thinking = Literal["learn", "mask", "drop"]

Long = Literal["leave_out", "cut_end", "split"]

LearnedTurns = Literal["all", "last", "marked"]


_SHARE_TOLERANCE = 1e-9


class Mixture(Section):
    """Shares of groups, exact in `unit`.

    `size` counts `unit`s emitted in all. Of `conversations` each row is one rendered conversation of at most
    `max_length` tokens. One that does not fit is left out whole and counted, or with `long: cut_end` shown up to the
    last of its answers that fits, or with `long: split` made into several that fit, each with the system prompt and
    with a question first, so that no row loses its end of turn. With `turns: last` only the last of a conversation's
    answers that may be learned is, with `turns: marked` those alone that their rows mark so.
    `thinking` says what becomes of the assistant's thoughts: `learn` them like words, `mask` them, so that they are
    read and not learned, or `drop` them. A template that shows thoughts of the last turn alone makes several rows of
    a conversation, in which each answer is learned once.
    `documents` are put end to end and cut into sequences of `sequence_length` tokens.
    """

    kind: Literal["conversations", "documents"] = "conversations"
    unit: Unit = "supervised_tokens"
    shares: dict[Name, Share] = {}
    groups: list[Name] = Field(
        default=[], description="in the place of `shares`: groups that share by what they hold, at `temperature`"
    )
    within: dict[Name, dict[Name, Share]] = Field(
        default={}, description="shares of the sources inside a group; by default by what each source holds"
    )
    temperature: float = Field(
        default=1.0, gt=0, description="shares that are not written out go as n^(1/temperature); 1 is proportional"
    )
    tolerance: float | None = Field(
        default=None, gt=0, lt=1, description="largest error of a group's share that is accepted, as a fraction"
    )
    size: int = Field(ge=1)
    max_length: int | None = Field(default=None, ge=16)
    long: Long = "leave_out"
    turns: LearnedTurns = "all"
    thinking: Thinking = "learn"
    sequence_length: int | None = Field(default=None, ge=16)
    end_of_text: str | None = Field(
        default=None, description="special token behind each document; by default the tokenizer's end of sequence"
    )
    seed: int = Field(ge=0)
    exhaustion: Literal["error", "repeat", "renormalise", "stop"] = "error"
    max_epochs: float = Field(default=1.0, ge=1, description="with exhaustion 'repeat': most times a source is read")

    @property
    def members(self) -> list[str]:
        """The groups that are mixed."""
        return list(self.shares) or self.groups

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> "Mixture":
        groups = {
            **({"shares": self.shares} if self.shares else {}),
            **{f"within.{g}": s for g, s in self.within.items()},
        }
        for field, shares in groups.items():
            total = sum(shares.values())
            if abs(total - 1) > _SHARE_TOLERANCE:
                raise ValueError(f"{field} sum to {total:.6g}, not to 1: {shares}")
        if bool(self.shares) == bool(self.groups) or len(set(self.groups)) < len(self.groups):
            raise ValueError("a mixture needs either shares, as in {general: 0.6, domain: 0.4}, or a list of groups")
        unknown = set(self.within) - set(self.members)
        if unknown:
            raise ValueError(f"within names groups that are not mixed: {sorted(unknown)}")
        return self

    @model_validator(mode="after")
    def _fields_fit_together(self) -> "Mixture":
        length, other = ("max_length", "sequence_length")[:: 1 if self.kind == "conversations" else -1]
        if getattr(self, length) is None or getattr(self, other) is not None:
            raise ValueError(f"a mixture of {self.kind} needs {length} and takes no {other}")
        of_turns = (self.thinking, self.turns, self.long)
        if self.kind == "documents" and of_turns != ("learn", "all", "leave_out"):
            raise ValueError("thinking, turns and long are for a mixture of conversations")
        if self.kind == "conversations" and self.end_of_text is not None:
            raise ValueError("end_of_text is for a mixture of documents")
        if self.exhaustion != "repeat" and self.max_epochs != 1:
            raise ValueError("max_epochs is for exhaustion 'repeat'")
        return self
