"""Cleaning of sources: filters as steps, applied in the order they are written.

Every step removes rows or, like `pii`, changes them; `part` says which words of a row a step looks at:
`prompt` (what the model is given), `answer` (what it is to say; of a preference the chosen answer) or the whole
`row`. A document is all of them at once. What the steps do is left to `corpora.cleaning`.

Also what counts as a copy of an evaluation item and what as a duplicate, and which part of every source is kept from
training. A row's side is a pure function of `salt` and the row's first question (of a document: its text), so it is the
same in every mixture and in all preferences of the recipe, whatever other rows there are.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from recipes.section import Name, Section, Share

_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Allowed(Section):
    """Something that is no contamination, and why. Just one of `item`, `row` and `phrase`.

    `item`: number of an item of `task` (or every item, with `task` alone). `row`: id of a row. `phrase`: words that
    are no evidence wherever they stand, as a licence text or a task's instructions.
    """

    task: str | None = None
    item: int | None = Field(default=None, ge=0)
    row: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$", description="a row's id, or how it begins")
    phrase: _Text | None = None
    reason: _Text

    @model_validator(mode="after")
    def _says_what(self) -> "Allowed":
        named = [name for name in ("item", "row", "phrase") if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: name one of them; write an entry for each")
        if self.item is not None and self.task is None:
            raise ValueError("item needs task: items are numbered within their task")
        if not named and self.task is None:
            raise ValueError("name what is allowed: task, item, row or phrase")
        return self


class Contamination(Section):
    """When a row is a copy of an item: enough of the item's words stand in it, in the item's order.

    Words of phrases that more than `common_items` items of a task share are its template, and count for nothing.
    """

    on_match: Literal["remove", "block"] = "remove"
    verbatim: float = Field(
        default=0.4, gt=0, le=1, description="share of an item's 13-grams in a row that makes it a copy"
    )
    altered: float = Field(
        default=0.5, gt=0, le=1, description="share of an item's words, in runs of five or more, that makes it a copy"
    )
    common_items: int = Field(default=3, ge=1)
    allow: list[Allowed] = []


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


class Splits(Section):
    """Shares of the rows: both are written beside the training rows of mixtures and preferences, never among them.

    A larger share takes rows from training and moves none between the other two.
    """

    validation: float = Field(default=0.0, ge=0, lt=1)
    held_out: float = Field(default=0.0, ge=0, lt=1)
    salt: str = Field(default="", description="another one draws other rows")

    @model_validator(mode="after")
    def _something_is_trained_on(self) -> "Splits":
        if self.validation + self.held_out >= 1:
            raise ValueError(
                f"validation and held_out are {self.validation + self.held_out:g} of all rows: none is left"
            )
        return self


Part = Literal["row", "prompt", "answer"]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Length(Section):
    """Rows of `min` to `max` units, both included; tokens are those of the recipe's model, without a template."""

    kind: Literal["length"]
    unit: Literal["tokens", "words", "characters"] = "tokens"
    part: Part = "row"
    min: int | None = Field(default=None, ge=1)
    max: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _has_bounds(self) -> "Length":
        if self.min is None and self.max is None:
            raise ValueError("a length step needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class Language(Section):
    """Rows in one of the languages `keep` (ISO 639 codes, as `en`), by fastText's lid.176 (Joulin et al. 2016)."""

    kind: Literal["language"]
    keep: list[Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]] = Field(min_length=1)
    part: Part = "row"
    min_score: Share = 0.5
    min_characters: int = Field(default=40, ge=1, description="shorter texts are too short to tell, and kept")


class Repetition(Section):
    """Repetition rules of Gopher (Rae et al. 2021, table A1): greatest shares of a text, by lines, paragraphs, n-grams.

    `top_ngrams`: share of characters in the most frequent n-gram, by n; `repeated_ngrams`: in all that repeat.
    """

    kind: Literal["repetition"]
    part: Part = "row"
    min_words: int = Field(default=50, ge=1, description="shorter texts are kept: the rules are made for 50 and more")
    lines: Share = 0.3
    paragraphs: Share = 0.3
    line_characters: Share = 0.2
    paragraph_characters: Share = 0.2
    top_ngrams: dict[int, Share] = {2: 0.2, 3: 0.18, 4: 0.16}
    repeated_ngrams: dict[int, Share] = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}


