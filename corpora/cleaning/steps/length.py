"""Rows that are too short or too long, in tokens of the recipe's model, in words or in characters."""

from collections.abc import Callable
from pathlib import Path

from corpora.cleaning.content import words
from corpora.formats.formats import Item
from lineage.errors import CorpusError
from recipes.cleaning import Length


def length(step: Length, checkpoint: Path | None) -> Callable[[Item], str | None]:
    """checkpoint: whose tokenizer.json counts tokens. Raises CorpusError if tokens are asked for and it has none."""
    size = {"words": _words, "characters": len}.get(step.unit) or _tokens(checkpoint)

    def judge(item: Item) -> str | None:
        found = size(words(item, step.part))
        if step.min is not None and found < step.min:
            return "too short"
        return "too long" if step.max is not None and found > step.max else None

    return judge


def _words(text: str) -> int:
    return len(text.split())


def _tokens(checkpoint: Path | None) -> Callable[[str], int]:
    from tokenizers import Tokenizer

    file = checkpoint / "tokenizer.json" if checkpoint is not None else None
    if file is None or not file.is_file():
        raise CorpusError(f"steps.length: tokens need a tokenizer.json, and {checkpoint} has none; use unit words")
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
