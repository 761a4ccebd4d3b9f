"""Candidates: answers that a checkpoint of the graph gives to prompts, several to each, and the signals on them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from recipes.execution import Execution
from recipes.section import Name, Pattern, Section


class SignalBase(Section):
    """What is found out of every candidate, as a number: the higher, the better. Each is an artefact of its own.

    `version`: raised when the same answers would get other numbers.
    """

    version: ClassVar[int] = 1


class VerifierSignal(SignalBase):
    """What the problem's own reasoning-gym verifier gives, from 0 to 1; without `partial` only 1 counts."""

    kind: Literal["verifier"]
    partial: bool = True


class InstructionsSignal(SignalBase):
    """The share of the prompt's instructions that the answer follows, by lm-eval's checkers of IFEval (strict)."""

    kind: Literal["instructions"]


class FormatSignal(SignalBase):
    """1 if the whole answer, without white space round it, matches the regular expression `pattern`, else 0."""

    kind: Literal["format"]
    pattern: Pattern


class LengthSignal(SignalBase):
    """0 up to `free_tokens`, below it by one for each token more."""

    kind: Literal["length"]
    free_tokens: int = Field(default=0, ge=0)


class RepetitionSignal(SignalBase):
    """The share of the answer's runs of `n` words that are different ones (distinct-n, Li et al. 2016); 1 without any.

    So what says the same over and over stands below what does not.
    """

    kind: Literal["repetition"]
    n: int = Field(default=3, ge=1, le=16)


class LikelihoodSignal(SignalBase):
    """The mean natural log-probability of the answer's tokens, as the checkpoint that gave it sees them."""

    kind: Literal["likelihood"]


class ReferenceSignal(SignalBase):
    """How near the answer is to the row's own, from 0 to 1: `bleu` or `chrf` (Papineni et al. 2002, Popović 2015; by
    sacrebleu, of a sentence), or the F-measure of `rouge1`, `rouge2` or `rougeL` (Lin 2004; by rouge-score, which knows
    Latin letters and digits alone).
    """

    kind: Literal["reference"]
    metric: Literal["bleu", "chrf", "rouge1", "rouge2", "rougeL"]


class ModelSignal(SignalBase):
    """The score of prompt and answer by the checkpoint of a stage of kind `reward`; an answer that was cut has none."""

    kind: Literal["reward_model"]
    checkpoint: Name
    batch_size: int = Field(default=8, ge=1, description="answers that are scored together")
    execution: Execution = Execution()


Signal = Annotated[
    VerifierSignal
    | InstructionsSignal
    | FormatSignal
    | LengthSignal
    | RepetitionSignal
    | LikelihoodSignal
    | ReferenceSignal
    | ModelSignal,
    Field(discriminator="kind"),
]


class BestOfN(Section):
    """The best answers of candidates as examples to imitate, of `keep` different ones to each prompt (best of n, or
    rejection sampling). It feeds the mixtures of its `group` as a source does.

    `by`: names of signals, the first by which two answers differ says which is better. Answers that were cut, that have
    no number by one of these signals, or less than `at_least` by it, are not picked.
    """

    candidates: Name
    by: list[Name] = Field(min_length=1)
    at_least: dict[Name, float] = {}
    keep: int = Field(default=1, ge=1, description="answers of each prompt")
    group: Name
    licence: str = Field(min_length=1)


class Candidates(Section):
    """`samples` answers of a checkpoint to each prompt, drawn by seed, prompt and number, at `temperature`.

    A prompt's answers do not depend on which others are asked, but for rounding: with dtype bfloat16 that also shifts
    with `batch_size`, so both are part of what is made.
    """

    checkpoint: Name = Field(description="which model answers: base, or a stage")
    prompts: Name
    samples: int = Field(default=8, ge=2, le=1024, description="answers to each prompt")
    max_new_tokens: int = Field(ge=1, description="a longer answer is cut there, and is in no pair")
    temperature: float = Field(default=1.0, ge=0.01, le=100)
    top_p: float = Field(default=1.0, gt=0, le=1)
    seed: int = Field(ge=0)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    batch_size: int = Field(default=32, ge=1, description="answers that are drawn together")
    signals: dict[Name, Signal] = {}
    execution: Execution = Execution()

    @model_validator(mode="after")
    def _answers_in_one_process(self) -> "Candidates":
        if self.execution.devices > 1:
            raise ValueError("execution.devices: one device draws all answers")
        return self

    def drawn_as(self) -> dict[str, Any]:
        """What decides the answers: all of it but the signals and the machine."""
        return self.model_dump(mode="json", exclude={"signals", "execution"})
