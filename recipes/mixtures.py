"""Token-exact mixtures: shares of groups in a stated unit."""

from typing import Literal

from pydantic import Field, model_validator

from recipes.section import Name, Section, Share

Unit = Literal["supervised_tokens", "tokens", "rows"]


_SHARE_TOLERANCE = 1e-9


class Mixture(Section):
    """Shares of groups, exact in `unit`.

    `size` counts `unit`s emitted in all. Of `conversations` each row is one rendered conversation of at most
    `max_length` tokens: one that does not fit is left out whole and counted, so that no row loses its end of turn.
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
        if self.kind == "conversations" and self.end_of_text is not None:
            raise ValueError("end_of_text is for a mixture of documents")
        if self.exhaustion != "repeat" and self.max_epochs != 1:
            raise ValueError("max_epochs is for exhaustion 'repeat'")
        return self