class Symbols(Section):
    """Quality rules of Gopher (Rae et al. 2021, section A.1.1) and, by `forbidden` and `min_ended_lines`, of C4.

    C4 (Raffel et al. 2020) leaves out pages with `lorem ipsum`, `javascript` or `{`, and lines that do not end in
    a full stop, question or exclamation mark or quotation mark.
    """

    kind: Literal["symbols"]
    part: Part = "row"
    min_words: int = Field(default=50, ge=1, description="shorter texts are kept: the rules are made for 50 and more")
    max_symbols_per_word: float = Field(default=0.1, gt=0, description="hash signs a word; ellipses a word")
    max_bullet_lines: Share = 0.9
    max_ellipsis_lines: Share = 0.3
    min_alphabetic_words: float = Field(default=0.8, ge=0, le=1)
    mean_word_length: tuple[float, float] = (3.0, 10.0)
    max_word_length: int = Field(default=1000, ge=1, description="characters")
    min_stop_words: int = Field(default=0, ge=0, le=8, description="of eight English ones; Gopher asks for 2")
    min_ended_lines: float = Field(default=0.0, ge=0, le=1, description="share of lines that end as a sentence does")
    forbidden: list[Text] = ["lorem ipsum"]


Entity = Literal["email", "ip", "iban", "card", "phone"]


class Pii(Section):
    """Personal data, masked as `[EMAIL]`, `[IP]`, `[IBAN]`, `[CARD]` and `[PHONE]`; the row is kept.

    Phone numbers are found in international notation, and as people of the `regions` (as `US`) write them.
    """

    kind: Literal["pii"]
    entities: list[Entity] = Field(default=["email", "ip", "iban", "card", "phone"], min_length=1)
    regions: list[Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]] = []


class Phrases(Section):
    """Rows whose words contain, or begin with, a phrase: of our own `lists`, of `phrases`, or of a YAML list in `file`.

    Case, kinds of apostrophes and white space do not matter.
    """

    kind: Literal["phrases"]
    part: Part = "answer"
    at: Literal["start", "anywhere"] = "anywhere"
    lists: list[Literal["refusals", "boilerplate"]] = []
    phrases: list[Text] = []
    file: str | None = Field(default=None, description="YAML list of phrases, relative to the recipe")

    @model_validator(mode="after")
    def _has_phrases(self) -> "Phrases":
        if not (self.lists or self.phrases or self.file):
            raise ValueError("a phrases step needs lists, phrases or file")
        return self


class Difficulty(Section):
    """Rows by instruction-following difficulty (Li et al. 2023, arXiv 2308.12032), scored with the recipe's base model.

    The score is the mean loss of the answer's tokens after their prompt over their mean loss without it: near 1 the
    prompt hardly helps, above 1 it misleads, near 0 it gives the answer away. Of a preference the chosen answer counts.
    """

    kind: Literal["difficulty"]
    min: float | None = Field(default=None, ge=0)
    max: float | None = Field(default=None, gt=0, description="both included")
    keep_share: Share | None = Field(
        default=None, description="of the scored rows within min and max, the share with the highest scores"
    )
    max_length: int = Field(default=2048, ge=16, description="tokens; a longer row is not scored, and kept")

    @model_validator(mode="after")
    def _removes_something(self) -> "Difficulty":
        if self.min is None and self.max is None and self.keep_share is None:
            raise ValueError("a difficulty step needs min, max or keep_share")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


RowStep = Length | Language | Repetition | Symbols | Pii | Phrases
"""Steps that judge a row by itself."""

Step = Annotated[RowStep | Difficulty, Field(discriminator="kind")]
