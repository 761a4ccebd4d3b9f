"""A model of a recipe's own: its architecture with its sizes, and a tokenizer trained on the recipe's text.

Stands in the place of a released model. Weights are drawn by seed, so the node `base` is the untrained checkpoint.
"""

from typing import Literal

from pydantic import Field, model_validator

from recipes.section import Name, Section


class Sizes(Section):
    """Sizes of a decoder; `mlp` is the width of its gated feed-forward layers, `positions` the longest context."""

    hidden: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    kv_heads: int | None = Field(default=None, ge=1, description="fewer than `heads`: grouped queries; as many if none")
    mlp: int = Field(ge=8)
    positions: int = Field(ge=16)
    rope_theta: float = Field(default=10_000.0, gt=1)
    tied_embeddings: bool = True

    @model_validator(mode="after")
    def _heads_divide(self) -> "Sizes":
        if self.hidden % self.heads or self.hidden // self.heads % 2:
            raise ValueError(f"hidden {self.hidden} over {self.heads} heads is no even whole number")
        if self.heads % (self.kv_heads or self.heads):
            raise ValueError(f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}")
        return self


class TrainedTokenizer(Section):
    """A byte-level BPE (Sennrich et al. 2016) trained on clean sources, digits one by one.

    `vocabulary` counts all tokens: the special ones, the 256 bytes, and what is merged of them.
    """

    sources: list[Name] = Field(min_length=1)
    vocabulary: int = Field(ge=300)
    end_of_text: str = Field(min_length=1, description="token behind each document; the tokenizer's end of sequence")
    pad: str = Field(min_length=1)
    special_tokens: list[str] = Field(default=[], description="further ones: those that the chat template writes")
    chat_template: str = Field(min_length=1, description="jinja file, relative to the recipe")

    @property
    def specials(self) -> list[str]:
        """All special tokens in the order of their ids, from 0."""
        return [self.end_of_text, self.pad, *self.special_tokens]

    @model_validator(mode="after")
    def _specials_differ(self) -> "TrainedTokenizer":
        if len(set(self.specials)) < len(self.specials):
            raise ValueError(f"end_of_text, pad and special_tokens must all differ: {self.specials}")
        if self.vocabulary < 256 + len(self.specials):
            raise ValueError(f"vocabulary {self.vocabulary} has no room for 256 bytes and {len(self.specials)} tokens")
        return self


class FromScratch(Section):
    """The base model, untrained: architecture, sizes, seed, and the tokenizer that is trained for it."""

    architecture: Literal["llama", "qwen2"]
    sizes: Sizes
    tokenizer: TrainedTokenizer
    seed: int = Field(ge=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    licence: str = Field(default="none needed: drawn at random", min_length=1)
