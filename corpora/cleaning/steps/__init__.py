"""The filters that a recipe can declare: each takes a row and gives it back, perhaps changed, or says why it goes.

A module for each idea; all of them work offline, on one row at a time, and give the same answer in any process.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from corpora.cleaning.steps.gopher import repetition, symbols
from corpora.cleaning.steps.language import language
from corpora.cleaning.steps.length import length
from corpora.cleaning.steps.phrases import phrases
from corpora.cleaning.steps.pii import pii
from corpora.formats.formats import Item
from recipes.cleaning import Language, Length, Phrases, Pii, Repetition, RowStep, Symbols
from recipes.sources import Source

Apply = Callable[[Item, Counter[str]], Item | str]
"""A step at work: the row that goes on, or the reason why it does not; what was masked is added to the counter."""


def load(step: RowStep, folder: Path, checkpoint: Path | None) -> Apply:
    """A declared step, ready to work. folder: of the recipe; checkpoint: the base model's, for tokens.

    Raises CorpusError or RecipeError if a file that it needs is missing or wrong.
    """
    match step:
        case Length():
            return _removing(length(step, checkpoint))
        case Language():
            return _removing(language(step))
        case Repetition():
            return _removing(repetition(step))
        case Symbols():
            return _removing(symbols(step))
        case Phrases():
            return _removing(phrases(step, folder))
        case Pii():
            return pii(step)


def needs_tokenizer(source: Source) -> bool:
    """Whether some step counts or scores tokens."""
    counted = any(isinstance(step, Length) and step.unit == "tokens" for step in source.row_steps)
    return counted or source.difficulty is not None


def _removing(judge: Callable[[Item], str | None]) -> Apply:
    return lambda item, _: judge(item) or item
