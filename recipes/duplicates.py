"""What counts as a duplicate in a recipe, and which rows of a cluster of duplicates stay."""

from typing import Literal

from pydantic import Field

from recipes.section import Name, Section, Share


class Duplicates(Section):
    """Rows that say the same, across all sources that the recipe's mixtures and preferences use.

    Two texts are compared by the Jaccard similarity of their shingles: runs of `shingle` words of the text in
    Unicode form NFKC and lower case. A text with fewer than `min_shingles` of them is a duplicate of an equal text
    only: in a short one, one other word is another question.
    """

    threshold: Share = Field(default=0.7, description="similarity from which rows are near duplicates")
    shingle: int = Field(default=3, ge=1, le=16, description="words; a character of a script without spaces is one")
    min_shingles: int = Field(default=20, ge=1)
    permutations: int = Field(default=128, ge=16, le=1024, description="of MinHash, shared out among the bands")
    seed: int = Field(default=0, ge=0)
    survivor: Literal["first", "longest"] = Field(
        default="first", description="which row of a cluster stays: the first, or the one with most words"
    )
    source_order: list[Name] = Field(
        default=[], description="sources whose rows come first, in this order; the others follow by name"
    )
    cap: int = Field(default=1, ge=1, description="rows that stay of each cluster")
    max_share: Share = Field(default=0.2, description="share of rows removed from which the check warns")
